"""Recently answered GETs: the request target, byte for byte, and the key that it asks for.

Clients write one question the same way each time, and undoing percent-encoding, base64 and DER each time is a third
of an answer's instructions. Equal bytes ask for the same key as long as the issuers stay what they are: code that
changes those calls `clear`. Nothing of an answer is kept, but where its record was found: a hint, which
the table checks. Each target has a set of places, by its hash, and takes one from another; the whole target is
compared. Its bytes are copied when it is asked for again while its hash is still remembered: to copy what comes once
would cost what it never brings in. One thread at a time.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcmp, memcpy, memset

from _fastocsp.shared.prefetch cimport fetch_ahead
from _fastocsp.wire.codes cimport MAX_MAGNITUDE
from _fastocsp.revoked.layout cimport hash_serial
from _fastocsp.table.hash cimport set_key

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** out, size_t alignment, size_t octets)

cdef uint64_t ODD = 0x9E3779B97F4A7C15
cdef size_t LINE = 64
cdef size_t HEAD = sizeof(Target) - MAX_TARGET


cdef inline uint64_t target_hash(const uint8_t* p, size_t n) noexcept nogil:
    """Of at least eight bytes: in steps of eight, the last one ends with them. Collisions cost a place, no more."""
    cdef const uint8_t* last = p + n - 8
    cdef uint64_t h = n
    cdef uint64_t word
    while p < last:
        memcpy(&word, p, 8)
        h = (h ^ word) * ODD
        h ^= h >> 29
        p += 8
    memcpy(&word, last, 8)
    h = (h ^ word) * ODD
    return h ^ (h >> 32)


cdef inline uint32_t tag_of(uint64_t h) noexcept nogil:
    """Of a target whose bytes are known."""
    return <uint32_t>(h >> 32) | 1


cdef inline uint32_t seen_of(uint64_t h) noexcept nogil:
    """Of a target that was asked for once."""
    return <uint32_t>(h >> 32) & ~<uint32_t>1 | 2


cdef class Targets:
    """So many sets of places, a power of two."""

    def __cinit__(self, uint32_t sets):
        if sets == 0 or sets & (sets - 1):
            raise ValueError("a power of two")
        if (posix_memalign(<void**>&self.tags, LINE, <size_t>sets * WAYS * sizeof(Tag)) != 0
                or posix_memalign(<void**>&self.slots, LINE, <size_t>sets * WAYS * sizeof(Target)) != 0):
            raise MemoryError
        self.mask = sets - 1
        self.forget()

    def __dealloc__(self):
        free(self.tags)
        free(self.slots)

    cdef const Tag* expect(self, const uint8_t* request, size_t n) noexcept nogil:
        cdef const uint8_t* end
        cdef const Tag* tag
        cdef uint32_t at, i
        self.expected_n = 0
        if n < 4 + MIN_TARGET or memcmp(request, b"GET ", 4) != 0:
            return NULL
        end = <const uint8_t*>memchr(request + 4, 32, n - 4)
        if end == NULL or not MIN_TARGET <= end - request - 4 <= MAX_TARGET:
            return NULL
        self.expected, self.expected_n = request + 4, end - request - 4
        self.expected_hash = target_hash(self.expected, self.expected_n)
        at = (<uint32_t>self.expected_hash & self.mask) * WAYS
        for i in range(WAYS):
            tag = &self.tags[at + i]
            if tag.hash == tag_of(self.expected_hash):
                fetch_ahead(&self.slots[at + i], HEAD + self.expected_n)
                return tag
        return NULL

    cdef bint find(self, Span target, TableKey* out, KnownTarget* found) noexcept nogil:
        cdef const Target* known
        cdef const Tag* tag
        cdef uint64_t h
        cdef uint32_t at, i
        if not MIN_TARGET <= target.n <= MAX_TARGET:
            return False
        h = self.hash_once(target)
        at = (<uint32_t>h & self.mask) * WAYS
        for i in range(WAYS):
            tag, known = &self.tags[at + i], &self.slots[at + i]
            if (tag.hash != tag_of(h) or known.n != target.n
                    or memcmp(known.octets, target.p, target.n) != 0):
                continue
            out.hash, out.issuer_no, out.hash_algorithm = known.key_hash, known.issuer_no, known.hash_algorithm
            out.serial, out.serial_len = known.serial, known.serial_len
            out.place, out.place_epoch = tag.place, known.place_epoch
            found.slot, found.serial_hash = at + i, known.serial_hash
            return True
        return False

    cdef void note_place(self, const KnownTarget* known, const TableKey* key) noexcept nogil:
        self.tags[known.slot].place, self.slots[known.slot].place_epoch = key.place, key.place_epoch

    cdef void keep(self, Span target, const TableKey* key) noexcept nogil:
        cdef Target* kept
        cdef Tag* tag
        cdef uint64_t h
        cdef uint32_t at
        if not MIN_TARGET <= target.n <= MAX_TARGET:
            return
        h = self.hash_once(target)
        at = (<uint32_t>h & self.mask) * WAYS
        at += self.way_for(at, h)
        tag, kept = &self.tags[at], &self.slots[at]
        if tag.hash != seen_of(h) and tag.hash != tag_of(h):
            tag.hash = seen_of(h)
            return
        tag.hash, tag.place = tag_of(h), key.place
        kept.key_hash, kept.serial_hash = key.hash, hash_serial(key.issuer_no, key.serial, key.serial_len)
        kept.n, kept.issuer_no, kept.place_epoch = <uint16_t>target.n, key.issuer_no, key.place_epoch
        kept.hash_algorithm, kept.serial_len = key.hash_algorithm, key.serial_len
        memcpy(kept.serial, key.serial, key.serial_len)
        memcpy(kept.octets, target.p, target.n)

    cdef uint64_t hash_once(self, Span target) noexcept nogil:
        """The hash; not taken again if it was expected."""
        if target.p == self.expected and target.n == self.expected_n:
            return self.expected_hash
        return target_hash(target.p, target.n)

    cdef uint32_t way_for(self, uint32_t at, uint64_t h) noexcept nogil:
        """Where it is known or was seen; else a free place, or one of a target that was seen once, or any."""
        cdef uint32_t way = <uint32_t>(h >> 24) % WAYS
        cdef uint32_t i
        for i in range(WAYS):
            if self.tags[at + i].hash == seen_of(h) or self.tags[at + i].hash == tag_of(h):
                return i
        for i in range(WAYS):
            if self.tags[at + i].hash == 0:
                return i
            if self.tags[at + i].hash & 1 == 0:
                way = i
        return way

    cdef void forget(self) noexcept nogil:
        memset(self.tags, 0, (<size_t>self.mask + 1) * WAYS * sizeof(Tag))

    def put(self, bytes target not None, int issuer_no, int hash_algorithm, bytes serial not None):
        cdef TableKey key
        if not 1 <= len(serial) <= MAX_MAGNITUDE or not 0 <= issuer_no <= 0xFFFF or not 0 <= hash_algorithm <= 0xFF:
            raise ValueError("issuer number, hash algorithm or serial number out of range")
        set_key(&key, <uint16_t>issuer_no, <uint8_t>hash_algorithm, serial, len(serial))
        self.expected_n = 0
        self.keep(_span(target), &key)

    def get(self, bytes target not None):
        cdef TableKey key
        cdef KnownTarget known
        self.expected_n = 0
        if not self.find(_span(target), &key, &known):
            return None
        return key.issuer_no, key.hash_algorithm, (<const char*>key.serial)[:key.serial_len]

    def clear(self):
        self.forget()


cdef Span _span(bytes octets):
    cdef Span s
    s.p, s.n = octets, len(octets)
    return s
