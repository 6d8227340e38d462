"""The write side: the ledger, the keys, and every process that may sign."""
