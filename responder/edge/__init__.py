"""Rules by which an edge answers, its state, and the CRLs that it serves."""
