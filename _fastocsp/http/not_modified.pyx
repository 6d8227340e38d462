"""Which CRL a client has already: names, tags, dates and the head of the 304 that says so (RFC 9110 13.2.2).

An index is made once and never changed; a new one takes its place. A CRL that has ended is not confirmed here: whoever
serves that one has to count and say it.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from _fastocsp.wire.der cimport Octets
from _fastocsp.wire.gentime cimport FIXDATE
from _fastocsp.http.headers cimport Span
from _fastocsp.http.response cimport fixdate_seconds, put_connection, put_decimal, tag_listed
from _fastocsp.wire.sink cimport Sink, open_sink, put_octets, put_static, sink_used

from _fastocsp.wire.gentime import imf_fixdate

cdef enum:
    MAX_ANSWER = 1024


cdef inline Span span_of(bytes octets):
    cdef Span s
    s.p = octets
    s.n = len(octets)
    return s


cdef class CRLTags:
    """Sorted by name."""

    def __cinit__(self, crls=()):
        cdef size_t i = 0
        self.owned = sorted(crls)
        self.tags = <CRLTag*>calloc(len(self.owned) + 1, sizeof(CRLTag))
        if self.tags == NULL:
            raise MemoryError
        for name, tag, fields, this_update, next_update, max_age in self.owned:
            self.tags[i].name = span_of(name)
            self.tags[i].tag = span_of(tag)
            self.tags[i].fields = span_of(fields)
            self.tags[i].this_update, self.tags[i].next_update = this_update, next_update
            self.tags[i].max_age = max_age
            i += 1
        self.count = i

    def __dealloc__(self):
        free(self.tags)

    cdef const CRLTag* find(self, Span name) noexcept nogil:
        cdef size_t low = 0
        cdef size_t high = self.count
        cdef size_t middle
        cdef const CRLTag* tag
        cdef int order
        while low < high:
            middle = low + (high - low) // 2
            tag = &self.tags[middle]
            order = memcmp(tag.name.p, name.p, tag.name.n if tag.name.n < name.n else name.n)
            if order == 0:
                order = (tag.name.n > name.n) - (tag.name.n < name.n)
            if order == 0:
                return tag
            if order < 0:
                low = middle + 1
            else:
                high = middle
        return NULL

    def answer(self, bytes name not None, bytes if_none_match not None, bytes if_modified_since not None, uint32_t now,
               int keep_alive=1):
        """The 304 that the hot lane sends, or None."""
        cdef const CRLTag* tag = self.find(span_of(name))
        cdef uint8_t octets[MAX_ANSWER]
        cdef bytes date = imf_fixdate(now).encode()
        cdef Sink out
        if tag == NULL or not client_has(tag, span_of(if_none_match), span_of(if_modified_since), now):
            return None
        open_sink(&out, octets, sizeof(octets))
        put_crl_not_modified(&out, tag, now, date, keep_alive)
        return (<const char*>octets)[:sink_used(&out)]


cdef bint client_has(const CRLTag* tag, Span if_none_match, Span if_modified_since, uint32_t now) noexcept nogil:
    if tag.next_update <= now:
        return False
    if if_none_match.n:
        return tag_listed(if_none_match, tag.tag.p, tag.tag.n)
    return if_modified_since.n != 0 and fixdate_seconds(if_modified_since) >= <long long>tag.this_update


cdef void put_crl_not_modified(Sink* s, const CRLTag* tag, uint32_t now, const uint8_t* date,
                               int keep_alive) noexcept nogil:
    cdef Octets run
    cdef uint32_t left = tag.next_update - now if tag.next_update > now else 0
    put_static(s, b"HTTP/1.1 304 Not Modified\r\nCache-Control: public, max-age=", 58)
    put_decimal(s, left if left < tag.max_age else tag.max_age)
    put_static(s, b", must-revalidate\r\n", 19)
    run.p, run.n = tag.fields.p, tag.fields.n
    put_octets(s, run)
    put_static(s, b"Date: ", 6)
    run.p, run.n = date, FIXDATE
    put_octets(s, run)
    put_connection(s, keep_alive)
    put_static(s, b"\r\n\r\n", 4)
