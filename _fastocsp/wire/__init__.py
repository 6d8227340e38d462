"""The bounded DER cursor and sink, times, ECDSA signatures, code tables, errors and value types."""
