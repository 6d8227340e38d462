"""OCSPRequest, RFC 6960 4.1.1, from DER."""

from _fastocsp.wire.types import OCSPRequest

def parse_request(octets: bytes) -> OCSPRequest:
    """The OCSPRequest in `octets`; all members are copies.

    Raises MalformedRequest for anything that is not exactly one DER OCSPRequest v1 with at least one Request, for a
    broken Extension and for two nonces. Version v1 written out and empty Extensions are accepted. Never raises for
    what DER cannot decide: unknown hashes, odd nonces and critical extensions are reported in the value.
    """
