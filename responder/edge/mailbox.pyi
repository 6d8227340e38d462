class Mailbox:
    """Letters in one direction; `bell` is readable while there may be some."""

    bell: int
