"""Room for entries of a table: chunks of one class of sizes, taken while the limit allows it, then from others.

Of a few entries the one that has gone unused longest goes. When a few of another class have all gone unused for longer,
their whole chunk changes its class; so a class that nobody asks for does not keep its room. A chunk without entries
goes back to the system.
"""

from _fastocsp.table.entry cimport (
    Found, TableKey, algorithm_of, copy_entry, end_entry, used_of, version_of, whose_serial_len,
)
from _fastocsp.table.hash cimport set_key
from _fastocsp.table.index cimport Place, find_word, granule_of_word, remove_word, word_of
from _fastocsp.table.memory cimport CHUNK, NO_CHUNK, Chunk, Shared, chunk_limit, load64, punch, store64

cdef enum:
    LOOKED_AT = 8                 # entries compared for one eviction
    CHUNKS_LOOKED_AT = 4          # of other classes, when a class has none
    STRIDE = 37                   # from an entry looked at to the next: neighbours were put together
    CHUNK_GRANULES = 4096
    OLDEST = 0xFFFF

cdef struct Oldest:
    uint32_t chunk
    uint32_t entry
    uint32_t age                  # units since its last use


cdef inline uint32_t entries_of(const Chunk* chunk) noexcept nogil:
    """How many a chunk of its class has room for."""
    return CHUNK_GRANULES // chunk.size_class


cdef inline uint32_t granule_of(uint32_t number, const Chunk* chunk, uint32_t entry) noexcept nogil:
    return number * CHUNK_GRANULES + entry * chunk.size_class


cdef inline bint is_live(uint64_t head) noexcept nogil:
    return head & 1 == 0 and version_of(head) != 0


cdef void join_roomy(Map* m, uint32_t number) noexcept nogil:
    cdef Chunk* chunk = m.chunks + number
    cdef uint32_t* first = m.shared.roomy + chunk.size_class
    chunk.before, chunk.after = NO_CHUNK, first[0]
    if first[0] != NO_CHUNK:
        m.chunks[first[0]].before = number
    first[0] = number


cdef void leave_roomy(Map* m, uint32_t number) noexcept nogil:
    cdef Chunk* chunk = m.chunks + number
    if chunk.before != NO_CHUNK:
        m.chunks[chunk.before].after = chunk.after
    else:
        m.shared.roomy[chunk.size_class] = chunk.after
    if chunk.after != NO_CHUNK:
        m.chunks[chunk.after].before = chunk.before


cdef inline bint has_room(const Chunk* chunk) noexcept nogil:
    return chunk.free_entry != 0 or chunk.carved < entries_of(chunk)


cdef void give_class(Map* m, uint32_t number, uint32_t size_class) noexcept nogil:
    """An empty chunk begins to be of this class; nobody has a word of what it was."""
    cdef Chunk* chunk = m.chunks + number
    store64(&m.shared.epoch, load64(&m.shared.epoch) + 1)
    chunk.size_class, chunk.live, chunk.carved, chunk.free_entry = size_class, 0, 0, 0
    m.shared.class_chunks[size_class] += 1
    join_roomy(m, number)


cdef void leave_class(Map* m, uint32_t number) noexcept nogil:
    """Of an empty chunk."""
    cdef Chunk* chunk = m.chunks + number
    leave_roomy(m, number)
    m.shared.class_chunks[chunk.size_class] -= 1
    chunk.size_class = 0


cdef uint32_t fresh_chunk(Map* m) noexcept nogil:
    """One that belongs to nobody; NO_CHUNK above the limit."""
    cdef Shared* shared = m.shared
    cdef uint32_t number = <uint32_t>shared.free_chunk
    if shared.chunks_taken >= chunk_limit(m):
        return NO_CHUNK
    if number != NO_CHUNK:
        shared.free_chunk = m.chunks[number].after
    elif shared.chunks_begun < m.chunk_count:
        number = <uint32_t>shared.chunks_begun
        store64(&shared.chunks_begun, number + 1)
    else:
        return NO_CHUNK
    store64(&shared.chunks_taken, shared.chunks_taken + 1)
    return number


cdef void give_chunk_back(Map* m, uint32_t number) noexcept nogil:
    leave_class(m, number)
    punch(m, m.entries + <size_t>number * CHUNK, CHUNK)
    m.chunks[number].after = <uint32_t>m.shared.free_chunk
    m.shared.free_chunk = number
    store64(&m.shared.chunks_taken, m.shared.chunks_taken - 1)


cdef void free_in_chunk(Map* m, uint32_t number, uint32_t entry) noexcept nogil:
    cdef Chunk* chunk = m.chunks + number
    cdef uint64_t* at = entry_at(m, granule_of(number, chunk, entry))
    cdef bint roomy = has_room(chunk)
    end_entry(at)
    store64(at + 1, chunk.free_entry)
    chunk.free_entry = entry + 1
    chunk.live -= 1
    if not roomy:
        join_roomy(m, number)


cdef void free_room(Map* m, uint32_t granule) noexcept nogil:
    cdef uint32_t number = granule // CHUNK_GRANULES
    free_in_chunk(m, number, granule % CHUNK_GRANULES // m.chunks[number].size_class)
    if m.chunks[number].live == 0:
        give_chunk_back(m, number)


cdef uint64_t word_in_index(Map* m, uint32_t granule, Place* at) noexcept nogil:
    """Of a live entry, and where it stands; 0 when the index does not know it."""
    cdef Found found
    cdef TableKey key
    cdef uint64_t word
    cdef size_t serial_len
    if not copy_entry(entry_at(m, granule), &found):
        return 0
    serial_len = whose_serial_len(found.words[1])
    set_key(&key, <uint16_t>found.words[1], algorithm_of(found.words[0]), found.record - serial_len, serial_len)
    word = word_of(key.hash, granule)
    return word if find_word(m, word, at) else 0


cdef void forget(Map* m, uint32_t number, uint32_t entry) noexcept nogil:
    """A live entry; its chunk stays, even if it is the last one."""
    cdef Place at
    if word_in_index(m, granule_of(number, m.chunks + number, entry), &at):
        remove_word(m, &at)
    free_in_chunk(m, number, entry)
    store64(&m.shared.count, m.shared.count - 1)


cdef void drop_entry(Map* m, uint64_t word) noexcept nogil:
    cdef Place at
    if find_word(m, word, &at):
        remove_word(m, &at)
    free_room(m, granule_of_word(word))
    store64(&m.shared.count, m.shared.count - 1)


cdef uint32_t age_in(const Map* m, uint32_t number, uint32_t entry, uint16_t used) noexcept nogil:
    """Units since the last use; -1, the highest number, when it is not live."""
    cdef uint64_t head = load64(entry_at(m, granule_of(number, m.chunks + number, entry)))
    return <uint16_t>(used - used_of(head)) if is_live(head) else <uint32_t>-1


cdef uint32_t next_of_class(Map* m, uint32_t size_class) noexcept nogil:
    """Move the hand of the class to its next chunk that has begun; NO_CHUNK when there is none."""
    cdef Shared* shared = m.shared
    cdef uint32_t number = shared.class_hand[size_class]
    cdef uint64_t left = shared.chunks_begun if shared.class_chunks[size_class] else 0
    while left:
        left -= 1
        number = number + 1 if number + 1 < shared.chunks_begun else 0
        if m.chunks[number].size_class == size_class and m.chunks[number].carved:
            shared.class_hand[size_class] = number
            return number
    return NO_CHUNK


cdef uint32_t some_live(Map* m, uint32_t number, uint32_t size_class) noexcept nogil:
    """An entry of the chunk, another one each time; NO_CHUNK when a few were all free."""
    cdef uint32_t carved = m.chunks[number].carved
    cdef uint32_t tried, entry
    m.shared.class_entry[size_class] += STRIDE
    for tried in range(min(carved, <uint32_t>LOOKED_AT)):
        entry = (m.shared.class_entry[size_class] + tried) % carved
        if is_live(load64(entry_at(m, granule_of(number, m.chunks + number, entry)))):
            return entry
    return NO_CHUNK


cdef bint find_oldest(Map* m, uint32_t size_class, uint16_t used, Oldest* out) noexcept nogil:
    """Of a few entries in different chunks of the class."""
    cdef uint32_t looks = LOOKED_AT
    cdef uint32_t number, entry, age
    out.entry, out.age = NO_CHUNK, 0
    while looks:
        looks -= 1
        number = next_of_class(m, size_class)
        if number == NO_CHUNK:
            return False
        entry = some_live(m, number, size_class)
        if entry == NO_CHUNK:
            continue
        age = age_in(m, number, entry, used)
        if out.entry == NO_CHUNK or age > out.age:
            out.chunk, out.entry, out.age = number, entry, age
    return out.entry != NO_CHUNK


cdef uint32_t youngest_age(const Map* m, uint32_t number, uint16_t used) noexcept nogil:
    """Of a few spread over the chunk."""
    cdef const Chunk* chunk = m.chunks + number
    cdef uint32_t step = chunk.carved // LOOKED_AT + 1
    cdef uint32_t youngest = OLDEST + 1
    cdef uint32_t entry = 0
    while entry < chunk.carved:
        youngest = min(youngest, age_in(m, number, entry, used))
        entry += step
    return youngest


cdef uint32_t coldest_of_others(Map* m, uint32_t size_class, uint32_t looks, uint16_t used,
                                uint32_t* age) noexcept nogil:
    """Of the next chunks of other classes."""
    cdef Shared* shared = m.shared
    cdef uint32_t coldest = NO_CHUNK
    cdef uint32_t found = 0, here
    cdef uint64_t left = min(shared.chunks_begun, 64 * looks)
    age[0] = 0
    while left and found < looks:
        left -= 1
        shared.hand = shared.hand + 1 if shared.hand + 1 < shared.chunks_begun else 0
        if m.chunks[shared.hand].size_class in (0, size_class):
            continue
        found += 1
        here = youngest_age(m, <uint32_t>shared.hand, used)
        if coldest == NO_CHUNK or here > age[0]:
            coldest, age[0] = <uint32_t>shared.hand, here
    return coldest


cdef void empty_chunk(Map* m, uint32_t number) noexcept nogil:
    """Forget all that is in it."""
    cdef uint32_t entry
    for entry in range(m.chunks[number].carved):
        if is_live(load64(entry_at(m, granule_of(number, m.chunks + number, entry)))):
            forget(m, number, entry)
            store64(&m.shared.evicted, m.shared.evicted + 1)


cdef void evict(Map* m, const Oldest* oldest) noexcept nogil:
    forget(m, oldest.chunk, oldest.entry)
    store64(&m.shared.evicted, m.shared.evicted + 1)


cdef int evict_one(Map* m, uint32_t size_class, uint16_t used) noexcept nogil:
    cdef Oldest oldest
    cdef uint32_t age = 0, other
    if find_oldest(m, size_class, used, &oldest):
        evict(m, &oldest)
        return 0
    other = coldest_of_others(m, size_class, CHUNKS_LOOKED_AT, used, &age)
    if other == NO_CHUNK:
        return -1
    empty_chunk(m, other)
    return 0


cdef int make_room(Map* m, uint32_t size_class, uint16_t used) noexcept nogil:
    """In a chunk of this class, at the cost of an entry or of a colder chunk; -1 when there is nobody to pay."""
    cdef Oldest own
    cdef uint32_t age = 0
    cdef bint there = find_oldest(m, size_class, used, &own)
    cdef uint32_t other = coldest_of_others(m, size_class, 1 if there else CHUNKS_LOOKED_AT, used, &age)
    if other != NO_CHUNK and (not there or age > own.age):
        empty_chunk(m, other)
        leave_class(m, other)
        give_class(m, other, size_class)
        return 0
    if not there:
        return -1
    evict(m, &own)
    return 0


cdef uint32_t take_room(Map* m, size_t octets, uint16_t used) noexcept nogil:
    cdef uint32_t size_class = <uint32_t>(octets // GRANULE)
    cdef uint32_t number = m.shared.roomy[size_class]
    cdef uint32_t entry
    cdef Chunk* chunk
    if number == NO_CHUNK:
        number = fresh_chunk(m)
        if number != NO_CHUNK:
            give_class(m, number, size_class)
        elif make_room(m, size_class, used) < 0:
            return NO_CHUNK
        number = m.shared.roomy[size_class]
    chunk = m.chunks + number
    if chunk.free_entry:
        entry = chunk.free_entry - 1
        chunk.free_entry = <uint32_t>load64(entry_at(m, granule_of(number, chunk, entry)) + 1)
    else:
        entry = chunk.carved
        chunk.carved += 1
    chunk.live += 1
    if not has_room(chunk):
        leave_roomy(m, number)
    return granule_of(number, chunk, entry)
