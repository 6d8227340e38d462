"""Revoked set: an image of sorted rows plus a delta log, in memory that processes share.

One writer, any number of readers, no lock. The rows never change once the image is published; a later revocation
or release is a delta entry, written whole and then linked in by one release store of its bucket. The newest entry
of a serial number wins over older ones and over the rows. A filter says of most serials at once that they are in
neither. It knows nothing of leases or clocks: the gate does.

An entry of an empty serial number, which no certificate has, is a fence: after a restore nothing but listed revocations
may be answered for its issuer. The head counts the issuers that are fenced.

Image: ImageHead | Group[group_count] | index of each group | rows of each group | filter | uint32 buckets[] | Delta[].
Row: serial (serial_len bytes) | revocation time u32 big-endian | reason u8; ascending by serial.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from _fastocsp.revoked.rows cimport ROW_TAIL
from _fastocsp.revoked.layout cimport Delta, Group, ImageHead, filter_block, hash_serial, leading64
from _fastocsp.revoked.lookup cimport ABSENT, RevokedEntry, find_fence, find_revoked
from _fastocsp.revoked.filter cimport BLOCK_OCTETS, filter_blocks, note_hash
from _fastocsp.wire.codes cimport MAX_SERIAL

from _fastocsp.revoked.rows import merge_groups

cdef extern from *:
    """
    #include <stdint.h>
    static inline void store_release(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    """
    void store_release(uint32_t* p, uint32_t v) noexcept nogil

cdef uint64_t MAGIC = 0x35564552_50534346
cdef enum:
    ROWS_A_SLOT = 8


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


cdef void note_rows(uint8_t* image, const Group* group) noexcept nogil:
    """In the filter, which is in place."""
    cdef const uint8_t* row = image + group.rows_at
    cdef uint64_t h
    cdef uint32_t _i
    for _i in range(group.count):
        h = hash_serial(group.issuer_no, row, group.serial_len)
        note_hash(filter_block(image, h), h)
        row += group.serial_len + ROW_TAIL


def image_size(groups, delta_capacity):
    """Bytes of an image with these {(issuer_no, serial_len): row count} and room for so many deltas."""
    rows = index = 0
    for (_, serial_len), count in groups.items():
        rows += count * (serial_len + ROW_TAIL)
        index += (_slots(count) + 1) * 4
    return (_aligned(sizeof(ImageHead) + len(groups) * sizeof(Group) + index + rows)
            + filter_blocks(sum(groups.values()) + delta_capacity) * BLOCK_OCTETS
            + _buckets(delta_capacity) * 4 + delta_capacity * sizeof(Delta))


def _aligned(octets):
    return -(-octets // BLOCK_OCTETS) * BLOCK_OCTETS


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
        cdef uint32_t i
        cdef bytes rows
        counts = {key: len(rows_) // (key[1] + ROW_TAIL) for key, rows_ in groups.items()}
        if not self.writable or self.image_len < image_size(counts, delta_capacity):
            raise ValueError("the buffer is too small for this image, or read-only")
        head.group_count = 0
        head.listed = head.fenced = 0
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
            if serial_len == 0 and counts[issuer_no, serial_len]:
                head.fenced += 1
            head.group_count += 1
        at = _aligned(at)
        head.filter_at, head.filter_blocks = at, filter_blocks(head.listed + <uint64_t>delta_capacity)
        memset(self.image + at, 0, head.filter_blocks * BLOCK_OCTETS)
        for i in range(head.group_count):
            note_rows(self.image, &group[i])
        at += head.filter_blocks * BLOCK_OCTETS
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
        cdef uint64_t h
        cdef uint32_t bucket
        cdef uint32_t fenced = head.fenced
        if not self.writable or n > MAX_SERIAL:
            raise ValueError("read-only image, or a serial number of a wrong length")
        if head.delta_count >= head.delta_capacity:
            return False
        entry = <Delta*>(self.image + head.entries_at) + head.delta_count
        if n == 0:
            fenced += (op == 1) - <int>find_fence(self.image, <uint16_t>issuer_no)
        h = hash_serial(<uint16_t>issuer_no, octets, n)
        note_hash(filter_block(self.image, h), h)
        bucket = (h >> 32) & head.bucket_mask
        entry.issuer_no = <uint16_t>issuer_no
        entry.op = <uint8_t>op
        entry.serial_len = <uint8_t>n
        memcpy(entry.serial, octets, n)
        entry.revocation_time = revocation_time
        entry.reason = <uint8_t>reason
        entry.next = buckets[bucket]
        store_release(&buckets[bucket], head.delta_count + 1)
        head.delta_count += 1
        if n == 0:
            store_release(&head.fenced, fenced)
        return True

    def find(self, int issuer_no, bytes serial not None):
        """(revocation_time, reason), or None when the serial is not in the set."""
        cdef RevokedEntry entry
        if find_revoked(self.image, <uint16_t>issuer_no, serial, len(serial), &entry) == ABSENT:
            return None
        return entry.revocation_time, entry.reason

    def is_fenced(self, int issuer_no):
        """True when the issuer is fenced."""
        return find_fence(self.image, <uint16_t>issuer_no)

    @property
    def fenced(self):
        """Issuers that are fenced."""
        return (<const ImageHead*>self.image).fenced

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
