"""Signed answers: what may be stated, signing it, and publishing the record to Redis."""
