"""Look-ups in an image of the revoked set, for compiled code alone."""
