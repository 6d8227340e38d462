"""Room for entries: chunks that belong to one class of sizes at a time, and who must go when there is no more.

For the writer alone; readers know of it that a chunk changes its class only after the epoch went up.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from _fastocsp.table.memory cimport GRANULE, Map


cdef inline uint64_t* entry_at(const Map* m, uint32_t granule) noexcept nogil:
    return <uint64_t*>(m.entries + <size_t>granule * GRANULE)


# Forget an entry that is in the index, and free its room.
cdef void drop_entry(Map* m, uint64_t word) noexcept nogil
# The granule of room for an entry of so many bytes, if need be that of others; NO_CHUNK when there is none. The
# room is free: an odd version, or 0.
cdef uint32_t take_room(Map* m, size_t octets, uint16_t used) noexcept nogil
# Free room that was taken.
cdef void free_room(Map* m, uint32_t granule) noexcept nogil
# Forget the longest unused of a few entries of this class, or others if it has none; -1 when there is nothing.
cdef int evict_one(Map* m, uint32_t size_class, uint16_t used) noexcept nogil
