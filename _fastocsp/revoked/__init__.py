"""The shared image of the revoked set: rows from the ledger, look-up, and the filter in front of it."""
