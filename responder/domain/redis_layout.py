"""Names in Redis. Records are binary strings under binary keys; the stream tells edges what was replaced."""

from _fastocsp.wire.codes import MAX_SERIAL
from responder.domain.key import Key

#: Stream of the keys whose record was replaced: field k, the record's key.
ANNOUNCE_STREAM = b"o:announce"
ANNOUNCE_LENGTH = 10_000
#: Set when a walk of the whole inventory has been published; its absence means that Redis was emptied.
WARM_MARK = b"o:warm"
#: Warmers whose whole walk is under way, as fields; one that is missing at its end was lost with the records.
WARMING = b"o:warming"
#: How far the walk under way is, as JSON; it expires when nobody writes it any more.
WALK_NOTE = b"o:walk"
_PREFIX = b"o:"
#: Pattern of the names of records for SCAN; the other names match it too.
RECORDS = b"o:*"
_HEAD = 5
#: Bytes of the longest name.
MAX_NAME = _HEAD + MAX_SERIAL


def record_name(key: Key) -> bytes:
    """`o:` | issuer number u16 | hash algorithm u8 | serial."""
    return _PREFIX + key.issuer_no.to_bytes(2, "big") + bytes((key.hash_algorithm,)) + key.serial


def parse_record_name(name: bytes) -> Key:
    """The key of that name; ValueError for any other name."""
    if not name.startswith(_PREFIX) or not _HEAD < len(name) <= MAX_NAME:
        raise ValueError("not the name of a record")
    return Key(int.from_bytes(name[2:4], "big"), name[4], name[_HEAD:])
