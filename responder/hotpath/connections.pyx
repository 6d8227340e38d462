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


cdef inline Connection* longer_idle(Connection* a, Connection* b) noexcept nogil:
    """Of `a`, which may be NULL, and `b` the one to give up first; never one that is being answered.

    Between requests the deadline is that of the last answer; a request that is not whole comes after those, and ends at
    its own deadline.
    """
    if b.waiting or b.paused or buffered(&b.backlog) or b.deadline == 0:
        return a
    if a == NULL or a.partial != b.partial:
        return b if a == NULL or a.partial else a
    return b if b.deadline < a.deadline else a


cdef class Connections:
    """Room for so many."""

    def __cinit__(self, uint32_t room):
        cdef uint32_t i
        self.room = room
        self.slots = <Connection*>calloc(room, sizeof(Connection))
        self.free_slots = <uint32_t*>malloc(room * sizeof(uint32_t))
        self.bucket_mask = 15
        while self.bucket_mask < room:
            self.bucket_mask = 2 * self.bucket_mask + 1
        self.buckets = <uint32_t*>calloc(<size_t>self.bucket_mask + 1, sizeof(uint32_t))
        if self.slots == NULL or self.free_slots == NULL or self.buckets == NULL:
            raise MemoryError
        for i in range(room):
            self.free_slots[i] = room - 1 - i
        self.free_count = room

    def __dealloc__(self):
        cdef uint32_t i
        if self.slots != NULL:
            for i in range(self.used_to):
                if self.slots[i].generation & 1:
                    if not self.slots[i].away:
                        close(self.slots[i].fd)
                    self.release(&self.slots[i])
        free(self.slots)
        free(self.free_slots)
        free(self.buckets)

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

    cdef void give_away(self, Connection* c) noexcept nogil:
        empty(&c.pending)
        empty(&c.backlog)
        c.fd, c.watched, c.deadline = -1, 0, 0
        c.paused = False
        c.away = c.waiting = True
        number_add(&self.count, -1)

    cdef void release(self, Connection* c) noexcept nogil:
        empty(&c.pending)
        empty(&c.backlog)
        self.forget_client(c)
        c.fd = -1
        c.generation += 1
        self.free_slots[self.free_count] = slot_of(self, c)
        self.free_count += 1
        if not c.away:
            number_add(&self.count, -1)

    cdef void note_client(self, Connection* c) noexcept nogil:
        cdef uint32_t* first = &self.buckets[c.client.address >> 1 & self.bucket_mask]
        if c.client.address == 0:
            return
        c.filed, c.next, c.before = True, first[0], 0
        if c.next:
            self.slots[c.next - 1].before = slot_of(self, c) + 1
        first[0] = slot_of(self, c) + 1

    cdef void forget_client(self, Connection* c) noexcept nogil:
        if not c.filed:
            return
        if c.before:
            self.slots[c.before - 1].next = c.next
        else:
            self.buckets[c.client.address >> 1 & self.bucket_mask] = c.next
        if c.next:
            self.slots[c.next - 1].before = c.before

    cdef uint32_t of_address(self, uint64_t address, Connection** idlest, Connection** away) noexcept nogil:
        cdef uint32_t at = self.buckets[address >> 1 & self.bucket_mask]
        cdef uint32_t found = 0
        cdef Connection* c
        idlest[0] = away[0] = NULL
        while at:
            c = &self.slots[at - 1]
            at = c.next
            if c.client.address == address:
                found += 1
                idlest[0] = longer_idle(idlest[0], c)
                if c.away and not c.leaving:
                    away[0] = c
        return found

    cdef Connection* idlest(self) noexcept nogil:
        cdef Connection* found = NULL
        cdef uint32_t i
        for i in range(self.used_to):
            if self.slots[i].generation & 1:
                found = longer_idle(found, &self.slots[i])
        return found

    cdef Connection* get(self, uint32_t slot, uint32_t generation) noexcept nogil:
        cdef Connection* c
        if slot >= self.room:
            return NULL
        c = &self.slots[slot]
        return c if generation & 1 and c.generation == generation else NULL
