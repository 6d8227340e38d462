"""One direction between the connection loop and Python: letters in order, and a bell that epoll hears."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t

from _fastocsp.shared.lock cimport Lock

cdef struct Letter:
    Letter* next
    int kind
    int fd                        # -1, or a socket that changes hands
    uint32_t slot                 # of the connection, and
    uint32_t generation           # which of those that had the slot
    size_t n
    # followed by n bytes

cdef inline uint8_t* letter_octets(Letter* letter) noexcept nogil:
    return <uint8_t*>letter + sizeof(Letter)

# NULL without memory; the receiver frees it
cdef Letter* new_letter(int kind, uint32_t slot, uint32_t generation, const uint8_t* octets, size_t n) noexcept nogil


@cython.final
cdef class Mailbox:
    cdef Lock lock
    cdef Letter* first
    cdef Letter* last
    cdef readonly int bell        # an eventfd, readable while there may be letters

    # False for NULL, the letter that there was no memory for
    cdef bint put(self, Letter* letter) noexcept nogil
    cdef void ring(self) noexcept nogil
    # Every letter so far, linked by `next`; the bell is silent until the next one
    cdef Letter* take_all(self) noexcept nogil
