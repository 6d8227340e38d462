"""Token bucket per client address, as the generic cell rate algorithm: one 64-bit arrival time an address.

Memory is bounded: a set-associative table of 16 octets an address in a buffer that all workers share. An address
that has used nothing up is not worth remembering, so a full set gives up the pair whose arrival time is oldest;
only a flood from more addresses than there are pairs can make the limit forget early. IPv6 counts by /64.
Races between workers can let a request more through, never refuse one that was due.
"""

from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    WAYS = 4

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t slot_load(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void slot_store(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline int slot_swap(uint64_t* p, uint64_t old, uint64_t v) {
        return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    """
    uint64_t slot_load(const uint64_t* p) noexcept nogil
    void slot_store(uint64_t* p, uint64_t v) noexcept nogil
    bint slot_swap(uint64_t* p, uint64_t old, uint64_t v) noexcept nogil


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """The finalizer of splitmix64: every input bit moves every output bit."""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef uint64_t address_key(const uint8_t* packed, size_t n) noexcept nogil:
    """A non-zero number for 4 octets of IPv4 or the first 8 of IPv6; mapped IPv4 counts as IPv4."""
    cdef uint64_t v = 0
    cdef size_t i
    cdef bint mapped = n == 16 and packed[10] == 0xFF and packed[11] == 0xFF
    if mapped:
        for i in range(10):
            mapped = mapped and packed[i] == 0
    if mapped:
        packed += 12
        n = 4
    for i in range(4 if n == 4 else 8):
        v = (v << 8) | packed[i]
    return mix(v + (<uint64_t>1 if n == 4 else <uint64_t>0x8000000000000000)) | 1


cdef class Bucket:
    """The limit; `buffer` is zeroed memory of `Bucket.size(slots)` octets."""

    def __cinit__(self, buffer, int per_minute):
        cdef Py_buffer view
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        self._buffer = memoryview(buffer)
        self.slots = <uint64_t*>view.buf
        sets = view.len // (16 * WAYS)
        PyBuffer_Release(&view)
        if sets < 1 or sets & (sets - 1):
            raise ValueError("the buffer must hold a power of two of sets")
        self.mask = sets - 1
        self.interval = 60_000_000_000 // per_minute if per_minute > 0 else 0
        self.burst = self.interval * (per_minute - 1) if per_minute > 0 else 0

    @staticmethod
    def size(slots):
        """Octets for at least so many addresses."""
        return (1 << max(2, (slots - 1).bit_length())) * 16

    cdef bint take(self, uint64_t address, uint64_t now) noexcept nogil:
        cdef uint64_t* pair
        cdef uint64_t arrival
        if self.interval == 0:
            return True
        pair = self.pair_of(address, now)
        while True:
            arrival = slot_load(pair + 1)
            if arrival > now + self.burst:
                return False
            if slot_swap(pair + 1, arrival, (arrival if arrival > now else now) + self.interval):
                return True

    cdef uint64_t* pair_of(self, uint64_t address, uint64_t now) noexcept nogil:
        """This address's pair, or the one of its set that is least worth remembering, taken over."""
        cdef uint64_t* pair = self.slots + (mix(address) & self.mask) * 2 * WAYS
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
        """True when a request of this packed address (4 or 16 octets) at `now_ns` is within the limit."""
        if len(packed) not in (4, 16):
            raise ValueError("4 octets of IPv4 or 16 of IPv6")
        return self.take(address_key(packed, len(packed)), now_ns)
