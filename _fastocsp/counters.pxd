"""Counters of one worker: a row of 64-bit numbers in a shared file, written by that worker alone."""

from libc.stdint cimport uint64_t

cdef class Counters:
    cdef object _buffer
    cdef uint64_t* values
    cdef readonly size_t count
    cdef bint writable
