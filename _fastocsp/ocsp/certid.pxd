"""CertID, RFC 6960 4.1.1: whom an OCSP request asks about."""

from libc.stdint cimport uint8_t

from _fastocsp.wire.der cimport Cursor

cdef struct CertID:
    uint8_t hash_algorithm        # codes.SHA1.. | PARAMETERS_ABSENT; HASH_NONE when no issuer can be meant by it
    uint8_t hash_len              # bytes of each hash, 0 when hash_algorithm is HASH_NONE
    uint8_t serial_len            # bytes of the magnitude; 0 when negative (for Python) or over MAX_MAGNITUDE
    const uint8_t* name_hash
    const uint8_t* key_hash
    const uint8_t* serial         # DER content without the sign byte 00; the number 0 is one byte 00
    const uint8_t* der            # the whole CertID TLV
    size_t der_len

# Reads one CertID and moves on; 0, or -1 when it is not DER. HASH_NONE (O-16 of the rules) is for the caller to judge:
# an OID that is not one of the four, parameters that are neither NULL nor absent, or hashes of another length.
cdef int read_cert_id(Cursor* c, CertID* out) noexcept nogil

# Bytes of a hash; 0 for anything but codes.SHA1.. with or without PARAMETERS_ABSENT.
cdef size_t hash_size(int hash_algorithm) noexcept nogil

# The Python CertID (types.py) with copies of the bytes.
cdef object cert_id_value(const CertID* cert_id)
