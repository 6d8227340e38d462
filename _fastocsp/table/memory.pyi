"""The memory of an answer table: a file without a name that every worker of a host maps."""

from typing import final

def make_table_memory(bytes_limit: int) -> int:
    """A new, empty one for a table of at most `bytes_limit` bytes: its descriptor, which is the caller's to close.

    A process that inherits the descriptor shares the table; the memory is gone with the last process that has it.
    """

def open_table_memory(bytes_limit: int, fd: int | None) -> TableMemory:
    """The memory behind this descriptor, which must have been made for that limit, or a new one of our own for None."""

@final
class TableMemory:
    """One process's mapping of it; the descriptor may be closed afterwards. ValueError for any other file."""

    def __new__(cls, fd: int) -> TableMemory: ...
    @property
    def bytes_limit(self) -> int:
        """As it was made."""

    @property
    def emptied(self) -> int:
        """Times that a writer died in the middle of a change, and the next one emptied the table."""
