"""Counters of one worker: a row of 64-bit numbers in a shared file, written by the threads of that worker alone."""

cimport cython
from libc.stdint cimport uint64_t


cdef extern from *:
    """
    #include <stdint.h>
    static inline void count_more(uint64_t* p, uint64_t n) { __atomic_fetch_add(p, n, __ATOMIC_RELAXED); }
    """
    void count_more(uint64_t* p, uint64_t n) noexcept nogil


@cython.final
cdef class Counters:
    cdef object _buffer
    cdef uint64_t* values
    cdef readonly size_t count
    cdef bint writable
