"""Extension, RFC 5280 4.1: one of an OCSPRequest's extensions, its value not opened."""

from _fastocsp.wire.der cimport Cursor, Octets

cdef struct Extension:
    int arc                       # last arc of an id-pkix-ocsp; -1 for any other extnID
    bint critical
    Octets value                  # content of extnValue, borrowed

# Reads one Extension and moves on; 0, or -1 when it is not DER.
cdef int read_extension(Cursor* c, Extension* out) noexcept nogil
