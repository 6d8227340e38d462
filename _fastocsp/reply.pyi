def is_not_modified(if_none_match: bytes, if_modified_since: bytes, record: bytes) -> bool:
    """RFC 9110 13.2.2 for a GET of this record's answer; b"" stands for an absent field."""

def entity_tag(record: bytes) -> bytes:
    """The entity tag of this record's answer, quotes included."""

def parse_fixdate(value: bytes) -> int | None:
    """Epoch seconds of an IMF-fixdate, or None for anything else."""
