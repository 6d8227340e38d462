"""Bytes that grow in place, and in the end become one `bytes` with a frame around them, without a second copy."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t


cdef class EntryBuffer:
    cdef PyObject* _bytes         # a `bytes` that nothing else refers to; NULL once it was taken
    cdef Py_ssize_t _views
    cdef uint8_t* p
    cdef size_t used
    cdef size_t room

    cdef int grow(self, size_t least) except -1
