"""The header section of a request (RFC 9110 6.3), and those that were read a moment ago."""

cimport cython
from libc.stdint cimport uint8_t

cdef enum:
    WIRE_PASS_ON = -1             # not a plain OCSP request: another parser's business
    WIRE_NEED_MORE = 0
    WIRE_TAKEN = 1

cdef enum:
    MAX_HEAD = 8192               # longer heads are passed on
    KNOWN_OCTETS = 496            # of a section that is kept
    KNOWN_SECTIONS = 8            # places, of which a section has one by what is left of the request

# What the connection does after an answer, and what its Connection field says (RFC 9112 9.3, C.2.2)
cdef enum:
    CONNECTION_CLOSE = 0          # close
    CONNECTION_KEPT = 1           # it persists, as HTTP/1.1 does without a field
    CONNECTION_KEEP_ALIVE = 2     # it persists, and an HTTP/1.0 client is told so

cdef struct Span:
    const uint8_t* p              # borrowed from the connection's buffer
    size_t n

cdef struct HeaderSection:
    size_t octets                 # up to the end of the empty line
    int hosts                     # fields of that name
    int lengths
    int types
    size_t content_length
    bint typed                    # Content-Type: application/ocsp-request
    bint close                    # Connection: close
    bint keep                     # Connection: keep-alive
    bint odd                      # something that is left to the full parser
    Span if_none_match            # n == 0: absent
    Span if_modified_since
    Span forwarded_for

cdef struct KnownSection:
    HeaderSection section         # without spans; octets 0: none
    uint8_t octets[KNOWN_OCTETS]


@cython.final
cdef class KnownSections:
    cdef KnownSection places[KNOWN_SECTIONS]


# The bytes up to CR LF; a bare LF or CR is passed on
cdef int next_line(Span left, Span* line) noexcept nogil
# The section that `left` begins with, `used` bytes behind the beginning of the request; `known` may be NULL
cdef int read_section(Span left, size_t used, KnownSection* known, HeaderSection* out) noexcept nogil

cdef inline Span after(Span s, size_t n) noexcept nogil:
    s.p += n
    s.n -= n
    return s
