"""GETs that were answered a moment ago: the request target, octet for octet, and the key that it asks for.

Clients write the same question the same way again and again, and undoing percent-encoding, base64 and DER anew each
time is a third of an answer's instructions. Equal octets ask for the same key as long as the issuers stay what they
are: whoever changes those calls `clear`. Nothing of an answer is kept. Each target has one place and takes it from
another one; the whole target is compared. One thread at a time.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from _fastocsp.codes cimport MAX_SERIAL
from _fastocsp.table_hash cimport set_key

cdef uint64_t ODD = 0x9E3779B97F4A7C15


cdef inline uint64_t hash_of(const uint8_t* p, size_t n) noexcept nogil:
    """Of at least eight octets: in steps of eight, the last one ends with them. Collisions cost a place, no more."""
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


cdef class Targets:
    """So many places, a power of two."""

    def __cinit__(self, uint32_t places):
        if places == 0 or places & (places - 1):
            raise ValueError("a power of two")
        self.slots = <Target*>calloc(places, sizeof(Target))
        if self.slots == NULL:
            raise MemoryError
        self.mask = places - 1

    def __dealloc__(self):
        free(self.slots)

    cdef bint find(self, Span target, TableKey* out) noexcept nogil:
        cdef const Target* known
        cdef uint64_t h
        if not MIN_TARGET <= target.n <= MAX_TARGET:
            return False
        h = hash_of(target.p, target.n)
        known = &self.slots[h & self.mask]
        if known.hash != <uint32_t>(h >> 32) or known.n != target.n or memcmp(known.octets, target.p, target.n) != 0:
            return False
        out.hash, out.issuer_no, out.hash_algorithm = known.key_hash, known.issuer_no, known.hash_algorithm
        out.serial, out.serial_len = known.serial, known.serial_len
        return True

    cdef void keep(self, Span target, const TableKey* key) noexcept nogil:
        cdef Target* kept
        cdef uint64_t h
        if not MIN_TARGET <= target.n <= MAX_TARGET:
            return
        h = hash_of(target.p, target.n)
        kept = &self.slots[h & self.mask]
        kept.hash, kept.n = <uint32_t>(h >> 32), <uint16_t>target.n
        kept.key_hash, kept.issuer_no, kept.hash_algorithm = key.hash, key.issuer_no, key.hash_algorithm
        kept.serial_len = key.serial_len
        memcpy(kept.serial, key.serial, key.serial_len)
        memcpy(kept.octets, target.p, target.n)

    cdef void forget(self) noexcept nogil:
        memset(self.slots, 0, (<size_t>self.mask + 1) * sizeof(Target))

    def put(self, bytes target not None, int issuer_no, int hash_algorithm, bytes serial not None):
        cdef TableKey key
        if not 1 <= len(serial) <= MAX_SERIAL or not 0 <= issuer_no <= 0xFFFF or not 0 <= hash_algorithm <= 0xFF:
            raise ValueError("issuer number, hash algorithm or serial number out of range")
        set_key(&key, <uint16_t>issuer_no, <uint8_t>hash_algorithm, serial, len(serial))
        self.keep(_span(target), &key)

    def get(self, bytes target not None):
        cdef TableKey key
        if not self.find(_span(target), &key):
            return None
        return key.issuer_no, key.hash_algorithm, (<const char*>key.serial)[:key.serial_len]

    def clear(self):
        self.forget()


cdef Span _span(bytes octets):
    cdef Span s
    s.p, s.n = octets, len(octets)
    return s
