"""Functions of the connection loop, in C throughout: Python has nothing to call here."""
