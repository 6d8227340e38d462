"""Private keys: what a signing key is, and the kinds of them."""
