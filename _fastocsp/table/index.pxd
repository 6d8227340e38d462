"""The index of a table: words in order of their hash, found by linear probing; it grows a few words at a time.

A word is the whole hash and, below it, where the entry is, in granules + 1; 0 is an empty slot. The home of a word is
the top bits of its hash, so a larger index has the words in the same order: the frontier walks over the old one and
whoever looks knows by the home alone which of the two to ask. Behind the last home are slots for the last run: nothing
wraps around.
"""

from libc.stdint cimport uint32_t, uint64_t

from _fastocsp.table.memory cimport MAX_PROBE, Map, level_offset, load64

cdef enum:
    GROWING = 0x100               # in a shape, beside the level in the low byte
    FRONTIER_SHIFT = 9            # and before the slots of the old index that were moved

cdef struct Place:
    uint64_t* slots               # of one level
    uint32_t slot                 # where to look first


cdef inline uint32_t hash_of_word(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 32)


cdef inline uint32_t granule_of_word(uint64_t word) noexcept nogil:
    return <uint32_t>word - 1


cdef inline uint64_t word_of(uint32_t hash_, uint32_t granule) noexcept nogil:
    return <uint64_t>hash_ << 32 | (granule + 1)


cdef inline void find_home(const Map* m, uint64_t shape, uint32_t hash_, Place* out) noexcept nogil:
    """Where a word of this hash stands, or would."""
    cdef int level = shape & 0xFF
    out.slot = hash_ >> (32 - level)
    if shape & GROWING and out.slot < shape >> FRONTIER_SHIFT:
        level += 1
        out.slot = hash_ >> (32 - level)
    out.slots = <uint64_t*>(<char*>m.index + level_offset(level))


# For the writer alone.
# Insert; -1 when its run is too long.
cdef int insert_word(Map* m, uint64_t word) noexcept nogil
# Remove the word, which is at this place; later ones of its run come nearer.
cdef void remove_word(Map* m, const Place* at) noexcept nogil
# The place of this very word; False when it is not there.
cdef bint find_word(Map* m, uint64_t word, Place* out) noexcept nogil
# Begin to grow if it is time and the room is there, and move some words if that is under way.
cdef void grow_a_bit(Map* m) noexcept nogil
# Too full to take one more.
cdef bint is_full(const Map* m) noexcept nogil
