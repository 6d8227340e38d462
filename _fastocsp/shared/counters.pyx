"""Counters of one worker in memory that a scraper reads from another process.

One process writes a row; its threads add with one atomic instruction, so no count is lost and a reader never sees half
a number. `put` and `get` order memory (release, acquire): what was written before a `put` is seen after its `get`. What
each number means is its caller's to know.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t


cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t count_load(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void count_store(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    """
    uint64_t count_load(const uint64_t* p) noexcept nogil
    void count_store(uint64_t* p, uint64_t v) noexcept nogil


cdef class Counters:
    """`len(buffer) // 8` numbers."""

    def __cinit__(self, buffer):
        cdef Py_buffer view
        held = memoryview(buffer)
        PyObject_GetBuffer(held, &view, PyBUF_SIMPLE if held.readonly else PyBUF_WRITABLE)
        self._buffer = held
        self.writable = not held.readonly
        self.values = <uint64_t*>view.buf
        self.count = view.len // 8
        PyBuffer_Release(&view)

    def add(self, size_t index, uint64_t n=1):
        """Count `n` more."""
        self._check(index)
        count_more(self.values + index, n)

    def put(self, size_t index, uint64_t n):
        """Set a gauge."""
        self._check(index)
        count_store(self.values + index, n)

    def get(self, size_t index):
        """The number now."""
        if index >= self.count:
            raise IndexError(index)
        return count_load(self.values + index)

    def _check(self, size_t index):
        if index >= self.count or not self.writable:
            raise IndexError(index)
