"""The ledger: migrations, and the only place of the write side with SQL."""
