"""A look at all entries of a table: which were used lately, and a keyed tag of each."""

from array import array

from _fastocsp.table.table import Table

_Octets = bytes | bytearray | memoryview
_Tags = array[int] | memoryview

def survey(
    table: Table,
    begin: int,
    chunks: int,
    since: int,
    key: bytes,
    sketch: bytearray,
    tags: array[int] | None = None,
    room: int = 0,
) -> tuple[int | None, int]:
    """Look at that many chunks of 32 KiB from `begin` on; return where to go on, None at the end, and the entries seen.

    An entry that was used at or after `since` (epoch seconds, as given to `Table.set_tick`) adds 1 to its place in
    `sketch`, up to 255. Into `tags`, u64 that begin as zeros, goes the tag of each entry while there is `room`.
    ValueError unless `key` has 16 bytes, sketch and tags a power of two of places, and tags more than `room`.
    """

def by_uses(
    key: bytes, sketch: _Octets, names: list[bytes], skip: int, often: int
) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the names that were used at least `often`, at least once, and never, as far as the sketch tells.

    A name is `skip` bytes, then issuer number u16, hash algorithm u8 and the key of the serial number. Names share
    places: one that was never used may be taken for another one that was.
    """

def absent(table: Table, names: list[bytes], skip: int) -> list[bytes]:
    """Return the names, as `by_uses` has them, of which the table has no record; what is no name is left out."""

def take_tagged(
    table: Table, key: bytes, tags: _Tags, names: list[bytes], values: list[bytes | None], skip: int
) -> tuple[int, list[int]]:
    """Put those records into the table that have their tag; return how many, and the places of other records.

    What is None or no record is in neither. A record that another process kept from being put is among the others.
    """

def is_tagged(key: bytes, tags: _Tags, issuer_no: int, hash_algorithm: int, serial: bytes, record: bytes) -> bool:
    """Return whether the tag of exactly this record under exactly this key is among the tags."""

def siphash_of(key: bytes, octets: bytes) -> int:
    """Return SipHash-2-4 of the bytes."""
