"""Room for the entries of a table; nothing of it is seen from Python."""
