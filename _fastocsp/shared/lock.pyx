"""A mutex between Python and a thread that runs without the GIL.

Who holds it never asks for the GIL, so the two cannot wait for each other; Python lets go of the GIL while it waits.
Held for a look-up or a change, never over a system call that may block.
"""

cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t* mutex, const void* attributes)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_trylock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)


cdef class Lock:
    """Not recursive. `with lock:` from Python."""

    def __cinit__(self):
        if pthread_mutex_init(&self.mutex, NULL) != 0:
            raise MemoryError

    def __dealloc__(self):
        pthread_mutex_destroy(&self.mutex)

    cdef void take(self) noexcept nogil:
        pthread_mutex_lock(&self.mutex)

    cdef void give(self) noexcept nogil:
        pthread_mutex_unlock(&self.mutex)

    cdef void take_gil_held(self) noexcept:
        if pthread_mutex_trylock(&self.mutex) != 0:
            with nogil:
                pthread_mutex_lock(&self.mutex)

    def __enter__(self):
        self.take_gil_held()
        return self

    def __exit__(self, *_):
        self.give()
