"""The open connections of one loop: a fixed array of structs, each known by its slot and its generation."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastocsp.shared.bucket cimport ClientKey

cdef struct Buffer:
    uint8_t* octets               # malloc'd, NULL when empty
    size_t at                     # the first byte that still counts
    size_t n                      # end of those that count

cdef struct Connection:
    int fd                        # -1: the slot is free
    uint32_t generation           # changes when the slot is given up
    ClientKey client              # the peer's, in the rate limit
    uint32_t next                 # slot + 1 of the next connection in the same bucket of addresses; 0: none
    uint32_t before               # slot + 1 of the one before; 0: this is the first
    uint64_t deadline             # monotonic ns, 0: none
    Buffer pending                # what came and is not answered yet
    Buffer backlog                # answers that the socket did not take yet
    uint32_t watched              # epoll events asked for, 0: not in the set yet
    bint filed                    # under its client's address
    bint away                     # handed over: its socket is Python's, its slot counts for its address
    bint leaving                  # away, and Python was told to give up one of this address for it
    bint behind_proxy             # the peer's X-Forwarded-For is believed
    bint partial                  # a request has begun to arrive: its deadline stands
    bint waiting                  # the slow lane is answering
    bint paused                   # was told to try later: what it asks next waits for a tick
    bint readable                 # the socket may have bytes that were not read
    bint eof_near                 # its end is in the socket, behind what was not read yet
    bint eof                      # the client has said all
    bint close_after              # close once the answers are out
    int keep_alive                # CONNECTION_* of the request that the slow lane answers


cdef inline size_t buffered(const Buffer* b) noexcept nogil:
    return b.n - b.at

cdef void empty(Buffer* b) noexcept nogil
# Replaces what was there by a copy; -1 without memory
cdef int fill(Buffer* b, const uint8_t* octets, size_t n) noexcept nogil
# Puts a copy behind what is there; -1 without memory
cdef int append(Buffer* b, const uint8_t* octets, size_t n) noexcept nogil


@cython.final
cdef class Connections:
    cdef Connection* slots
    cdef uint32_t* free_slots     # a stack
    cdef uint32_t free_count
    cdef readonly uint32_t room
    cdef uint32_t used_to         # no slot from here on was ever used
    cdef long long count          # without those handed over; read by other threads as well
    cdef uint32_t* buckets        # slot + 1 of the first connection of each bucket of addresses
    cdef uint32_t bucket_mask

    # NULL when all are in use
    cdef Connection* open(self, int fd) noexcept nogil
    # Files the connection under its client's address, if it has one
    cdef void note_client(self, Connection* c) noexcept nogil
    # Connections of this address, those handed over among them. To *idlest the one that has been idle for longest, NULL
    # when none is idle; to *away one that was handed over and is not leaving, or NULL
    cdef uint32_t of_address(self, uint64_t address, Connection** idlest, Connection** away) noexcept nogil
    # The connection that has been idle for longest, or NULL
    cdef Connection* idlest(self) noexcept nogil
    # Keeps the slot of a connection whose socket is Python's from here on, until it is released
    cdef void give_away(self, Connection* c) noexcept nogil
    # Gives the slot up; the socket is the caller's
    cdef void release(self, Connection* c) noexcept nogil
    cdef void forget_client(self, Connection* c) noexcept nogil
    # The connection that has this slot in this generation, or NULL
    cdef Connection* get(self, uint32_t slot, uint32_t generation) noexcept nogil

cdef inline uint32_t slot_of(Connections all_, const Connection* c) noexcept nogil:
    return <uint32_t>(c - all_.slots)
