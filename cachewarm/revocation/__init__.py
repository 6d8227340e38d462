"""Revoking certificates, singly and in bulk, and waiting for every edge to confirm."""
