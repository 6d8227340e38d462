from _fastocsp.response import Template

class IssuerIndex:
    """Issuers by the hashes of a CertID, and the templates of their answers."""

    names: dict[int, bytes]
    def __init__(self) -> None: ...
    def add(self, issuer_no: int, issuer_id: bytes, hash_algorithm: int, name_hash: bytes, key_hash: bytes) -> None:
        """One issuer under one hash algorithm."""
    def add_template(self, issuer_no: int, template: Template) -> None:
        """A template of that issuer's answers; several differ in their responder."""
    def find(self, hash_algorithm: int, name_hash: bytes, key_hash: bytes) -> int:
        """Issuer number, or 0 when no issuer has both hashes under that algorithm."""
    def find_template(self, issuer_no: int, hash_algorithm: int, responder: bytes) -> Template | None:
        """The template of the answers that this responder signed, or None."""
