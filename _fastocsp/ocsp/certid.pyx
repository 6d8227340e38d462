"""CertID, RFC 6960 4.1.1.

A CertID that is DER but names no hash we know is no error here: hash_algorithm HASH_NONE says that it identifies no
issuer, and the caller answers unauthorized (O-16). Borrowed pointers live as long as the input.
"""

from libc.string cimport memcmp

from _fastocsp.wire.codes cimport HASH_MASK, HASH_NONE, MAX_MAGNITUDE, PARAMETERS_ABSENT, SHA1, SHA256, SHA384, SHA512
from _fastocsp.wire.der cimport (
    INTEGER, NULL_TAG, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, Element, Fault, Octets, enter, expect, fail_at,
    is_minimal_integer, is_oid, leave, octets_left, open_cursor, read_element, wire_error, without_leading_zeros,
)
from _fastocsp.wire.serial cimport put_serial, serial_size
from _fastocsp.wire.sink cimport Sink, bytes_sink, new_bytes, octets_of, tlv_size

from _fastocsp.wire import types
from _fastocsp.wire.errors import MalformedRequest
from _fastocsp.wire.sink import tlv

cdef dict HASH_OIDS = {
    SHA1: bytes.fromhex("06052B0E03021A"),
    SHA256: bytes.fromhex("0609608648016503040201"),
    SHA384: bytes.fromhex("0609608648016503040202"),
    SHA512: bytes.fromhex("0609608648016503040203"),
}


cdef size_t hash_size(int hash_algorithm) noexcept nogil:
    cdef int plain = hash_algorithm & ~PARAMETERS_ABSENT
    if plain == SHA1:
        return 20
    if plain == SHA256:
        return 32
    if plain == SHA384:
        return 48
    return 64 if plain == SHA512 else 0


cdef uint8_t algorithm_of(Octets oid) noexcept nogil:
    """SHA-1 is 1.3.14.3.2.26, the others are 2.16.840.1.101.3.4.2.{1,2,3}: RFC 3370 2.1, RFC 5754 2."""
    if oid.n == 5 and memcmp(oid.p, <const char*>b"\x2B\x0E\x03\x02\x1A", 5) == 0:
        return SHA1
    if oid.n == 9 and memcmp(oid.p, <const char*>b"\x60\x86\x48\x01\x65\x03\x04\x02", 8) == 0:
        if oid.p[8] == 1:
            return SHA256
        if oid.p[8] == 2:
            return SHA384
        if oid.p[8] == 3:
            return SHA512
    return HASH_NONE


cdef int read_parameters(Cursor* c, uint8_t* hash_algorithm) noexcept nogil:
    """NULL and absent are both legal (O-15); anything else names no algorithm of ours."""
    cdef Element parameters
    if octets_left(c) == 0:
        if hash_algorithm[0] != HASH_NONE:
            hash_algorithm[0] |= PARAMETERS_ABSENT
        return 0
    if read_element(c, &parameters) < 0:
        return -1
    if parameters.tag != NULL_TAG:
        hash_algorithm[0] = HASH_NONE
    elif parameters.content.n:
        return fail_at(c, parameters.der.p, "NULL has content")
    return leave(c)


cdef int read_hash_algorithm(Cursor* c, uint8_t* hash_algorithm) noexcept nogil:
    # AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY DEFINED BY algorithm OPTIONAL }
    cdef Cursor inside
    cdef Element oid
    if enter(c, SEQUENCE, &inside) < 0 or expect(&inside, OBJECT_IDENTIFIER, &oid) < 0:
        return -1
    if not is_oid(oid.content):
        return fail_at(c, oid.der.p, "the OBJECT IDENTIFIER is not well formed")
    hash_algorithm[0] = algorithm_of(oid.content)
    return read_parameters(&inside, hash_algorithm)


cdef int read_serial(Cursor* c, CertID* out) noexcept nogil:
    cdef Element number
    cdef Octets magnitude
    if expect(c, INTEGER, &number) < 0:
        return -1
    if not is_minimal_integer(number.content):
        return fail_at(c, number.der.p, "the INTEGER is not minimal")
    magnitude = without_leading_zeros(number.content)
    out.serial = magnitude.p
    out.serial_len = <uint8_t>magnitude.n if magnitude.n <= MAX_MAGNITUDE and number.content.p[0] < 0x80 else 0
    return 0


cdef bytes serial_key(const CertID* cert_id):
    """The key of its serial number (wire/serial.pxd); b"" for one that is too long."""
    cdef size_t n = cert_id.serial_len
    if n != 0:
        return cert_id.serial[:n]
    n = cert_id.der + cert_id.der_len - cert_id.serial     # the serial number is the last field of a CertID
    return b"\0" + cert_id.serial[:n] if n <= MAX_MAGNITUDE else b""


cdef int read_cert_id(Cursor* c, CertID* out) noexcept nogil:
    # CertID ::= SEQUENCE { hashAlgorithm AlgorithmIdentifier, issuerNameHash OCTET STRING, issuerKeyHash OCTET STRING,
    #                       serialNumber CertificateSerialNumber }
    cdef Cursor inside
    cdef Element whole, name_hash, key_hash
    if expect(c, SEQUENCE, &whole) < 0:
        return -1
    open_cursor(&inside, whole.content, c.fault)
    if (read_hash_algorithm(&inside, &out.hash_algorithm) < 0 or expect(&inside, OCTET_STRING, &name_hash) < 0
            or expect(&inside, OCTET_STRING, &key_hash) < 0 or read_serial(&inside, out) < 0 or leave(&inside) < 0):
        return -1
    out.hash_len = <uint8_t>hash_size(out.hash_algorithm)
    if name_hash.content.n != out.hash_len or key_hash.content.n != out.hash_len:
        out.hash_algorithm = HASH_NONE
        out.hash_len = 0
    out.name_hash = name_hash.content.p
    out.key_hash = key_hash.content.p
    out.der = whole.der.p
    out.der_len = whole.der.n
    return 0


cdef object cert_id_value(const CertID* cert_id):
    return types.CertID(
        cert_id.hash_algorithm,
        cert_id.name_hash[:cert_id.hash_len],
        cert_id.key_hash[:cert_id.hash_len],
        serial_key(cert_id),
        cert_id.der[:cert_id.der_len],
    )


def parse_cert_id(bytes octets not None):
    cdef Octets whole = octets_of(octets)
    cdef Cursor c
    cdef Fault fault
    cdef CertID cert_id
    open_cursor(&c, whole, &fault)
    if read_cert_id(&c, &cert_id) < 0 or leave(&c) < 0:
        raise wire_error(MalformedRequest, &fault, whole.p)
    return cert_id_value(&cert_id)


def cert_id_head(int hash_algorithm, bytes issuer_name_hash not None, bytes issuer_key_hash not None):
    oid = HASH_OIDS.get(hash_algorithm & HASH_MASK)
    if oid is None or hash_size(hash_algorithm) == 0:
        raise ValueError(f"unknown hash algorithm {hash_algorithm}")
    if {len(issuer_name_hash), len(issuer_key_hash)} != {hash_size(hash_algorithm)}:
        raise ValueError(f"issuer hashes must have {hash_size(hash_algorithm)} octets")
    parameters = b"" if hash_algorithm & PARAMETERS_ABSENT else b"\x05\x00"
    return tlv(SEQUENCE, oid + parameters) + tlv(OCTET_STRING, issuer_name_hash) + tlv(OCTET_STRING, issuer_key_hash)


cdef bytes serial_integer(bytes key):
    cdef bytes element
    cdef Sink s
    if not key:
        raise ValueError("a serial number has at least one byte")
    element = new_bytes(tlv_size(serial_size(octets_of(key))))
    bytes_sink(&s, element)
    put_serial(&s, octets_of(key))
    return element


def encode_cert_id(int hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number):
    head = cert_id_head(hash_algorithm, issuer_name_hash, issuer_key_hash)
    return tlv(SEQUENCE, head + serial_integer(serial_number))
