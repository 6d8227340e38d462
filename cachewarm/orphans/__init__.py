"""Orphans: revocations that edges know and the ledger lacks: taken over, alarmed, decided by evidence or a person."""
