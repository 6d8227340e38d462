"""The audit chain outside of the ledger: exports, and their verification without a database."""
