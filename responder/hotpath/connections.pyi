class Connections:
    """Room for that many connections."""

    room: int
    def __init__(self, room: int) -> None: ...
