"""The connection loop: compiled, one thread per worker, never holds the GIL."""
