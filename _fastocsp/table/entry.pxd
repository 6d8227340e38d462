"""One entry of a table: how it lies in shared memory, is written, and is copied by who takes no lock.

    offset  0  head      u64, from the low end: version u32, used u16, due u8, hash algorithm u8 with PARAMETERS_ABSENT
            8  whose     u32: issuer number u16, length of the serial in 5 bits and of the record in 11
           12  serial, record, up to the next granule

The version is odd while the bytes mean nothing: free, or being written. A copy counts when the version is even, the
same before and after, not 0, and no chunk changed its class meanwhile; then the bytes are those of one `write_entry`.
Readers change `used` and `due` alone, by exchanging the whole head for the one that they read.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from _fastocsp.table.memory cimport GRANULE, MAX_ENTRY, MIN_ENTRY, load64, store64, swap64

cdef enum:
    ENTRY_HEAD = 12
    COPY_WORDS = 137              # MAX_ENTRY
    USED_SHIFT = 4                # `used` counts units of 16 seconds, and comes round after twelve days
    DUE_SHIFT = 1                 # `due` counts units of two seconds

cdef struct TableKey:
    uint32_t hash
    uint16_t issuer_no
    uint8_t hash_algorithm        # with PARAMETERS_ABSENT
    uint8_t serial_len
    const uint8_t* serial
    uint32_t place                # granule + 1 of the entry that was found last; 0: not known
    uint64_t place_epoch          # of the table at that time

cdef struct Found:                # a copy of an entry, and where it was
    const uint8_t* record         # in the copy
    size_t record_len
    uint64_t* at
    uint64_t words[COPY_WORDS]


cdef inline size_t entry_octets(size_t serial_len, size_t record_len) noexcept nogil:
    """Of its class: a multiple of GRANULE."""
    cdef size_t octets = (ENTRY_HEAD + serial_len + record_len + GRANULE - 1) & ~<size_t>(GRANULE - 1)
    return octets if octets > MIN_ENTRY else MIN_ENTRY


cdef inline uint32_t version_of(uint64_t head) noexcept nogil:
    return <uint32_t>head


cdef inline uint16_t used_of(uint64_t head) noexcept nogil:
    return <uint16_t>(head >> 32)


cdef inline uint8_t due_of(uint64_t head) noexcept nogil:
    return <uint8_t>(head >> 48)


cdef inline uint8_t algorithm_of(uint64_t head) noexcept nogil:
    return <uint8_t>(head >> 56)


cdef inline uint64_t head_of(uint32_t version, uint16_t used, uint8_t due, uint8_t algorithm) noexcept nogil:
    return <uint64_t>algorithm << 56 | <uint64_t>due << 48 | <uint64_t>used << 32 | version


cdef inline uint16_t used_mark(uint32_t now) noexcept nogil:
    return <uint16_t>(now >> USED_SHIFT)


cdef inline uint8_t due_mark(uint32_t now) noexcept nogil:
    """Never 0, which is no mark."""
    return <uint8_t>(1 + (now >> DUE_SHIFT) % 255)


cdef inline uint16_t whose_serial_len(uint64_t whose) noexcept nogil:
    return <uint16_t>(whose >> 16 & 31)


cdef inline uint16_t whose_record_len(uint64_t whose) noexcept nogil:
    return <uint16_t>(whose >> 21 & 2047)


cdef inline void write_entry(uint64_t* at, const TableKey* key, const uint8_t* record, size_t record_len,
                             uint16_t used) noexcept nogil:
    """Whatever was there; nobody else writes. Stopped anywhere it leaves an odd version."""
    cdef uint64_t words[COPY_WORDS]
    cdef uint8_t* octets = <uint8_t*>words
    cdef uint32_t whose = (<uint32_t>record_len << 21) | (<uint32_t>key.serial_len << 16) | key.issuer_no
    cdef size_t count = entry_octets(key.serial_len, record_len) // 8
    cdef uint32_t version = version_of(load64(at)) | 1
    cdef size_t i
    store64(at, version)
    words[count - 1] = 0
    memcpy(octets + 8, &whose, 4)
    memcpy(octets + ENTRY_HEAD, key.serial, key.serial_len)
    memcpy(octets + ENTRY_HEAD + key.serial_len, record, record_len)
    for i in range(1, count):
        store64(at + i, words[i])
    version += 1
    store64(at, head_of(version if version else 2, used, 0, key.hash_algorithm))


cdef inline void end_entry(uint64_t* at) noexcept nogil:
    """From now on it is free."""
    store64(at, version_of(load64(at)) | 1)


cdef inline bint copy_entry(uint64_t* at, Found* out) noexcept nogil:
    """False when it changed meanwhile, or is none."""
    cdef uint64_t head = load64(at)
    cdef size_t count, i
    if head & 1 or version_of(head) == 0:
        return False
    out.at = at
    out.words[0] = head
    out.words[1] = load64(at + 1)
    out.record_len = whose_record_len(out.words[1])
    count = (ENTRY_HEAD + whose_serial_len(out.words[1]) + out.record_len + GRANULE - 1) // GRANULE
    if count > COPY_WORDS:
        return False
    for i in range(2, count):
        out.words[i] = load64(at + i)
    out.record = <const uint8_t*>out.words + ENTRY_HEAD + whose_serial_len(out.words[1])
    return version_of(load64(at)) == version_of(head)


cdef inline bint is_of(const Found* found, const TableKey* key) noexcept nogil:
    """The copy is of the whole key."""
    return (algorithm_of(found.words[0]) == key.hash_algorithm and <uint16_t>found.words[1] == key.issuer_no
            and whose_serial_len(found.words[1]) == key.serial_len
            and memcmp(<const uint8_t*>found.words + ENTRY_HEAD, key.serial, key.serial_len) == 0)


cdef inline bint mark_entry(Found* found, uint16_t used, uint8_t due) noexcept nogil:
    """Note the use, and the due mark unless it is 0; True when this call, and no other, set the due mark.

    A mark that is one unit ahead stays: it is of a worker whose clock is, and the two would take turns.
    """
    cdef uint64_t was = found.words[0]
    cdef uint64_t head
    cdef uint8_t kept = due_of(was)
    cdef bint fresh = due != 0 and due != kept and kept != due % 255 + 1
    cdef bint moved = used != used_of(was) and used_of(was) != <uint16_t>(used + 1)
    if not fresh and not moved:
        return False
    head = head_of(version_of(was), used if moved else used_of(was), due if fresh else kept, algorithm_of(was))
    return swap64(found.at, was, head) and fresh
