class Sockets:
    """Of one loop."""
