"""Certificates and revocations of other CAs' books, read into values; importing them is the ledger's matter."""
