"""A mutex between threads with the GIL and one without."""

cimport cython


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass


@cython.final
cdef class Lock:
    cdef pthread_mutex_t mutex

    # For code that holds no GIL, or holds it and does not mind: blocks
    cdef void take(self) noexcept nogil
    cdef void give(self) noexcept nogil
    # For code that holds the GIL: lets go of it while it has to wait
    cdef void take_gil_held(self) noexcept
