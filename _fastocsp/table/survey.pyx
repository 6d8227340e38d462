"""A look at all entries of a table, some chunks at a time: which were used lately, and a keyed tag of each.

Both are for a later start of the edge. The sketch tells what is asked most; a tag proves that this edge has had exactly
this record under exactly this key, so that it need not be verified once more (ADR 0022). Tags are SipHash-2-4 under a
key that only this edge has: whoever can write to Redis cannot make one.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from _fastocsp.ocsp.record cimport MAX_RECORD, RecordHead, read_record
from _fastocsp.table.entry cimport Found, TableKey, algorithm_of, copy_entry, used_of, whose_serial_len
from _fastocsp.table.hash cimport set_key
from _fastocsp.table.memory cimport CHUNK, GRANULE, Map, load64
from _fastocsp.table.table cimport Table
from _fastocsp.wire.codes cimport MAX_SERIAL

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>
    #define SIP_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
    #define SIP_ROUND do { \\
        v0 += v1; v1 = SIP_ROTL(v1, 13); v1 ^= v0; v0 = SIP_ROTL(v0, 32); \\
        v2 += v3; v3 = SIP_ROTL(v3, 16); v3 ^= v2; \\
        v0 += v3; v3 = SIP_ROTL(v3, 21); v3 ^= v0; \\
        v2 += v1; v1 = SIP_ROTL(v1, 17); v1 ^= v2; v2 = SIP_ROTL(v2, 32); } while (0)
    /* SipHash-2-4 (Aumasson, Bernstein 2012) on a little-endian machine. */
    static inline uint64_t siphash(const uint8_t* key, const uint8_t* p, size_t n) {
        uint64_t k0, k1, m, last = (uint64_t)n << 56;
        memcpy(&k0, key, 8);
        memcpy(&k1, key + 8, 8);
        uint64_t v0 = k0 ^ 0x736f6d6570736575u, v1 = k1 ^ 0x646f72616e646f6du;
        uint64_t v2 = k0 ^ 0x6c7967656e657261u, v3 = k1 ^ 0x7465646279746573u;
        for (; n >= 8; n -= 8, p += 8) {
            memcpy(&m, p, 8);
            v3 ^= m; SIP_ROUND; SIP_ROUND; v0 ^= m;
        }
        for (size_t i = 0; i < n; i++)
            last |= (uint64_t)p[i] << 8 * i;
        v3 ^= last; SIP_ROUND; SIP_ROUND; v0 ^= last;
        v2 ^= 0xff; SIP_ROUND; SIP_ROUND; SIP_ROUND; SIP_ROUND;
        return v0 ^ v1 ^ v2 ^ v3;
    }
    """
    uint64_t siphash(const uint8_t* key, const uint8_t* p, size_t n) noexcept nogil

cdef enum:
    KEY_OCTETS = 16
    NAME_HEAD = 3                 # issuer number u16, hash algorithm u8
    MAX_USES = 255


cdef size_t put_name(uint8_t* to, uint16_t issuer_no, uint8_t hash_algorithm, const uint8_t* serial,
                     size_t serial_len) noexcept nogil:
    """What a place in the sketch is of; the bytes written."""
    to[0], to[1], to[2] = <uint8_t>(issuer_no >> 8), <uint8_t>issuer_no, hash_algorithm
    memcpy(to + NAME_HEAD, serial, serial_len)
    return NAME_HEAD + serial_len


cdef uint64_t tag_of(const uint8_t* secret, uint8_t* octets, size_t name_n, const uint8_t* record,
                     size_t record_len) noexcept nogil:
    """The tag of the record under the name that `octets` begin with; never 0, which is an empty slot."""
    cdef size_t n = name_n + record_len
    cdef uint64_t tag
    memcpy(octets + name_n, record, record_len)
    octets[n] = <uint8_t>name_n
    tag = siphash(secret, octets, n + 1)
    return tag if tag else 1


cdef void insert_tag(uint64_t[::1] tags, uint64_t tag) noexcept nogil:
    """Linear probing from the low bits; the tags are a power of two, and never full."""
    cdef size_t mask = tags.shape[0] - 1
    cdef size_t slot = tag & mask
    while tags[slot] != 0 and tags[slot] != tag:
        slot = (slot + 1) & mask
    tags[slot] = tag


cdef bint tag_listed(const uint64_t[::1] tags, uint64_t tag) noexcept nogil:
    cdef size_t mask = tags.shape[0] - 1
    cdef size_t slot = tag & mask
    while tags[slot] != 0:
        if tags[slot] == tag:
            return True
        slot = (slot + 1) & mask
    return False


def survey(Table table not None, size_t begin, size_t chunks, uint32_t since, bytes key not None,
           uint8_t[::1] sketch not None, uint64_t[::1] tags=None, size_t room=0):
    cdef const Map* m = &table.memory.map
    cdef uint8_t octets[NAME_HEAD + MAX_SERIAL + MAX_RECORD + 1]
    cdef const uint8_t* secret = key
    cdef size_t end = min(begin + chunks, <size_t>load64(&m.shared.chunks_begun))
    cdef size_t mask = sketch.shape[0] - 1
    cdef size_t chunk, at, entry, carved, n, place
    cdef uint64_t* here
    cdef size_t seen = 0
    cdef uint64_t epoch
    cdef uint16_t used = <uint16_t>(since >> 4)
    cdef Found found
    cdef bint tagging = tags is not None
    _check(key, sketch.shape[0])
    if tagging and (tags.shape[0] & (tags.shape[0] - 1) or room >= <size_t>tags.shape[0]):
        raise ValueError("tags have a power of two of places, and more than the room")
    with nogil:
        chunk = begin
        while chunk < end:
            entry = m.chunks[chunk].size_class * GRANULE
            carved = m.chunks[chunk].carved * entry
            at = 0 if entry else CHUNK
            while at + entry <= CHUNK and at < carved:
                epoch = load64(&m.shared.epoch)
                here = <uint64_t*>(m.entries + chunk * CHUNK + at)
                at += entry
                if not copy_entry(here, &found):
                    continue
                if load64(&m.shared.epoch) != epoch or whose_serial_len(found.words[1]) > MAX_SERIAL:
                    continue
                if found.record_len > MAX_RECORD:
                    continue
                seen += 1
                n = put_name(octets, <uint16_t>found.words[1], algorithm_of(found.words[0]),
                             found.record - whose_serial_len(found.words[1]), whose_serial_len(found.words[1]))
                if <uint16_t>(used_of(found.words[0]) - used) < 0x8000:
                    place = siphash(secret, octets, n) & mask
                    if sketch[place] < MAX_USES:
                        sketch[place] += 1
                if tagging and room:
                    insert_tag(tags, tag_of(secret, octets, n, found.record, found.record_len))
                    room -= 1
            chunk += 1
    return end if end < <size_t>load64(&m.shared.chunks_begun) else None, seen


def by_uses(bytes key not None, const uint8_t[::1] sketch not None, list names not None, size_t skip, int often):
    cdef list most = []
    cdef list some = []
    cdef list none = []
    cdef size_t mask = sketch.shape[0] - 1
    cdef uint8_t uses
    cdef bytes name
    _check(key, sketch.shape[0])
    for each in names:
        name = each
        if <size_t>len(name) <= skip:
            continue
        uses = sketch[siphash(key, <const uint8_t*>name + skip, len(name) - skip) & mask]
        (most if uses >= often else some if uses else none).append(name)
    return most, some, none


cdef int set_named(TableKey* key, bytes name, size_t skip) noexcept:
    """The key of a name of by_uses; -1 for anything else."""
    cdef const uint8_t* p = name
    cdef size_t n = len(name)
    if n <= skip + NAME_HEAD or n > skip + NAME_HEAD + MAX_SERIAL:
        return -1
    p += skip
    set_key(key, <uint16_t>(p[0] << 8 | p[1]), p[2], p + NAME_HEAD, n - skip - NAME_HEAD)
    return 0


def absent(Table table not None, list names not None, size_t skip):
    cdef list found = []
    cdef TableKey key
    cdef Found entry
    cdef bytes name
    for each in names:
        name = each
        if set_named(&key, name, skip) == 0 and not table.find(&key, &entry):
            found.append(name)
    return found


def take_tagged(Table table not None, bytes key not None, const uint64_t[::1] tags not None, list names not None,
                list values not None, size_t skip):
    cdef uint8_t octets[NAME_HEAD + MAX_SERIAL + MAX_RECORD + 1]
    cdef list left = []
    cdef size_t taken = 0
    cdef size_t n, at
    cdef TableKey place
    cdef RecordHead head
    cdef bytes name, record
    if len(key) != KEY_OCTETS or tags.shape[0] == 0 or tags.shape[0] & (tags.shape[0] - 1):
        raise ValueError("a key has 16 bytes, and tags a power of two of places")
    for at in range(len(names)):
        name = names[at]
        if values[at] is None:
            continue
        record = values[at]
        if len(record) > MAX_RECORD or set_named(&place, name, skip) < 0:
            continue
        if read_record(record, len(record), &head) != 0:
            continue
        n = len(name) - skip
        memcpy(octets, <const uint8_t*>name + skip, n)
        if (head.hash_algorithm != place.hash_algorithm
                or not tag_listed(tags, tag_of(key, octets, n, record, len(record)))
                or table.memory.take() < 0):
            left.append(at)
            continue
        table.keep(&place, &head, record, len(record))
        table.memory.give()
        taken += 1
    return taken, left


def is_tagged(bytes key not None, const uint64_t[::1] tags not None, int issuer_no, int hash_algorithm,
              bytes serial not None, bytes record not None):
    cdef uint8_t octets[NAME_HEAD + MAX_SERIAL + MAX_RECORD + 1]
    cdef size_t n
    if len(key) != KEY_OCTETS or tags.shape[0] == 0 or tags.shape[0] & (tags.shape[0] - 1):
        raise ValueError("a key has 16 bytes, and tags a power of two of places")
    if not 1 <= len(serial) <= MAX_SERIAL or len(record) > MAX_RECORD:
        return False
    n = put_name(octets, <uint16_t>issuer_no, <uint8_t>hash_algorithm, serial, len(serial))
    return tag_listed(tags, tag_of(key, octets, n, record, len(record)))


def siphash_of(bytes key not None, bytes octets not None):
    if len(key) != KEY_OCTETS:
        raise ValueError("a key has 16 bytes")
    return siphash(key, octets, len(octets))


cdef int _check(bytes key, Py_ssize_t places) except -1:
    if len(key) != KEY_OCTETS or places <= 0 or places & (places - 1):
        raise ValueError("a key has 16 bytes, and a sketch a power of two of places")
    return 0
