"""A file in memory, read-only, without an open descriptor: the standard library's mmap keeps a copy of it.

An edge maps two files per CRL in every worker; with descriptors, a thousand issuers would be more than a process may
open by default.
"""

cimport cython
from cpython.buffer cimport Py_buffer, PyBuffer_FillInfo

cdef extern from "<sys/mman.h>" nogil:
    void* MAP_FAILED
    int PROT_READ
    int MAP_PRIVATE
    void* mmap(void* at, size_t octets, int protection, int flags, int fd, long offset)
    int munmap(void* at, size_t octets)

cdef extern from "<errno.h>" nogil:
    int errno


@cython.final
cdef class FileMap:
    """The first `size` bytes of an open file."""

    cdef void* at
    cdef size_t size

    def __cinit__(self, int fd, size_t size):
        if size == 0:
            raise ValueError("an empty file cannot be mapped")
        self.at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0)
        if self.at == MAP_FAILED:
            self.at = NULL
            raise OSError(errno, "mmap")
        self.size = size

    def __dealloc__(self):
        if self.at != NULL:
            munmap(self.at, self.size)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.at, self.size, True, flags)
