"""Look-ups in an image of the revoked set: the filter, then the delta, then the rows."""

from libc.string cimport memcmp

from _fastocsp.shared.prefetch cimport fetch_ahead
from _fastocsp.revoked.rows cimport ROW_TAIL, be32
from _fastocsp.revoked.layout cimport Delta, Group, ImageHead, filter_block, hash_serial, leading64
from _fastocsp.revoked.filter cimport BLOCK_OCTETS, may_hold

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint32_t load_acquire(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    """
    uint32_t load_acquire(const uint32_t* p) noexcept nogil


cdef const Delta* find_delta(const uint8_t* image, uint64_t h, uint16_t issuer_no, const uint8_t* serial,
                             size_t serial_len) noexcept nogil:
    """The newest delta entry of that serial, or NULL."""
    cdef const ImageHead* head = <const ImageHead*>image
    cdef const uint32_t* buckets = <const uint32_t*>(image + head.buckets_at)
    cdef const Delta* entries = <const Delta*>(image + head.entries_at)
    cdef const Delta* entry
    cdef uint32_t at = load_acquire(&buckets[(h >> 32) & head.bucket_mask])
    while at != 0:
        entry = &entries[at - 1]
        if (entry.issuer_no == issuer_no and entry.serial_len == serial_len
                and memcmp(entry.serial, serial, serial_len) == 0):
            return entry
        at = entry.next
    return NULL


cdef const uint8_t* find_row(const uint8_t* image, uint16_t issuer_no, const uint8_t* serial,
                             size_t serial_len) noexcept nogil:
    """The row of that serial, or NULL."""
    cdef const ImageHead* head = <const ImageHead*>image
    cdef const Group* group = <const Group*>(image + sizeof(ImageHead))
    cdef uint32_t i
    for i in range(head.group_count):
        if group[i].issuer_no == issuer_no and group[i].serial_len == serial_len:
            return search_rows(image, &group[i], serial, serial_len)
    return NULL


cdef const uint8_t* search_rows(const uint8_t* image, const Group* group, const uint8_t* serial,
                                size_t n) noexcept nogil:
    """Bisection between two neighbours of the index: about eight rows for random serials, right for any."""
    cdef const uint32_t* starts = <const uint32_t*>(image + group.index_at)
    cdef const uint8_t* rows = image + group.rows_at
    cdef size_t stride = n + ROW_TAIL
    cdef uint64_t wanted = leading64(serial, n)
    cdef uint64_t slot
    cdef size_t low
    cdef size_t high
    cdef size_t middle
    cdef int order
    if wanted < group.first:
        return NULL
    slot = (wanted - group.first) >> group.shift
    if slot >= group.slots:
        return NULL
    low = starts[slot]
    high = starts[slot + 1]
    while low < high:
        middle = low + (high - low) // 2
        order = memcmp(rows + middle * stride, serial, n)
        if order == 0:
            return rows + middle * stride
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return NULL


cdef void expect_revoked(const uint8_t* image, uint64_t serial_hash) noexcept nogil:
    fetch_ahead(filter_block(image, serial_hash), BLOCK_OCTETS)


cdef int find_revoked(const uint8_t* image, uint16_t issuer_no, const uint8_t* serial, size_t serial_len,
                      RevokedEntry* out) noexcept nogil:
    cdef uint64_t h = hash_serial(issuer_no, serial, serial_len)
    cdef const Delta* entry
    cdef const uint8_t* row
    if not may_hold(filter_block(image, h), h):
        return ABSENT
    entry = find_delta(image, h, issuer_no, serial, serial_len)
    if entry != NULL:
        if entry.op != 1:
            return ABSENT
        out.revocation_time = entry.revocation_time
        out.reason = entry.reason
        return LISTED
    row = find_row(image, issuer_no, serial, serial_len)
    if row == NULL:
        return ABSENT
    out.revocation_time = be32(row + serial_len)
    out.reason = row[serial_len + 4]
    return LISTED


cdef bint find_fence(const uint8_t* image, uint16_t issuer_no) noexcept nogil:
    cdef RevokedEntry entry
    cdef uint8_t empty = 0
    if load_acquire(&(<const ImageHead*>image).fenced) == 0:
        return False
    return find_revoked(image, issuer_no, &empty, 0, &entry) == LISTED
