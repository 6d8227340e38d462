"""Revoked set: an image of sorted rows plus a delta log, in memory that processes share.

One writer, any number of readers, no lock. The rows never change once the image is published; a later revocation
or release is a delta entry, written whole and then linked in by one release store of its bucket. The newest entry
of a serial number wins over older ones and over the rows. It knows nothing of leases or clocks: the gate does.

Image: ImageHead | Group[group_count] | index of each group | rows of each group | uint32 buckets[] | Delta[].
Row: serial (serial_len octets) | revocation time u32 big-endian | reason u8; ascending by serial.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from _fastocsp.ahead cimport fetch_ahead

from _fastocsp.errors import WireError
from _fastocsp.groups import merge_groups

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint32_t load_acquire(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void store_release(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    """
    uint32_t load_acquire(const uint32_t* p) noexcept nogil
    void store_release(uint32_t* p, uint32_t v) noexcept nogil

cdef uint64_t MAGIC = 0x32564552_50534346
cdef enum:
    ROWS_A_SLOT = 8
    ROW_TAIL = 5
    ITEM_FIXED = 21               # octets of a feed item besides its serial


cdef inline uint32_t be32(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef const Delta* find_delta(const uint8_t* image, uint16_t issuer_no, const uint8_t* serial,
                             size_t serial_len) noexcept nogil:
    """The newest delta entry of that serial, or NULL."""
    cdef const ImageHead* head = <const ImageHead*>image
    cdef const uint32_t* buckets = <const uint32_t*>(image + head.buckets_at)
    cdef const Delta* entries = <const Delta*>(image + head.entries_at)
    cdef const Delta* entry
    cdef uint32_t at = load_acquire(&buckets[hash_serial(issuer_no, serial, serial_len) & head.bucket_mask])
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


cdef void write_index(uint8_t* image, Group* group) noexcept nogil:
    """The starts of every slot, for rows that are in place."""
    cdef uint32_t* starts = <uint32_t*>(image + group.index_at)
    cdef const uint8_t* rows = image + group.rows_at
    cdef size_t stride = group.serial_len + ROW_TAIL
    cdef uint64_t span
    cdef uint64_t slot
    cdef uint64_t filled = 0
    cdef uint32_t i
    group.first = leading64(rows, group.serial_len) if group.count else 0
    span = leading64(rows + (group.count - 1) * stride, group.serial_len) - group.first if group.count else 0
    group.shift = 0
    while (span >> group.shift) >= group.slots:
        group.shift += 1
    for i in range(group.count):
        slot = (leading64(rows + i * stride, group.serial_len) - group.first) >> group.shift
        while filled <= slot and filled < group.slots:    # rows out of order would be found nowhere, not anywhere
            starts[filled] = i
            filled += 1
    while filled <= group.slots:
        starts[filled] = group.count
        filled += 1


cdef void expect_revoked(const uint8_t* image, uint32_t serial_hash) noexcept nogil:
    cdef const ImageHead* head = <const ImageHead*>image
    cdef const uint32_t* buckets = <const uint32_t*>(image + head.buckets_at)
    fetch_ahead(&buckets[serial_hash & head.bucket_mask], 4)


cdef int find_revoked(const uint8_t* image, uint16_t issuer_no, const uint8_t* serial, size_t serial_len,
                      RevokedEntry* out) noexcept nogil:
    cdef const Delta* entry = find_delta(image, issuer_no, serial, serial_len)
    cdef const uint8_t* row
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


def parse_items(bytes payload not None):
    """(op, issuer_no, serial, revocation_time, reason) of each feed item of a payload."""
    cdef const uint8_t* p = payload
    cdef size_t left = len(payload)
    cdef size_t n
    found = []
    while left:
        if left < ITEM_FIXED or p[3] < 1 or p[3] > 20 or left - ITEM_FIXED < p[3]:
            raise WireError("feed item is cut short", len(payload) - left)
        n = p[3]
        if p[0] < 1 or p[0] > 3:
            raise WireError("feed item has an unknown operation", len(payload) - left)
        # the times are int8 on the wire; ours end in 2106
        found.append((p[0], (<int>p[1] << 8) | p[2], (<const char*>p)[4:4 + n], be32(p + 4 + n + 4), p[4 + n + 8]))
        p += ITEM_FIXED + n
        left -= ITEM_FIXED + n
    return found


def image_size(groups, delta_capacity):
    """Octets of an image with these {(issuer_no, serial_len): row count} and room for so many deltas."""
    rows = index = 0
    for (_, serial_len), count in groups.items():
        rows += count * (serial_len + ROW_TAIL)
        index += (_slots(count) + 1) * 4
    return (sizeof(ImageHead) + len(groups) * sizeof(Group) + (index + rows + 7) // 8 * 8
            + _buckets(delta_capacity) * 4 + delta_capacity * sizeof(Delta))


def _slots(count):
    return max(2, count // ROWS_A_SLOT)  # a shift of 64 bits would be none: one slot cannot be had


def _buckets(delta_capacity):
    return 1 << max(4, (delta_capacity - 1).bit_length())


cdef class RevokedImage:
    """A view of one image; `build` fills it, then `apply` by the writer and `find` by anybody."""

    def __cinit__(self, buffer, bint writable=False):
        cdef Py_buffer view
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.image = <uint8_t*>view.buf
        self.image_len = <size_t>view.len
        self.writable = writable
        self._buffer = memoryview(buffer)
        PyBuffer_Release(&view)

    def build(self, groups, delta_capacity):
        """Lay the image out for `groups`, {(issuer_no, serial_len): sorted rows as one bytes}."""
        cdef ImageHead* head = <ImageHead*>self.image
        cdef Group* group = <Group*>(self.image + sizeof(ImageHead))
        cdef size_t index_at = sizeof(ImageHead) + len(groups) * sizeof(Group)
        cdef size_t at
        cdef bytes rows
        counts = {key: len(rows_) // (key[1] + ROW_TAIL) for key, rows_ in groups.items()}
        if not self.writable or self.image_len < image_size(counts, delta_capacity):
            raise ValueError("the buffer is too small for this image, or read-only")
        head.group_count = 0
        head.listed = 0
        at = index_at + sum([(_slots(count) + 1) * 4 for count in counts.values()])
        for (issuer_no, serial_len), rows in sorted(groups.items()):
            group[head.group_count].issuer_no = issuer_no
            group[head.group_count].serial_len = serial_len
            group[head.group_count].count = counts[issuer_no, serial_len]
            group[head.group_count].rows_at = at
            group[head.group_count].index_at = index_at
            group[head.group_count].slots = _slots(counts[issuer_no, serial_len])
            memcpy(self.image + at, <const uint8_t*>rows, len(rows))
            write_index(self.image, &group[head.group_count])
            at += len(rows)
            index_at += (group[head.group_count].slots + 1) * 4
            head.listed += counts[issuer_no, serial_len]
            head.group_count += 1
        at = (at + 7) // 8 * 8
        head.delta_capacity = delta_capacity
        head.bucket_mask = _buckets(delta_capacity) - 1
        head.delta_count = 0
        head.buckets_at = at
        head.entries_at = at + (head.bucket_mask + 1) * 4
        head.image_len = head.entries_at + delta_capacity * sizeof(Delta)
        memset(self.image + at, 0, (head.bucket_mask + 1) * 4)
        head.magic = MAGIC

    def check(self):
        """ValueError unless the buffer holds a whole image."""
        cdef const ImageHead* head = <const ImageHead*>self.image
        if self.image_len < sizeof(ImageHead) or head.magic != MAGIC or head.image_len > self.image_len:
            raise ValueError("not an image of the revoked set")

    def apply(self, int op, int issuer_no, bytes serial not None, uint32_t revocation_time, int reason):
        """Append one feed item; False when the delta is full and a new image is due."""
        cdef ImageHead* head = <ImageHead*>self.image
        cdef uint32_t* buckets = <uint32_t*>(self.image + head.buckets_at)
        cdef Delta* entry
        cdef const uint8_t* octets = serial
        cdef size_t n = len(serial)
        cdef uint32_t bucket
        if not self.writable or n < 1 or n > 20:
            raise ValueError("read-only image, or a serial number of a wrong length")
        if head.delta_count >= head.delta_capacity:
            return False
        entry = <Delta*>(self.image + head.entries_at) + head.delta_count
        bucket = hash_serial(<uint16_t>issuer_no, octets, n) & head.bucket_mask
        entry.issuer_no = <uint16_t>issuer_no
        entry.op = <uint8_t>op
        entry.serial_len = <uint8_t>n
        memcpy(entry.serial, octets, n)
        entry.revocation_time = revocation_time
        entry.reason = <uint8_t>reason
        entry.next = buckets[bucket]
        store_release(&buckets[bucket], head.delta_count + 1)
        head.delta_count += 1
        return True

    def find(self, int issuer_no, bytes serial not None):
        """(revocation_time, reason), or None when the serial is not in the set."""
        cdef RevokedEntry entry
        if find_revoked(self.image, <uint16_t>issuer_no, serial, len(serial), &entry) == ABSENT:
            return None
        return entry.revocation_time, entry.reason

    @property
    def listed(self):
        """Rows of the image, deltas not counted."""
        return (<const ImageHead*>self.image).listed

    @property
    def delta_count(self):
        """Delta entries written so far."""
        return (<const ImageHead*>self.image).delta_count

    def compact(self):
        """{(issuer_no, serial_len): sorted rows} of rows and deltas together, for a new image."""
        return merge_groups(self._groups(), self._deltas())

    def _groups(self):
        cdef const ImageHead* head = <const ImageHead*>self.image
        cdef const Group* group = <const Group*>(self.image + sizeof(ImageHead))
        cdef uint32_t i
        found = {}
        for i in range(head.group_count):
            length = group[i].count * (group[i].serial_len + ROW_TAIL)
            found[group[i].issuer_no, group[i].serial_len] = (<char*>self.image + group[i].rows_at)[:length]
        return found

    def _deltas(self):
        cdef const ImageHead* head = <const ImageHead*>self.image
        cdef const Delta* entry = <const Delta*>(self.image + head.entries_at)
        cdef uint32_t i
        items = []
        for i in range(head.delta_count):
            items.append((entry[i].op, entry[i].issuer_no, (<const char*>entry[i].serial)[:entry[i].serial_len],
                          entry[i].revocation_time, entry[i].reason))
        return items
