"""Extension, RFC 5280 4.1; compiled modules only, nothing for Python."""
