"""Hypothesis strategies for the values of the codec."""

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import strategies as st

from _fastocsp.wire import codes
from _fastocsp.wire.types import Record

REASONS = [0, 1, 2, 3, 4, 5, 6, 9, 10, codes.NO_REASON]
SIZES = {codes.SHA1: 20, codes.SHA256: 32, codes.SHA384: 48, codes.SHA512: 64}
LAST = 2**32 - 1
Members = tuple[int, bytes, bytes, int]  # hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number

hash_algorithms = st.sampled_from([n | absent for n in SIZES for absent in (0, codes.PARAMETERS_ABSENT)])
NUMBERS = st.integers(0, 2**256 - 1) | st.integers(0, 2**392) | st.integers(0, 2**40)
#: As ECDSA has them, of P-256, P-384 and wider than either.
DER_SIGNATURES = st.builds(encode_dss_signature, NUMBERS, NUMBERS)
SIGNATURES = st.binary(max_size=80) | DER_SIGNATURES


@st.composite
def cert_id_members(draw: st.DrawFn) -> Members:
    """A CertID with a serial that it can name."""
    algorithm = draw(hash_algorithms)
    size = SIZES[algorithm & codes.HASH_MASK]
    digest = st.binary(min_size=size, max_size=size)
    return algorithm, draw(digest), draw(digest), draw(st.integers(-(2**159), 2**160 - 1))


@st.composite
def records(draw: st.DrawFn, signature: st.SearchStrategy[bytes] = SIGNATURES) -> Record:
    """A record that is consistent in itself."""
    status = draw(st.sampled_from([codes.GOOD, codes.REVOKED, codes.UNKNOWN]))
    this_update = draw(st.integers(0, LAST - 1))
    produced_at = draw(st.integers(this_update, LAST))
    revoked = status == codes.REVOKED
    return Record(
        hash_algorithm=draw(hash_algorithms),
        status=status,
        responder=draw(st.binary(min_size=8, max_size=8)),
        this_update=this_update,
        next_update=draw(st.integers(this_update + 1, LAST)),
        produced_at=produced_at,
        reason=draw(st.sampled_from(REASONS)) if revoked else codes.NO_REASON,
        revocation_time=draw(st.integers(0, produced_at)) if revoked else 0,
        generation=draw(st.integers(0, 2**24 - 1)),
        seq=draw(st.integers(0, 2**48 - 1)),
        flags=draw(st.integers(0, 1)),
        signature=draw(signature),
    )
