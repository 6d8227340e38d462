"""The GET form of an OCSPRequest, RFC 6960 A.1."""

def decode_get(path: bytes) -> bytes:
    """The one DER SEQUENCE in the part of a path after `/ocsp/` or `/ocsp/{issuer_id}/`.

    Accepts percent-encoding of any character in any case, base64 and base64url, missing `=`, slashes in front. Raises
    MalformedRequest for everything else: other characters, NUL and white space included, broken percent-encoding,
    surplus `=`, fill bits that are not zero. When the text holds no SEQUENCE, slashes that a proxy collapsed or doubled
    are put right if exactly one OCSPRequest can result. Without such a repair the result need not be an OCSPRequest.
    """
