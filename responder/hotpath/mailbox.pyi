class Mailbox:
    """Letters in one direction; `bell` is readable while there may be some."""

    bell: int
    def letters(self) -> list[tuple[int, int, int, int, bytes]]:
        """(kind, fd, slot, generation, bytes) of all there is; a descriptor becomes the caller's."""
