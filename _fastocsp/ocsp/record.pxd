"""The compact record: a signed answer without the DER around it (layout in record.pyx)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from _fastocsp.wire.sink cimport Sink

cpdef enum:
    RECORD_VERSION = 2
    RECORD_HEAD = 28              # bytes before the signature
    MORE_WIDE = 3                 # and of wide times
    MORE_REVOKED = 5              # and of a revoked certificate
    MAX_SIGNATURE = 1024          # bytes
    MAX_RECORD = 1060             # bytes of all of these
    MAX_GENERATION = 0xFFFFFF
    FLAG_EXTENDED_REVOKE = 1      # RFC 6960 4.4.8: the answer carries id-pkix-ocsp-extended-revoke

cdef struct RecordHead:
    uint8_t flags
    uint8_t hash_algorithm        # codes.SHA1.. | PARAMETERS_ABSENT
    uint8_t status                # codes.GOOD, REVOKED, UNKNOWN
    uint8_t reason                # CRLReason or NO_REASON
    uint8_t responder[8]          # first 8 bytes of SHA-256 over the responder certificate's DER
    uint32_t revocation_time      # epoch seconds, 0 unless revoked
    uint32_t this_update
    uint32_t next_update
    uint32_t produced_at
    uint32_t generation           # of the feed position the status was read at
    uint64_t seq
    uint16_t signature_len        # as it is kept
    uint8_t half                  # bytes of r and of s, which `signature` is (ecdsa.pxd); 0: the signature is whole
    const uint8_t* signature      # borrowed from the buffer that was read

# 0, or -1 for anything that is not one record of a known version, consistent in itself.
cdef int read_record(const uint8_t* p, size_t n, RecordHead* out) noexcept nogil

# Bytes of the signature as it is served, and those bytes
cdef size_t signature_size(const RecordHead* record) noexcept nogil
cdef void put_signature_octets(Sink* s, const RecordHead* record) noexcept nogil

# Bytes that put_record writes, and the writer: nothing is checked but the room in the sink.
cdef size_t record_size(const RecordHead* record) noexcept nogil
cdef void put_record(Sink* s, const RecordHead* record) noexcept nogil

# The same for Python's side: MalformedRecord instead of -1. The head borrows from `octets`.
cdef int read_or_raise(bytes octets, RecordHead* out) except -1
