"""Shortcuts for repeated work: recently seen GET targets, and responses that are patched copies."""
