"""Counters of one worker: a row of 64-bit numbers in a shared file, written by that worker alone."""

cimport cython
from libc.stdint cimport uint64_t


@cython.final
cdef class Counters:
    cdef object _buffer
    cdef uint64_t* values
    cdef readonly size_t count
    cdef bint writable
