"""The local CA: its certificates, those it issues, and the responders it delegates to."""
