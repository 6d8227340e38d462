"""Hash table of compact records, one a worker: open addressing over pointers, the whole key compared.

A hash that collides can never give another certificate's answer: issuer, algorithm, length and every octet of the
serial are compared. Memory is bounded by `bytes_limit`; above it the entries that have gone unused longest, of a few
looked at, make room. A record replaces another only when it is newer in (generation, seq, producedAt), so a slow
writer cannot bring an old answer back. Every method takes the lock; who calls `find` from C holds it.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from _fastocsp.codes cimport MAX_SERIAL
from _fastocsp.lock cimport Lock
from _fastocsp.record cimport MAX_RECORD, RecordHead, read_record

from _fastocsp.errors import MalformedRecord

cdef enum:
    FIRST_SLOTS = 1024
    LOOKED_AT = 8                 # entries compared for one eviction
    MALLOC_OVERHEAD = 16


cdef inline uint32_t mix(uint32_t h) noexcept nogil:
    h = (h ^ (h >> 16)) * <uint32_t>0x85EBCA6B
    h = (h ^ (h >> 13)) * <uint32_t>0xC2B2AE35
    return h ^ (h >> 16)


cdef void set_key(TableKey* key, uint16_t issuer_no, uint8_t hash_algorithm, const uint8_t* serial,
                  size_t serial_len) noexcept nogil:
    """Fill `key`; it borrows `serial`. serial_len is 1..MAX_SERIAL."""
    cdef uint32_t h = <uint32_t>2166136261 ^ (<uint32_t>issuer_no << 8) ^ hash_algorithm
    cdef size_t i
    for i in range(serial_len):
        h = (h ^ serial[i]) * <uint32_t>16777619
    key.hash = mix(h)
    key.issuer_no = issuer_no
    key.hash_algorithm = hash_algorithm
    key.serial = serial
    key.serial_len = <uint8_t>serial_len


cdef inline bint same_key(const Entry* entry, const TableKey* key) noexcept nogil:
    return (entry.hash == key.hash and entry.issuer_no == key.issuer_no
            and entry.hash_algorithm == key.hash_algorithm and entry.serial_len == key.serial_len
            and memcmp(<const uint8_t*>entry + sizeof(Entry), key.serial, key.serial_len) == 0)


cdef inline size_t cost(const Entry* entry) noexcept nogil:
    return sizeof(Entry) + entry.serial_len + entry.record_len + MALLOC_OVERHEAD


cdef bint older(const RecordHead* a, const RecordHead* b) noexcept nogil:
    """a before b in (generation, seq, producedAt)."""
    if a.generation != b.generation:
        return a.generation < b.generation
    if a.seq != b.seq:
        return a.seq < b.seq
    return a.produced_at < b.produced_at


cdef class Table:
    """Records by key, at most about `bytes_limit` octets."""

    def __cinit__(self, size_t bytes_limit, Lock lock=None):
        self.lock = lock if lock is not None else Lock()
        self.bytes_limit = bytes_limit
        self.mask = FIRST_SLOTS - 1
        self.slots = <Entry**>calloc(FIRST_SLOTS, sizeof(Entry*))
        if self.slots == NULL:
            raise MemoryError
        self.bytes_used = FIRST_SLOTS * sizeof(Entry*)

    def __dealloc__(self):
        cdef size_t i
        if self.slots != NULL:
            for i in range(self.mask + 1):
                free(self.slots[i])
            free(self.slots)

    cdef Entry* find(self, const TableKey* key) noexcept nogil:
        return self.slots[self.slot_of(key)]

    cdef size_t slot_of(self, const TableKey* key) noexcept nogil:
        """The slot that holds the key, or the empty one where it would go."""
        cdef size_t at = key.hash & self.mask
        while self.slots[at] != NULL and not same_key(self.slots[at], key):
            at = (at + 1) & self.mask
        return at

    cdef void remove_slot(self, size_t at) noexcept nogil:
        """Free the entry and move the later ones of its run back, so that no tombstone is needed."""
        cdef size_t hole = at
        cdef size_t home
        self.bytes_used -= cost(self.slots[at])
        self.used_slots -= 1
        free(self.slots[at])
        self.slots[hole] = NULL
        while True:
            at = (at + 1) & self.mask
            if self.slots[at] == NULL:
                return
            home = self.slots[at].hash & self.mask
            if ((at - home) & self.mask) >= ((at - hole) & self.mask):
                self.slots[hole] = self.slots[at]
                self.slots[at] = NULL
                hole = at

    cdef int make_room(self, size_t octets) noexcept nogil:
        """Evict until so many octets fit; -1 when they never will."""
        cdef size_t worst
        cdef size_t looked
        while self.bytes_used + octets > self.bytes_limit:
            if self.used_slots == 0:
                return -1
            worst = self.mask + 1
            looked = 0
            while looked < LOOKED_AT and looked < self.used_slots:
                self.hand = (self.hand + 1) & self.mask
                if self.slots[self.hand] == NULL:
                    continue
                looked += 1
                if worst > self.mask or self.slots[self.hand].used < self.slots[worst].used:
                    worst = self.hand
            self.remove_slot(worst)
        return 0

    cdef int grow(self) noexcept nogil:
        """Twice the slots; -1 without memory."""
        cdef size_t size = (self.mask + 1) * 2
        cdef Entry** old = self.slots
        cdef Entry** fresh = <Entry**>calloc(size, sizeof(Entry*))
        cdef size_t i
        cdef size_t at
        if fresh == NULL:
            return -1
        for i in range(self.mask + 1):
            if old[i] != NULL:
                at = old[i].hash & (size - 1)
                while fresh[at] != NULL:
                    at = (at + 1) & (size - 1)
                fresh[at] = old[i]
        self.slots = fresh
        self.bytes_used += (size - self.mask - 1) * sizeof(Entry*)
        self.mask = size - 1
        free(old)
        return 0

    cdef int keep(self, const TableKey* key, const RecordHead* fresh, const uint8_t* record,
                  size_t record_len) noexcept nogil:
        """1 kept, 0 not wanted or never fits, -1 no memory."""
        cdef RecordHead kept
        cdef Entry* entry
        cdef size_t at = self.slot_of(key)
        if self.slots[at] != NULL:
            read_record(entry_record(self.slots[at]), self.slots[at].record_len, &kept)
            if older(fresh, &kept):
                return 0
            self.remove_slot(at)
        if self.used_slots * 4 >= (self.mask + 1) * 3 and self.grow() < 0:
            return -1
        if self.make_room(sizeof(Entry) + key.serial_len + record_len + MALLOC_OVERHEAD) != 0:
            return 0
        entry = <Entry*>malloc(sizeof(Entry) + key.serial_len + record_len)
        if entry == NULL:
            return -1
        entry.hash = key.hash
        entry.used = self.tick
        entry.issuer_no = key.issuer_no
        entry.hash_algorithm = key.hash_algorithm
        entry.serial_len = key.serial_len
        entry.record_len = <uint16_t>record_len
        entry.due_round = 0
        memcpy(<uint8_t*>entry + sizeof(Entry), key.serial, key.serial_len)
        memcpy(<uint8_t*>entry_record(entry), record, record_len)
        self.slots[self.slot_of(key)] = entry
        self.used_slots += 1
        self.bytes_used += cost(entry)
        return 1

    cdef size_t copy(self, const TableKey* key, uint8_t* out) noexcept nogil:
        """The record's octets, copied and counted as used; 0 when there is none."""
        cdef Entry* entry = self.find(key)
        if entry == NULL:
            return 0
        entry.used = self.tick
        memcpy(out, entry_record(entry), entry.record_len)
        return entry.record_len

    def put(self, int issuer_no, int hash_algorithm, bytes serial not None, bytes record not None):
        """Keep this record; False when a newer one is there already or it can never fit."""
        cdef TableKey key
        cdef RecordHead fresh
        cdef int kept
        _set(&key, issuer_no, hash_algorithm, serial)
        if read_record(record, len(record), &fresh) != 0 or fresh.hash_algorithm != key.hash_algorithm:
            raise MalformedRecord("not a record of this key", 0)
        self.lock.take_gil_held()
        kept = self.keep(&key, &fresh, record, len(record))
        self.lock.give()
        if kept < 0:
            raise MemoryError
        return kept == 1

    def get(self, int issuer_no, int hash_algorithm, bytes serial not None):
        """The record, or None."""
        cdef TableKey key
        cdef uint8_t record[MAX_RECORD]
        cdef size_t record_len
        _set(&key, issuer_no, hash_algorithm, serial)
        self.lock.take_gil_held()
        record_len = self.copy(&key, record)
        self.lock.give()
        return (<const char*>record)[:record_len] if record_len else None

    def discard(self, int issuer_no, int hash_algorithm, bytes serial not None):
        """Forget the record; True when there was one."""
        cdef TableKey key
        cdef size_t at
        cdef bint there
        _set(&key, issuer_no, hash_algorithm, serial)
        self.lock.take_gil_held()
        at = self.slot_of(&key)
        there = self.slots[at] != NULL
        if there:
            self.remove_slot(at)
        self.lock.give()
        return there

    def set_tick(self, uint32_t tick):
        """The time stamp that uses from now on get."""
        self.tick = tick

    def __len__(self):
        return self.used_slots

    @property
    def octets(self):
        """Octets in use, the allocator's share included."""
        return self.bytes_used


cdef int _set(TableKey* key, int issuer_no, int hash_algorithm, bytes serial) except -1:
    if not 1 <= len(serial) <= MAX_SERIAL or not 0 <= issuer_no <= 0xFFFF or not 0 <= hash_algorithm <= 0xFF:
        raise ValueError("issuer number, hash algorithm or serial number out of range")
    set_key(key, <uint16_t>issuer_no, <uint8_t>hash_algorithm, serial, len(serial))
    return 0
