"""X-Forwarded-For: the last hop in the list that is no trusted proxy is the client; a hop that is no address ends it.

A list that names nobody but proxies, or breaks off at rubbish, names the peer itself. Addresses are read by inet_pton;
brackets around IPv6 and a zone behind it are taken off.
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
    MAX_TEXT = 64                 # octets of an address, a zone included

cdef const uint8_t* MAPPED = <const uint8_t*>b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef bint in_network(const Network* network, const uint8_t* packed, size_t n) noexcept nogil:
    cdef size_t whole = network.bits // 8
    cdef uint8_t rest = <uint8_t>(0xFF00 >> (network.bits % 8))
    if network.octets != n or memcmp(network.packed, packed, whole) != 0:
        return False
    return network.bits % 8 == 0 or (network.packed[whole] ^ packed[whole]) & rest == 0


cdef inline bint is_ornament(uint8_t c) noexcept nogil:
    """White space around a list's element, and the brackets of IPv6."""
    return c == 0x20 or c == 0x09 or c == 0x5B or c == 0x5D


cdef size_t packed_address(Span hop, uint8_t* out) noexcept nogil:
    """Octets of the address, 0 when it is none."""
    cdef char text[MAX_TEXT]
    cdef const uint8_t* zone
    cdef size_t n
    while hop.n and is_ornament(hop.p[0]):
        hop.p += 1
        hop.n -= 1
    while hop.n and is_ornament(hop.p[hop.n - 1]):
        hop.n -= 1
    if hop.n >= MAX_TEXT:
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
