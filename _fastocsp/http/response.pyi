"""Heads of cacheable OCSP answers and the conditions of a GET; MalformedRecord for bytes that are no record."""

def is_not_modified(if_none_match: bytes, if_modified_since: bytes, record: bytes) -> bool:
    """RFC 9110 13.2.2 for a GET of this record's answer; b"" stands for an absent field."""

def entity_tag(record: bytes) -> bytes:
    """The entity tag of this record's answer, quotes included."""

def parse_fixdate(value: bytes) -> int | None:
    """Epoch seconds of an IMF-fixdate, or None for anything else."""

def encode_head(record: bytes, now: int, body_len: int | None, keep_alive: int = 1, max_age: int = 0xFFFFFFFF) -> bytes:
    """Return the hot lane's head at epoch second `now`, its empty line included; body_len None: the head of the 304.

    `max_age`: seconds that a cache may keep the answer at most; by default until nextUpdate.
    """
