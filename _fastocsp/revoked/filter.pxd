"""Which serials a set may hold, at six bits an entry: one line of memory tells 15 strangers of 16 from its members.

Blocked Bloom filter: the hash names one block of 64 bytes and three bits in it. Bits are set and never cleared, by one
writer, before what they stand for is linked in; a reader that is told of that sees them. No is certain, yes is not.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t load_plain(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline void store_plain(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    """
    uint64_t load_plain(const uint64_t* p) noexcept nogil
    void store_plain(uint64_t* p, uint64_t v) noexcept nogil

cdef enum:
    BLOCK_OCTETS = 64
    BITS_AN_ENTRY = 6


cdef inline uint64_t filter_blocks(uint64_t entries) noexcept nogil:
    """Blocks for so many; at least one."""
    return entries * BITS_AN_ENTRY // (BLOCK_OCTETS * 8) + 1


cdef inline uint64_t block_of(uint64_t blocks, uint64_t h) noexcept nogil:
    """Index of this hash's block, by its upper half."""
    return ((h >> 32) * blocks) >> 32


cdef inline bint may_hold(const uint64_t* block, uint64_t h) noexcept nogil:
    """False: nothing of this hash was noted. The bits are nine of the lower half each."""
    return (load_plain(block + (h >> 6 & 7)) >> (h & 63) & load_plain(block + (h >> 15 & 7)) >> (h >> 9 & 63)
            & load_plain(block + (h >> 24 & 7)) >> (h >> 18 & 63) & 1)


cdef inline void note_bit(uint64_t* block, uint64_t nine) noexcept nogil:
    cdef uint64_t* word = block + (nine >> 6 & 7)
    store_plain(word, load_plain(word) | <uint64_t>1 << (nine & 63))


cdef inline void note_hash(uint64_t* block, uint64_t h) noexcept nogil:
    note_bit(block, h)
    note_bit(block, h >> 9)
    note_bit(block, h >> 18)
