class Connections:
    """Room for so many."""

    room: int
    count: int
    def __init__(self, room: int) -> None: ...
