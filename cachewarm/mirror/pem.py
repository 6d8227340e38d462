"""CRLs in what a source sends: DER, or PEM with text, a byte order mark or other blocks around it. One linear scan.

RFC 7468 2 (text before the first boundary is ignored, several blocks are allowed), 6 (the label X509 CRL).
"""

import base64
import binascii
import codecs

from cachewarm.crl.rules import CRLProblem, Rule

#: CRLs of one file that are looked at.
MOST = 64
_BEGIN, _END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
_SEQUENCE = 0x30


def crls_in(body: bytes) -> list[bytes] | CRLProblem:
    """Return the DER of the CRLs in `body`, at least one; what is not PEM is left for the parser to refuse."""
    text = _without_mark(body)
    if _is_der(body) or b"-----BEGIN" not in text:
        return [body]
    found: list[bytes] = []
    at = 0
    while len(found) < MOST and (begin := text.find(_BEGIN, at)) >= 0:
        end = text.find(_END, begin)
        if end < 0:
            return CRLProblem(Rule.FORM, "a PEM block without its end")
        try:
            found.append(base64.b64decode(b"".join(text[begin + len(_BEGIN) : end].split()), validate=True))
        except binascii.Error as error:
            return CRLProblem(Rule.FORM, f"a PEM block does not decode: {error}")
        at = end + len(_END)
    return found or CRLProblem(Rule.FORM, "PEM without an X509 CRL in it")


def _without_mark(body: bytes) -> bytes:
    """Return text in UTF-8; some editors and shells write UTF-16, or a byte order mark in front."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace").encode()
    return body


def _is_der(body: bytes) -> bool:
    """Return whether `body` is one DER SEQUENCE by its length; text may begin with the same byte, the digit 0."""
    if len(body) < 2 or body[0] != _SEQUENCE:
        return False
    size, first = 0, body[1]
    if first < 0x80:
        return len(body) == 2 + first
    size = first & 0x7F
    return len(body) == 2 + size + int.from_bytes(body[2 : 2 + size], "big")
