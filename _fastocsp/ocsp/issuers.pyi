"""Which issuer a CertID means (RFC 6960 4.1.1), and the templates of its answers."""

from typing import final

from _fastocsp.ocsp.response import Template

@final
class IssuerIndex:
    """Issuers by the hashes of a CertID, and the templates of their answers; filled, then only read."""

    @property
    def names(self) -> dict[int, bytes]:
        """issuer_id by issuer number."""

    def __init__(self) -> None: ...
    def add(self, issuer_no: int, issuer_id: bytes, hash_algorithm: int, name_hash: bytes, key_hash: bytes) -> None:
        """One issuer under one hash algorithm, without PARAMETERS_ABSENT; ValueError when out of range."""

    def add_template(self, issuer_no: int, template: Template) -> None:
        """A template of that issuer's answers; several differ in their responder."""

    def find(self, hash_algorithm: int, name_hash: bytes, key_hash: bytes) -> int:
        """Issuer number, or 0 when no issuer has both hashes under that algorithm; PARAMETERS_ABSENT is ignored."""

    def find_template(self, issuer_no: int, hash_algorithm: int, responder: bytes) -> Template | None:
        """The template of the answers that this responder (8 bytes) signed, or None."""
