"""The CA signer: the one process that uses the keys of CAs, and its clients."""
