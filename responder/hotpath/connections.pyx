"""Connections of one loop, in memory that is taken once: slots, and the buffers of those that have something to keep.

A slot's generation changes when its connection ends, so an event, an answer or a time-out that comes late for one
connection never meets the next one in its slot. Owned by one thread; nothing here is locked.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from responder.hotpath.posix cimport close, number_add


cdef void empty(Buffer* b) noexcept nogil:
    free(b.octets)
    b.octets = NULL
    b.at = b.n = 0


cdef int fill(Buffer* b, const uint8_t* octets, size_t n) noexcept nogil:
    cdef uint8_t* kept = <uint8_t*>malloc(n)
    if kept == NULL:
        return -1
    memcpy(kept, octets, n)
    free(b.octets)
    b.octets, b.at, b.n = kept, 0, n
    return 0


cdef int append(Buffer* b, const uint8_t* octets, size_t n) noexcept nogil:
    cdef size_t there = buffered(b)
    cdef uint8_t* kept = <uint8_t*>malloc(there + n)
    if kept == NULL:
        return -1
    if there:
        memcpy(kept, b.octets + b.at, there)
    memcpy(kept + there, octets, n)
    free(b.octets)
    b.octets, b.at, b.n = kept, 0, there + n
    return 0


cdef class Connections:
    """Room for so many."""

    def __cinit__(self, uint32_t room):
        cdef uint32_t i
        self.room = room
        self.slots = <Connection*>calloc(room, sizeof(Connection))
        self.free_slots = <uint32_t*>malloc(room * sizeof(uint32_t))
        if self.slots == NULL or self.free_slots == NULL:
            raise MemoryError
        for i in range(room):
            self.free_slots[i] = room - 1 - i
        self.free_count = room

    def __dealloc__(self):
        cdef uint32_t i
        if self.slots != NULL:
            for i in range(self.used_to):
                if self.slots[i].generation & 1:
                    close(self.slots[i].fd)
                    self.release(&self.slots[i])
        free(self.slots)
        free(self.free_slots)

    cdef Connection* open(self, int fd) noexcept nogil:
        cdef Connection* c
        cdef uint32_t slot
        cdef uint32_t generation
        if self.free_count == 0:
            return NULL
        self.free_count -= 1
        slot = self.free_slots[self.free_count]
        if slot >= self.used_to:
            self.used_to = slot + 1
        c = &self.slots[slot]
        generation = c.generation + 1
        memset(c, 0, sizeof(Connection))
        # odd while it is open, even while it is not
        c.generation = generation
        c.fd = fd
        number_add(&self.count, 1)
        return c

    cdef void release(self, Connection* c) noexcept nogil:
        empty(&c.pending)
        empty(&c.backlog)
        c.fd = -1
        c.generation += 1
        self.free_slots[self.free_count] = slot_of(self, c)
        self.free_count += 1
        number_add(&self.count, -1)

    cdef Connection* get(self, uint32_t slot, uint32_t generation) noexcept nogil:
        cdef Connection* c
        if slot >= self.room:
            return NULL
        c = &self.slots[slot]
        return c if generation & 1 and c.generation == generation else NULL
