"""The writer's and the Python readers' view of the set of revoked serial numbers (layout.pxd)."""

cimport cython
from libc.stdint cimport uint8_t


@cython.final
cdef class RevokedImage:
    cdef object _buffer
    cdef uint8_t* image
    cdef size_t image_len
    cdef bint writable
