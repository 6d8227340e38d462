"""Layout of the set of revoked serial numbers: one process writes it, and many read it without a lock."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from _fastocsp.revoked.filter cimport BLOCK_OCTETS, block_of
from _fastocsp.wire.codes cimport MAX_SERIAL


cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t load_be64(const uint8_t* p) {
        uint64_t v;
        __builtin_memcpy(&v, p, 8);
        return __builtin_bswap64(v);
    }
    """
    uint64_t load_be64(const uint8_t* p) noexcept nogil

cdef struct ImageHead:
    uint64_t magic
    uint32_t group_count
    uint32_t delta_capacity       # entries the delta has room for
    uint32_t bucket_mask          # delta buckets - 1
    uint32_t delta_count          # entries written, stored last
    uint64_t buckets_at           # offsets from the start of the image, bytes
    uint64_t entries_at
    uint64_t image_len
    uint64_t listed               # rows in the groups
    uint64_t filter_at
    uint64_t filter_blocks
    uint32_t fenced               # issuers with an entry of the empty serial number

cdef struct Group:
    uint16_t issuer_no
    uint16_t serial_len
    uint32_t count
    uint64_t rows_at              # offset of count rows of serial_len + 5 bytes, ascending by serial
    uint64_t index_at             # offset of u32 starts[slots + 1]: the first row of each slot, count at the end
    uint64_t first                # leading bytes of the first row; slot of a serial: (leading - first) >> shift
    uint32_t slots
    uint32_t shift

cdef struct Delta:
    uint16_t issuer_no
    uint8_t op                    # 1 revoked, 2 released, 3 purged
    uint8_t serial_len
    uint8_t serial[MAX_SERIAL]
    uint8_t reason
    uint8_t pad[2]
    uint32_t revocation_time
    uint32_t next                 # index + 1 of the older entry of this bucket, 0 at the end


cdef inline uint64_t leading64(const uint8_t* p, size_t n) noexcept nogil:
    """The first eight bytes as a number, short serials padded with zeros on the right."""
    cdef uint64_t v = 0
    cdef size_t i
    if n >= 8:
        return load_be64(p)
    for i in range(8):
        v = (v << 8) | (p[i] if i < n else 0)
    return v


cdef inline uint64_t hash_serial(uint16_t issuer_no, const uint8_t* serial, size_t n) noexcept nogil:
    """Of both ends of the serial, for the filter and, the upper half, for the delta's buckets."""
    cdef uint64_t spread = 0x9E3779B97F4A7C15
    cdef uint64_t h = leading64(serial, n) ^ (leading64(serial + n - min(n, 8), n) * spread) ^ issuer_no
    h = (h ^ (h >> 32)) * spread
    return h ^ (h >> 32)


cdef inline uint64_t* filter_block(const uint8_t* image, uint64_t h) noexcept nogil:
    cdef const ImageHead* head = <const ImageHead*>image
    return <uint64_t*>(image + head.filter_at + block_of(head.filter_blocks, h) * BLOCK_OCTETS)
