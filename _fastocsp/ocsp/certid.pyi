"""CertID, RFC 6960 4.1.1, from and to DER."""

from _fastocsp.wire.types import CertID

def parse_cert_id(octets: bytes) -> CertID:
    """The CertID in `octets`, which must be exactly one DER CertID.

    hash_algorithm is HASH_NONE when the OID is not one of the four, its parameters are neither NULL nor absent, or the
    hashes have another length. Raises MalformedRequest for anything that is not DER.
    """

def cert_id_head(hash_algorithm: int, issuer_name_hash: bytes, issuer_key_hash: bytes) -> bytes:
    """Content of a CertID before its serialNumber: AlgorithmIdentifier and both hashes, DER.

    hash_algorithm is codes.SHA1 .. SHA512, or-ed with PARAMETERS_ABSENT when NULL is to be left out. Raises ValueError
    for another one, and for hashes of another length.
    """

def encode_cert_id(hash_algorithm: int, issuer_name_hash: bytes, issuer_key_hash: bytes, serial_number: bytes) -> bytes:
    """The CertID element; serial_number is a big-endian magnitude of one byte or more. Raises as cert_id_head."""
