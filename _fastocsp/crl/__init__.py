"""CRL entries and fields (RFC 5280 section 5): a streaming writer and a reader."""
