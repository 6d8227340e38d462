"""Hash table of compact records, one a host: every worker maps it, reads it without a lock, and may write it.

A hash that collides can never give another certificate's answer: issuer, algorithm, length and every byte of the
serial are compared, in a copy that was checked to be whole. Memory is bounded by `bytes_limit`; above it the entries
that have gone unused longest, of a few looked at, make room. A record replaces another only when it is newer in
(generation, seq, producedAt), so a slow writer cannot bring an old answer back. Who reads while somebody writes finds
the record, the one before it, or nothing (ADR 0012).
"""

from libc.stdint cimport uint8_t, uint16_t

from _fastocsp.shared.prefetch cimport fetch_ahead
from _fastocsp.wire.codes cimport MAX_SERIAL
from _fastocsp.ocsp.record cimport RecordHead, read_record
from _fastocsp.table.entry cimport (
    copy_entry, due_mark, entry_octets, is_of, mark_entry, used_mark, write_entry,
)
from _fastocsp.table.hash cimport set_key
from _fastocsp.table.index cimport (
    Place, find_home, granule_of_word, grow_a_bit, hash_of_word, insert_word, is_full, word_of,
)
from _fastocsp.table.memory cimport MAX_PROBE, NO_CHUNK, Map, load32, load64, store32, store64, touched
from _fastocsp.table.slabs cimport drop_entry, entry_at, evict_one, free_room, take_room

from _fastocsp.wire.errors import MalformedRecord
from _fastocsp.table.memory import open_table_memory

cdef enum:
    TRIES = 4                     # of a look-up that meets a change
    USUAL_ENTRY = 136             # bytes


cdef bint older(const RecordHead* a, const RecordHead* b) noexcept nogil:
    """a before b in (generation, seq, producedAt)."""
    if a.generation != b.generation:
        return a.generation < b.generation
    if a.seq != b.seq:
        return a.seq < b.seq
    return a.produced_at < b.produced_at


cdef class Table:
    """Records by key, at most `bytes_limit` bytes."""

    def __cinit__(self, size_t bytes_limit, fd=None):
        self.memory = open_table_memory(bytes_limit, fd)

    cdef void expect(self, uint32_t key_hash, uint32_t place) noexcept nogil:
        cdef const Map* m = &self.memory.map
        cdef Place at
        if place:
            fetch_ahead(entry_at(m, place - 1), USUAL_ENTRY)
        else:
            find_home(m, load64(&m.shared.shape), key_hash, &at)
            fetch_ahead(at.slots + at.slot, 8)

    cdef bint find(self, TableKey* key, Found* out) noexcept nogil:
        cdef const Map* m = &self.memory.map
        cdef uint64_t epoch, shape, word
        cdef uint32_t i
        cdef int tries = TRIES
        cdef bint changed
        cdef Place at
        # as long as no chunk has changed its class there is an entry: if it is live and of this key it is the one
        if (key.place and copy_entry(entry_at(m, key.place - 1), out) and load64(&m.shared.epoch) == key.place_epoch
                and is_of(out, key)):
            return True
        while tries:
            tries -= 1
            epoch, shape = load64(&m.shared.epoch), load64(&m.shared.shape)
            find_home(m, shape, key.hash, &at)
            changed = False
            for i in range(MAX_PROBE):
                word = load64(at.slots + at.slot + i)
                if word == 0:
                    break
                if hash_of_word(word) == key.hash:
                    if not copy_entry(entry_at(m, granule_of_word(word)), out) or load64(&m.shared.epoch) != epoch:
                        changed = True
                        break
                    if is_of(out, key):
                        key.place, key.place_epoch = granule_of_word(word) + 1, epoch
                        return True
            if not changed and load64(&m.shared.shape) == shape:
                return False
        return False

    cdef bint mark(self, Found* found, uint32_t now, bint due) noexcept nogil:
        return mark_entry(found, used_mark(now), due_mark(now) if due else 0)

    cdef void move_clock(self, uint32_t now) noexcept nogil:
        store32(&self.tick, now)

    cdef uint64_t word_of_key(self, const TableKey* key) noexcept nogil:
        """0 when the key is not there."""
        cdef const Map* m = &self.memory.map
        cdef Found found
        cdef Place at
        cdef uint64_t word
        cdef uint32_t i
        find_home(m, load64(&m.shared.shape), key.hash, &at)
        for i in range(MAX_PROBE):
            word = load64(at.slots + at.slot + i)
            if word == 0:
                return 0
            if hash_of_word(word) == key.hash:
                # marks of readers do not count as a change
                if copy_entry(entry_at(m, granule_of_word(word)), &found) and is_of(&found, key):
                    return word
        return 0

    cdef bint keep(self, const TableKey* key, const RecordHead* fresh, const uint8_t* record,
                   size_t record_len) noexcept nogil:
        """False when it is not newer, or never fits."""
        cdef Map* m = &self.memory.map
        cdef RecordHead kept
        cdef Found found
        cdef uint64_t word
        grow_a_bit(m)
        word = self.word_of_key(key)
        if word == 0:
            return self.add(key, record, record_len)
        copy_entry(entry_at(m, granule_of_word(word)), &found)
        if read_record(found.record, found.record_len, &kept) == 0 and older(fresh, &kept):
            return False
        if entry_octets(key.serial_len, found.record_len) == entry_octets(key.serial_len, record_len):
            write_entry(found.at, key, record, record_len, used_mark(load32(&self.tick)))
            return True
        drop_entry(m, word)
        return self.add(key, record, record_len)

    cdef bint add(self, const TableKey* key, const uint8_t* record, size_t record_len) noexcept nogil:
        cdef Map* m = &self.memory.map
        cdef uint16_t used = used_mark(load32(&self.tick))
        cdef size_t octets = entry_octets(key.serial_len, record_len)
        cdef uint32_t granule
        if is_full(m) and evict_one(m, <uint32_t>(octets // 8), used) < 0:
            return False
        granule = take_room(m, octets, used)
        if granule == NO_CHUNK:
            return False
        write_entry(entry_at(m, granule), key, record, record_len, used)
        if insert_word(m, word_of(key.hash, granule)) < 0:
            free_room(m, granule)
            return False
        store64(&m.shared.count, m.shared.count + 1)
        return True

    def put(self, int issuer_no, int hash_algorithm, bytes serial not None, bytes record not None):
        """Keep this record; False when a newer one is there, it can never fit, or another process is writing."""
        cdef TableKey key
        cdef RecordHead fresh
        cdef bint kept
        _set(&key, issuer_no, hash_algorithm, serial)
        if read_record(record, len(record), &fresh) != 0 or fresh.hash_algorithm != key.hash_algorithm:
            raise MalformedRecord("not a record of this key", 0)
        if self.memory.take() < 0:
            return False
        kept = self.keep(&key, &fresh, record, len(record))
        self.memory.give()
        return kept

    def get(self, int issuer_no, int hash_algorithm, bytes serial not None):
        """The record, or None."""
        cdef TableKey key
        cdef Found found
        cdef bint there
        _set(&key, issuer_no, hash_algorithm, serial)
        there = self.find(&key, &found)
        if not there and self.memory.take() == 0:
            # a word that was moving past the first look stands still now
            there = self.find(&key, &found)
            self.memory.give()
        if not there:
            return None
        self.mark(&found, load32(&self.tick), False)
        return (<const char*>found.record)[:found.record_len]

    def peek(self, int issuer_no, int hash_algorithm, bytes serial not None):
        """The record, or None; no use is noted and the writers' turn is not taken."""
        cdef TableKey key
        cdef Found found
        _set(&key, issuer_no, hash_algorithm, serial)
        if not self.find(&key, &found):
            return None
        return (<const char*>found.record)[:found.record_len]

    def discard(self, int issuer_no, int hash_algorithm, bytes serial not None):
        """Forget the record; True when there was one."""
        cdef TableKey key
        cdef uint64_t word
        _set(&key, issuer_no, hash_algorithm, serial)
        if self.memory.take() < 0:
            return False
        word = self.word_of_key(&key)
        if word:
            drop_entry(&self.memory.map, word)
        self.memory.give()
        return word != 0

    def set_tick(self, uint32_t tick):
        """Epoch seconds that uses from now on are noted at."""
        self.move_clock(tick)

    def __len__(self):
        return load64(&self.memory.map.shared.count)

    @property
    def octets(self):
        """Bytes in memory."""
        return touched(&self.memory.map)

    @property
    def evicted(self):
        """Records forgotten to make room."""
        return load64(&self.memory.map.shared.evicted)

    @property
    def emptied(self):
        """Times that a writer died in the middle of a change."""
        return self.memory.emptied


cdef int _set(TableKey* key, int issuer_no, int hash_algorithm, bytes serial) except -1:
    if not 1 <= len(serial) <= MAX_SERIAL or not 0 <= issuer_no <= 0xFFFF or not 0 <= hash_algorithm <= 0xFF:
        raise ValueError("issuer number, hash algorithm or serial number out of range")
    set_key(key, <uint16_t>issuer_no, <uint8_t>hash_algorithm, serial, len(serial))
    return 0
