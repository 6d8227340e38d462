"""Is it in the set? Whoever asks takes no lock; see revoked."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    ABSENT = 0
    LISTED = 1

cdef struct RevokedEntry:
    uint32_t revocation_time      # epoch seconds
    uint8_t reason                # CRLReason, NO_REASON when none was given

# Ask for the memory that `find_revoked` reads first for a serial of this hash
cdef void expect_revoked(const uint8_t* image, uint64_t serial_hash) noexcept nogil
cdef int find_revoked(const uint8_t* image, uint16_t issuer_no, const uint8_t* serial, size_t serial_len,
                      RevokedEntry* out) noexcept nogil
# The set has an entry of the issuer itself, under the empty serial number: a fence (see revoked)
cdef bint find_fence(const uint8_t* image, uint16_t issuer_no) noexcept nogil
