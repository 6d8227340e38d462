"""The private listener: HTTPS with TLS 1.3 and API keys. It reads and writes the ledger; it holds no signing key."""
