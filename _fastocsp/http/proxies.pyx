"""X-Forwarded-For: the last hop in the list that is no trusted proxy is the client; a hop that is no address ends it.

A list that names nothing but proxies, or breaks off at rubbish, names the peer itself. Addresses are read by inet_pton;
a port, brackets around IPv6 and a zone behind it are taken off, as some proxies write them (203.0.113.7:51234,
[2001:db8::1]:443).
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

from _fastocsp.http.headers cimport Span


cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET
    int AF_INET6
    int inet_pton(int family, const char* text, void* out)

cdef enum:
    MAX_TEXT = 64                 # bytes of an address, a zone included

cdef const uint8_t* MAPPED = <const uint8_t*>b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef bint in_network(const Network* network, const uint8_t* packed, size_t n) noexcept nogil:
    cdef size_t whole = network.bits // 8
    cdef uint8_t rest = <uint8_t>(0xFF00 >> (network.bits % 8))
    if network.octets != n or memcmp(network.packed, packed, whole) != 0:
        return False
    return network.bits % 8 == 0 or (network.packed[whole] ^ packed[whole]) & rest == 0


cdef inline bint is_space(uint8_t c) noexcept nogil:
    return c == 0x20 or c == 0x09


cdef bint is_port(const uint8_t* p, size_t n) noexcept nogil:
    """A colon and one to five digits, or nothing."""
    cdef size_t i
    if n == 0:
        return True
    if n < 2 or n > 6 or p[0] != 0x3A:
        return False
    for i in range(1, n):
        if not 0x30 <= p[i] <= 0x39:
            return False
    return True


cdef bint take_off_port(Span* hop) noexcept nogil:
    """Leave the address of `[2001:db8::1]:443`, `[2001:db8::1]` and `203.0.113.7:443`; False for broken brackets."""
    cdef const uint8_t* colon
    cdef const uint8_t* bracket
    if hop.n and hop.p[0] == 0x5B:
        bracket = <const uint8_t*>memchr(hop.p, 0x5D, hop.n)
        if bracket == NULL or not is_port(bracket + 1, hop.p + hop.n - bracket - 1):
            return False
        hop.p += 1
        hop.n = bracket - hop.p
        return memchr(hop.p, 0x3A, hop.n) != NULL
    colon = <const uint8_t*>memchr(hop.p, 0x3A, hop.n) if hop.n else NULL
    if colon != NULL and is_port(colon, hop.p + hop.n - colon) and memchr(hop.p, 0x2E, colon - hop.p) != NULL:
        hop.n = colon - hop.p
    return True


cdef size_t packed_address(Span hop, uint8_t* out) noexcept nogil:
    """Bytes of the address, 0 when it is none."""
    cdef char text[MAX_TEXT]
    cdef const uint8_t* zone
    cdef size_t n
    while hop.n and is_space(hop.p[0]):
        hop.p += 1
        hop.n -= 1
    while hop.n and is_space(hop.p[hop.n - 1]):
        hop.n -= 1
    if hop.n >= MAX_TEXT + 8 or not take_off_port(&hop) or hop.n >= MAX_TEXT:
        return 0
    zone = <const uint8_t*>memchr(hop.p, 0x25, hop.n) if hop.n else NULL
    if zone != NULL:
        n = hop.p + hop.n - zone - 1
        if n == 0 or memchr(zone + 1, 0x25, n) != NULL or memchr(hop.p, 0x3A, zone - hop.p) == NULL:
            return 0
        hop.n = zone - hop.p
    memcpy(text, hop.p, hop.n)
    text[hop.n] = 0
    if inet_pton(AF_INET, text, out) == 1:
        return 4
    return 16 if inet_pton(AF_INET6, text, out) == 1 else 0


cdef class Proxies:
    """The trusted networks: (packed address, bits of the prefix) of each."""

    def __cinit__(self, networks):
        cdef Network* network
        networks = list(networks)
        self.networks = <Network*>calloc(len(networks) + 1, sizeof(Network))
        if self.networks == NULL:
            raise MemoryError
        for packed, bits in networks:
            if len(packed) not in (4, 16) or not 0 <= bits <= 8 * len(packed):
                raise ValueError("4 octets of IPv4 or 16 of IPv6, and the bits of a prefix")
            network = &self.networks[self.count]
            memcpy(network.packed, <const uint8_t*>packed, len(packed))
            network.octets, network.bits = len(packed), bits
            self.count += 1

    def __dealloc__(self):
        free(self.networks)

    cdef bint trusts(self, const uint8_t* packed, size_t n) noexcept nogil:
        cdef size_t i
        if n == 16 and memcmp(packed, MAPPED, 12) == 0:
            packed += 12
            n = 4
        for i in range(self.count):
            if in_network(&self.networks[i], packed, n):
                return True
        return False

    cdef size_t client(self, Span forwarded_for, uint8_t* packed) noexcept nogil:
        cdef Span hop
        cdef size_t n
        while True:
            hop.n = 0
            while hop.n < forwarded_for.n and forwarded_for.p[forwarded_for.n - 1 - hop.n] != 0x2C:
                hop.n += 1
            hop.p = forwarded_for.p + forwarded_for.n - hop.n
            n = packed_address(hop, packed)
            if n == 0 or not self.trusts(packed, n):
                return n
            if hop.n == forwarded_for.n:
                return 0
            forwarded_for.n -= hop.n + 1

    def trust(self, bytes packed not None):
        """True when this packed address is a trusted proxy's."""
        if len(packed) not in (4, 16):
            raise ValueError("4 octets of IPv4 or 16 of IPv6")
        return self.trusts(packed, len(packed))

    def client_of(self, bytes forwarded_for not None, bytes peer not None):
        """Packed address of the client whose request came from `peer` with this field, b"" when it was absent."""
        cdef Span field
        cdef uint8_t packed[16]
        cdef size_t n = 0
        if self.trust(peer) and forwarded_for:
            field.p, field.n = forwarded_for, len(forwarded_for)
            n = self.client(field, packed)
        return (<const char*>packed)[:n] if n else peer
