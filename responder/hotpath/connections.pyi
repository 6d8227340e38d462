class Connections:
    """Room for so many."""

    room: int
    def __init__(self, room: int) -> None: ...
