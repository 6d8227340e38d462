"""CRLs that are made here: their entries, their DER, and the gate that they pass before they are published."""
