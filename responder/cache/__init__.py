"""Redis as the edge and the writer agree on it: key layout, and a reader that cannot write."""
