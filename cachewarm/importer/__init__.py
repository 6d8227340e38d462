"""Importing the inventory of another CA."""
