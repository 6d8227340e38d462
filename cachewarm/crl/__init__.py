"""Complete CRLs: what stands in one, its DER, and the gate it passes before anyone may fetch it."""
