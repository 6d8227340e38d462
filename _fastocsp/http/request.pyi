"""The HTTP/1.1 recogniser, sans I/O: see request.pyx for what counts as a plain OCSP request."""

from typing import Any, Literal

from _fastocsp.http.headers import KnownSections

def recognise_octets(
    octets: bytes, max_body: int = 16384, known: KnownSections | None = None
) -> dict[str, Any] | Literal[False] | None:
    """A plain request's method, issuer_id, rest, body, conditions, consumed bytes, keep_alive and whether it is for a
    CRL; None when more bytes are needed, False when another parser must decide.
    """
