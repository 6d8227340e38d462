"""Bytes that grow in place, and in the end become one `bytes` with a frame around them, without a second copy.

A CRL of a million entries has 50 MB, and verifiers read it from one `bytes`. So the entries are written into one from
the beginning, whose memory the allocator moves without copying.
"""

cimport cython

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.object cimport PyObject
from libc.string cimport memcpy, memmove

from _fastocsp.wire.sink cimport octets_of

cdef extern from "Python.h":
    PyObject* PyBytes_FromStringAndSize(const char* octets, Py_ssize_t n) except NULL
    char* PyBytes_AS_STRING(PyObject* octets)
    int _PyBytes_Resize(PyObject** octets, Py_ssize_t n) except -1
    void Py_CLEAR(PyObject* octets)

cdef enum:
    FIRST_ROOM = 4096


@cython.final
cdef class EntryBuffer:
    """See the stub."""

    def __cinit__(self):
        self._bytes = PyBytes_FromStringAndSize(NULL, FIRST_ROOM)
        self.p = <uint8_t*>PyBytes_AS_STRING(self._bytes)
        self.room = FIRST_ROOM
        self.used = 0
        self._views = 0

    def __dealloc__(self):
        Py_CLEAR(self._bytes)

    def __len__(self):
        return self.used

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.p, self.used, 1, flags)
        self._views += 1

    def __releasebuffer__(self, Py_buffer* view):
        self._views -= 1

    cdef int grow(self, size_t least) except -1:
        """Room for so many bytes more."""
        cdef size_t room = max(2 * self.room, self.used + least)
        cdef size_t used = self.used
        if self._bytes == NULL or self._views:
            raise BufferError("the entries are being read, or were taken already")
        self.p, self.used, self.room = NULL, 0, 0            # as after a resize that failed
        _PyBytes_Resize(&self._bytes, room)
        self.p, self.used, self.room = <uint8_t*>PyBytes_AS_STRING(self._bytes), used, room
        return 0

    def framed(self, bytes before not None, bytes after not None):
        cdef size_t n = len(before) + self.used + len(after)
        if self._bytes == NULL or self._views:
            raise BufferError("the entries are being read, or were taken already")
        if n == 0:
            return b""
        if n > self.room:
            self.grow(n - self.used)
        memmove(self.p + len(before), self.p, self.used)
        memcpy(self.p, octets_of(before).p, len(before))
        memcpy(self.p + len(before) + self.used, octets_of(after).p, len(after))
        self.used = self.room = 0
        self.p = NULL
        _PyBytes_Resize(&self._bytes, n)
        framed = <object>self._bytes
        Py_CLEAR(self._bytes)
        return framed
