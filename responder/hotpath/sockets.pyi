class Sockets:
    """Sockets of one loop."""
