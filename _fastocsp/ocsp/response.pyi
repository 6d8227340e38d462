"""OCSPResponse, RFC 6960 4.2.1, from templates and compact records. Serials are keys (wire/serial.pxd), 1..21 bytes."""

from collections.abc import Iterable, Sequence
from typing import final

from _fastocsp.wire.types import Record

def error_response(status: int) -> bytes:
    """Return the unsigned OCSPResponse of that status, RFC 6960 4.2.1; KeyError for 0, 4 and above 6."""

@final
class Template:
    """The part that all answers of one issuer, one responder and one CertID hash have in common; immutable.

    The record of another hash algorithm (PARAMETERS_ABSENT included) or of another responder is refused.
    """

    def __new__(
        cls,
        *,
        hash_algorithm: int,
        issuer_name_hash: bytes,
        issuer_key_hash: bytes,
        responder_id: bytes,
        responder: bytes,
        signature_algorithm: bytes,
        certs: Sequence[bytes] = (),
    ) -> Template:
        """Take DER parts and check their outermost shape; ValueError when one does not fit.

        hash_algorithm       codes.SHA1 .. SHA512, or-ed with PARAMETERS_ABSENT
        issuer_name_hash     as long as the hash says, like issuer_key_hash
        responder_id         the ResponderID element, see responder_id_by_key and responder_id_by_name
        responder            8 bytes, the records' responder field
        signature_algorithm  the AlgorithmIdentifier element
        certs                Certificate elements; `certs` is not written when there are none
        """

    @property
    def responder(self) -> bytes:
        """8 bytes, the records' responder field."""

    @property
    def hash_algorithm(self) -> int:
        """codes.SHA1 .. SHA512, or-ed with PARAMETERS_ABSENT."""

    def tbs(self, serial: bytes, record: Record | bytes, nonce: bytes | None = None) -> bytes:
        """The ResponseData element to be signed for this record and, if given, this nonce (RFC 9654).

        The record's signature plays no part. Raises MalformedRecord for bytes that are no record, ValueError for a
        record or serial that does not belong here.
        """

    def encode(self, serial: bytes, record: bytes) -> bytes:
        """The OCSPResponse element with the record's signature; always without nonce. Raises as tbs."""

def responder_id_by_key(key_hash: bytes) -> bytes:
    """ResponderID byKey; key_hash is the SHA-1 of the key bits without tag, length and unused-bits byte."""

def responder_id_by_name(name: bytes) -> bytes:
    """ResponderID byName from the Name element."""

def tbs_response_data(
    singles: Iterable[tuple[Template, bytes, Record | bytes]], produced_at: int, nonce: bytes | None = None
) -> bytes:
    """The ResponseData element for several (template, serial, record), in this order; O-6.

    produced_at replaces the records' own. responseExtensions holds the nonce, if given, and
    id-pkix-ocsp-extended-revoke when one of the records asks for it. Raises ValueError when there is nothing to answer
    or the templates have different responders, otherwise as Template.tbs.
    """

def encode_signed(template: Template, tbs: bytes, signature: bytes) -> bytes:
    """The OCSPResponse element around a ResponseData element and the signature over it, with the template's certs."""
