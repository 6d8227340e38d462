"""Where a record comes from when the table has none: Redis, then the signer. One narrow interface for each tier."""
