"""The statement that an issuer's certificates share at one moment, and the key that signs it."""

cimport cython
from libc.stdint cimport uint32_t

from _fastocsp.ocsp.response cimport Template


@cython.final
cdef class SharedStatement:
    cdef Template template
    cdef bytes record             # unsigned
    cdef long long until          # epoch seconds: it holds for certificates that end then or later
    cdef object sign              # signature over these bytes
