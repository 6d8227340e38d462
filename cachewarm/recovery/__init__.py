"""Recovery: archives of the ledger and keys, what a restore may have lost, and how evidence brings it back."""
