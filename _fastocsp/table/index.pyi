"""The index of a table; nothing of it is seen from Python."""
