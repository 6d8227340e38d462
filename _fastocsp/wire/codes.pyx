"""Exports the numbers of codes.pxd to Python; there is one list, and it is the .pxd."""
