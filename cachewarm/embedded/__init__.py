"""Embedded servers: Postgres and Valkey of the quickstart."""
