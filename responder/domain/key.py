"""The key of a record: what it answers for."""

from typing import NamedTuple


class Key(NamedTuple):
    """Key of a record; `hash_algorithm` with PARAMETERS_ABSENT, `serial` as in responder.domain.serial."""

    issuer_no: int
    hash_algorithm: int
    serial: bytes
