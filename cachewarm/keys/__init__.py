"""Private keys: software keys, key files, and certificate builders that sign with them."""
