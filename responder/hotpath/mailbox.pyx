"""Letters from one thread to another, in order, with a bell that an event loop can watch.

The sender allocates, the receiver frees. The bell is silenced before the letters are taken: one that comes in between
rings again. A letter holds numbers and bytes, no Python object, so either end may be without the GIL.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from _fastocsp.shared.lock cimport Lock
from responder.hotpath.posix cimport EFD_CLOEXEC, EFD_NONBLOCK, close, eventfd, read, write


cdef Letter* new_letter(int kind, uint32_t slot, uint32_t generation, const uint8_t* octets, size_t n) noexcept nogil:
    cdef Letter* letter = <Letter*>malloc(sizeof(Letter) + n)
    if letter == NULL:
        return NULL
    letter.next = NULL
    letter.kind, letter.fd, letter.slot, letter.generation, letter.n = kind, -1, slot, generation, n
    if n:
        memcpy(letter_octets(letter), octets, n)
    return letter


cdef class Mailbox:
    """One direction."""

    def __cinit__(self):
        self.lock = Lock()
        self.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.bell < 0:
            raise OSError("eventfd")

    def __dealloc__(self):
        cdef Letter* letter = self.first
        cdef Letter* following
        while letter != NULL:
            following = letter.next
            if letter.fd >= 0:
                close(letter.fd)
            free(letter)
            letter = following
        if self.bell >= 0:
            close(self.bell)

    cdef bint put(self, Letter* letter) noexcept nogil:
        cdef bint silent
        if letter == NULL:
            return False
        self.lock.take()
        silent = self.first == NULL
        if silent:
            self.first = letter
        else:
            self.last.next = letter
        self.last = letter
        self.lock.give()
        if silent:
            self.ring()
        return True

    cdef void ring(self) noexcept nogil:
        cdef uint64_t one = 1
        write(self.bell, &one, 8)

    cdef Letter* take_all(self) noexcept nogil:
        cdef uint64_t rung
        cdef Letter* first
        read(self.bell, &rung, 8)
        self.lock.take()
        first = self.first
        self.first = self.last = NULL
        self.lock.give()
        return first

    def letters(self):
        """(kind, fd, slot, generation, bytes) of all there is; to be called when `bell` is readable."""
        cdef Letter* letter = self.take_all()
        cdef Letter* following
        found = []
        while letter != NULL:
            found.append((letter.kind, letter.fd, letter.slot, letter.generation,
                          (<const char*>letter_octets(letter))[:letter.n]))
            following = letter.next
            free(letter)
            letter = following
        return found
