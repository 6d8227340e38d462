"""Entity tags of the CRLs that are served, for the 304s of the hot lane."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t

from _fastocsp.http.headers cimport Span
from _fastocsp.wire.sink cimport Sink

cdef struct CRLTag:
    Span name                     # "demo", "demo/delta", "demo/3"
    Span tag                      # opaque-tag, quotes included
    Span fields                   # header lines that do not change, each ended by CR LF
    uint32_t this_update          # epoch seconds; Last-Modified
    uint32_t next_update
    uint32_t max_age              # seconds that caches may keep it at most


@cython.final
cdef class CRLTags:
    cdef CRLTag* tags
    cdef size_t count
    cdef list owned

    cdef const CRLTag* find(self, Span name) noexcept nogil


# The client's copy is this CRL, and it has not ended; If-None-Match silences If-Modified-Since
cdef bint client_has(const CRLTag* tag, Span if_none_match, Span if_modified_since, uint32_t now) noexcept nogil


cdef void put_crl_not_modified(Sink* s, const CRLTag* tag, uint32_t now, const uint8_t* date,
                               int keep_alive) noexcept nogil
