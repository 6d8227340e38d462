"""The GET form, RFC 6960 A.1: a path's bytes to the DER of the request."""

from libc.stdint cimport uint8_t

# Decodes the part of the path after "/ocsp/" or "/ocsp/{issuer_id}/". Percent-encoding in any case, raw '/' and '+',
# base64url, missing '='. `out` has room for at least n bytes. Returns the DER length or -1.
cdef Py_ssize_t decode_get(const uint8_t* p, size_t n, uint8_t* out) noexcept nogil
