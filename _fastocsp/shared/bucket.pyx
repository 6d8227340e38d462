"""Token bucket per client address, as the generic cell rate algorithm: one 64-bit arrival time per address.

Memory is bounded: a set-associative table of 16 bytes per address in a buffer that all workers share. An address
that has used nothing up is not worth remembering, so a full set gives up the pair whose arrival time is oldest;
only a flood from more addresses than there are pairs can make the limit forget early. Which addresses share a set
depends on a random key in the buffer, so no client can choose addresses that evict another one. IPv6 counts by /64
and, with a limit sixteen times as high, by /48: a customer's /48 has 65,536 of the former.
Races between workers can let a request more through, never refuse one that was due.
"""

from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef enum:
    WAYS = 4
    HEAD = 64                     # bytes before the pairs; the first eight are the key
    NETWORK_FACTOR = 16           # a /48 may send so many times what one of its /64 may

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t slot_load(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void slot_store(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    #define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
    #define SIPROUND do { \\
        v0 += v1; v1 = ROTL(v1, 13); v1 ^= v0; v0 = ROTL(v0, 32); v2 += v3; v3 = ROTL(v3, 16); v3 ^= v2; \\
        v0 += v3; v3 = ROTL(v3, 21); v3 ^= v0; v2 += v1; v1 = ROTL(v1, 17); v1 ^= v2; v2 = ROTL(v2, 32); } while (0)
    /* SipHash-1-3 of one word and its length in bytes. */
    static inline uint64_t siphash(uint64_t k0, uint64_t k1, uint64_t word, size_t n) {
        uint64_t v0 = k0 ^ 0x736f6d6570736575u, v1 = k1 ^ 0x646f72616e646f6du;
        uint64_t v2 = k0 ^ 0x6c7967656e657261u, v3 = k1 ^ 0x7465646279746573u;
        uint64_t last = (uint64_t)n << 56;
        v3 ^= word; SIPROUND; v0 ^= word;
        v3 ^= last; SIPROUND; v0 ^= last;
        v2 ^= 0xff; SIPROUND; SIPROUND; SIPROUND;
        return v0 ^ v1 ^ v2 ^ v3;
    }
    static inline int slot_swap(uint64_t* p, uint64_t old, uint64_t v) {
        return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    """
    uint64_t slot_load(const uint64_t* p) noexcept nogil
    void slot_store(uint64_t* p, uint64_t v) noexcept nogil
    uint64_t siphash(uint64_t k0, uint64_t k1, uint64_t word, size_t n) noexcept nogil
    bint slot_swap(uint64_t* p, uint64_t old, uint64_t v) noexcept nogil


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """The finalizer of splitmix64: every input bit moves every output bit."""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef uint64_t keyed_hash(uint64_t key, const uint8_t* packed, size_t n) noexcept nogil:
    """Not 0. Without the key nobody can find addresses that share a set of pairs."""
    cdef uint64_t word = 0
    memcpy(&word, packed, n)
    return siphash(key, mix(key), word, n) | 1


cdef const uint8_t* MAPPED = <const uint8_t*>b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef class Bucket:
    """The limit; `buffer` is zeroed memory of `Bucket.size(slots)` bytes."""

    def __cinit__(self, buffer, int per_minute, uint64_t key):
        cdef Py_buffer view
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        self._buffer = memoryview(buffer)
        sets = (view.len - HEAD) // (16 * WAYS)
        PyBuffer_Release(&view)
        if sets < 1 or sets & (sets - 1):
            raise ValueError("the buffer must hold a power of two of sets")
        self.slots = <uint64_t*>(<uint8_t*>view.buf + HEAD)
        self.mask = sets - 1
        # the first of those that share the memory decides
        slot_swap(<uint64_t*>view.buf, 0, key | 1)
        self.key = slot_load(<uint64_t*>view.buf)
        self.interval = 60_000_000_000 // per_minute if per_minute > 0 else 0
        self.burst = self.interval * (per_minute - 1) if per_minute > 0 else 0

    @staticmethod
    def size(slots):
        """Bytes for at least so many addresses."""
        return HEAD + (1 << max(2, (slots - 1).bit_length())) * 16

    cdef ClientKey key_of(self, const uint8_t* packed, size_t n) noexcept nogil:
        cdef ClientKey client
        if n == 16 and memcmp(packed, MAPPED, 12) == 0:
            packed += 12
            n = 4
        client.address = keyed_hash(self.key, packed, 4 if n == 4 else 8)
        client.network = 0 if n == 4 else keyed_hash(self.key, packed, 6)
        return client

    cdef bint take(self, const ClientKey* client, uint64_t now) noexcept nogil:
        cdef uint64_t interval
        if self.interval == 0 or client.address == 0:
            return True
        if not self.take_one(client.address, now, self.interval, self.burst):
            return False
        if client.network == 0:
            return True
        interval = self.interval // NETWORK_FACTOR
        return self.take_one(client.network, now, interval, self.interval + self.burst - interval)

    cdef bint take_one(self, uint64_t address, uint64_t now, uint64_t interval, uint64_t burst) noexcept nogil:
        cdef uint64_t* pair = self.pair_of(address, now)
        cdef uint64_t arrival
        while True:
            arrival = slot_load(pair + 1)
            if arrival > now + burst:
                return False
            if slot_swap(pair + 1, arrival, (arrival if arrival > now else now) + interval):
                return True

    cdef uint64_t* pair_of(self, uint64_t address, uint64_t now) noexcept nogil:
        """This address's pair, or the one of its set that is least worth remembering, taken over."""
        cdef uint64_t* pair = self.slots + (address >> 1 & self.mask) * 2 * WAYS
        cdef uint64_t* oldest = pair
        cdef int i
        for i in range(WAYS):
            if slot_load(pair + 2 * i) == address:
                return pair + 2 * i
            if slot_load(pair + 2 * i + 1) < slot_load(oldest + 1):
                oldest = pair + 2 * i
        # the time first: who finds the address must not find the time of the one before it, which may lie ahead
        slot_store(oldest + 1, now)
        slot_store(oldest, address)
        return oldest

    def allow(self, bytes packed not None, uint64_t now_ns):
        """True when a request of this packed address (4 or 16 bytes) at `now_ns` is within the limit."""
        if len(packed) not in (4, 16):
            raise ValueError("4 octets of IPv4 or 16 of IPv6")
        cdef ClientKey client = self.key_of(packed, len(packed))
        return self.take(&client, now_ns)
