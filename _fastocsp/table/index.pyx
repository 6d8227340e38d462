"""The index of a table, for those who write; layout and look-up stand in index.pxd.

Readers look while this changes. A word is stored before another place of it is cleared, so nobody finds a run broken;
who looks at a word that moves past him finds nothing, asks again with the mutex taken or goes to Redis, and no harm is
done. Pages of the old index are given back behind the frontier.
"""

from _fastocsp.table.memory cimport (
    CHUNK, PAGES, chunk_limit, level_octets, punch, store64,
)

cdef enum:
    MOVED_AT_ONCE = 64            # slots of the old index, and on to the end of a run


cdef inline uint64_t* level_slots(const Map* m, int level) noexcept nogil:
    return <uint64_t*>(<char*>m.index + level_offset(level))


cdef int put_word(uint64_t* slots, uint32_t home, uint64_t word) noexcept nogil:
    cdef uint32_t i
    for i in range(MAX_PROBE):
        if load64(slots + home + i) == 0:
            store64(slots + home + i, word)
            return 0
    return -1


cdef int insert_word(Map* m, uint64_t word) noexcept nogil:
    cdef Place at
    find_home(m, load64(&m.shared.shape), hash_of_word(word), &at)
    return put_word(at.slots, at.slot, word)


cdef bint find_word(Map* m, uint64_t word, Place* out) noexcept nogil:
    cdef uint64_t found
    find_home(m, load64(&m.shared.shape), hash_of_word(word), out)
    while True:
        found = load64(out.slots + out.slot)
        if found == word or found == 0:
            return found != 0
        out.slot += 1


cdef void remove_word(Map* m, const Place* at) noexcept nogil:
    """Linear probing without tombstones: a later word whose home is not behind the hole moves into it."""
    cdef int shift = 32 - <int>(load64(&m.shared.shape) & 0xFF)
    cdef uint32_t hole = at.slot
    cdef uint32_t here = hole + 1
    cdef uint64_t word
    if at.slots != level_slots(m, 32 - shift):
        shift -= 1
    while True:
        word = load64(at.slots + here)
        if word == 0:
            break
        if hash_of_word(word) >> shift <= hole:
            store64(at.slots + hole, word)
            hole = here
        here += 1
    store64(at.slots + hole, 0)


cdef bint is_full(const Map* m) noexcept nogil:
    cdef uint64_t shape = load64(&m.shared.shape)
    return not shape & GROWING and load64(&m.shared.count) * 5 >= <uint64_t>4 << (shape & 0xFF)


cdef bint may_grow(const Map* m, int level) noexcept nogil:
    """Entries that are there leave room for the larger index."""
    cdef size_t wanted = level_octets(level + 1) + 2 * PAGES
    return (level < m.top_level
            and load64(&m.shared.chunks_taken) * CHUNK + wanted
            <= chunk_limit(m) * CHUNK + m.shared.index_octets)


cdef void grow_a_bit(Map* m) noexcept nogil:
    cdef uint64_t shape = load64(&m.shared.shape)
    cdef int level = shape & 0xFF
    if not shape & GROWING:
        if load64(&m.shared.count) * 4 < <uint64_t>3 << level or not may_grow(m, level):
            return
        m.shared.index_octets = level_octets(level + 1) + 2 * PAGES
        shape = GROWING | level
        store64(&m.shared.shape, shape)
    move_words(m, level, shape >> FRONTIER_SHIFT)


cdef void move_words(Map* m, int level, uint64_t frontier) noexcept nogil:
    """From the frontier on, to the end of a run; the index is the larger one after the last."""
    cdef uint64_t* old = level_slots(m, level)
    cdef uint64_t* new = level_slots(m, level + 1)
    cdef uint64_t end = (<uint64_t>1 << level) + MAX_PROBE
    cdef uint64_t at = frontier
    cdef uint64_t word
    while at < end:
        word = load64(old + at)
        if word == 0 and at >= frontier + MOVED_AT_ONCE:
            break
        if word != 0:
            put_word(new, hash_of_word(word) >> (31 - level), word)
        at += 1
    if at >= end:
        store64(&m.shared.shape, level + 1)
        punch(m, old, level_octets(level))
        m.shared.index_octets = level_octets(level + 1)
        store64(&m.shared.index_touched, m.shared.index_octets)
        return
    store64(&m.shared.shape, at << FRONTIER_SHIFT | GROWING | level)
    give_back(m, level, frontier, at)


cdef void give_back(Map* m, int level, uint64_t frontier, uint64_t at) noexcept nogil:
    """The pages of the old index that the frontier has left; and count what there is."""
    cdef size_t before = (frontier * 8) & ~<uint64_t>(PAGES - 1)
    cdef size_t after = (at * 8) & ~<uint64_t>(PAGES - 1)
    cdef size_t begun = ((2 * at + MAX_PROBE) * 8 + PAGES - 1) & ~<uint64_t>(PAGES - 1)
    punch(m, <char*>level_slots(m, level) + before, after - before)
    store64(&m.shared.index_touched, level_octets(level) - after + min(begun, level_octets(level + 1)))
