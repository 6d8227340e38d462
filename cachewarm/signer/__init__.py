"""The live-signing process: it holds the responder keys, listens on a Unix socket, and decides each status itself."""
