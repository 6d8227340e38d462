"""What all workers of a host map of their table: counts, chunks, index and entries, and the mutex of those who write.

Whoever reads takes no lock. So every word that a reader may see while it changes is loaded and stored whole, and a
value is stored (release) only after what it stands for.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <sys/mman.h>
    #include <time.h>
    #include <unistd.h>
    static inline uint64_t load64(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline uint32_t load32(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void store64(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline void store32(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline int swap64(uint64_t* p, uint64_t was, uint64_t v) {
        return __atomic_compare_exchange_n(p, &was, v, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    """
    uint64_t load64(const uint64_t* p) noexcept nogil
    uint32_t load32(const uint32_t* p) noexcept nogil
    void store64(uint64_t* p, uint64_t v) noexcept nogil
    void store32(uint32_t* p, uint32_t v) noexcept nogil
    # whether it was `was`, and is `v` now
    bint swap64(uint64_t* p, uint64_t was, uint64_t v) noexcept nogil


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef enum:
    GRANULE = 8                   # bytes; an entry begins at a multiple of it
    MIN_ENTRY = 64                # bytes of the smallest class of entries
    MAX_ENTRY = 1096              # and of the largest
    CLASSES = 138                 # by size in granules
    CHUNK = 32768                 # bytes that belong to one class at a time
    PAGES = 16384                 # bytes in which the index is given back
    MAX_PROBE = 1024              # slots between the home of a word and itself, and slots behind the last home
    FIRST_LEVEL = 10              # homes of the first index, as a power of two
    MAX_LEVEL = 30
    NO_CHUNK = 0xFFFFFFFF


cdef inline size_t level_octets(int level) noexcept nogil:
    """Of the index of one level: its homes, and the slots behind the last."""
    return ((<size_t>1 << level) + MAX_PROBE) * 8


cdef inline size_t level_offset(int level) noexcept nogil:
    """Bytes of the levels below it."""
    return ((<size_t>1 << level) - (<size_t>1 << FIRST_LEVEL) + <size_t>(level - FIRST_LEVEL) * MAX_PROBE) * 8


cdef struct Chunk:
    uint32_t size_class           # granules of an entry; 0: of no class
    uint16_t live                 # entries in use
    uint16_t carved               # entries that were ever in use
    uint32_t free_entry           # 1 + number of the first free one of them, each naming the next in its second word
    uint32_t before, after        # chunks of the class that have room; NO_CHUNK at the ends

cdef struct Shared:
    uint64_t magic
    uint64_t bytes_limit
    pthread_mutex_t writing
    uint64_t epoch                # goes up before the bytes of a chunk mean something else
    uint64_t shape                # level of the index, whether the next one is being filled, how far (table_index)
    uint64_t count                # entries
    uint64_t index_octets         # of the index at most, until it grows again
    uint64_t index_touched        # of it, in memory
    uint64_t chunks_taken
    uint64_t chunks_begun         # the chunks behind these were never touched
    uint64_t free_chunk           # a chunk of no class, each naming the next in `after`; NO_CHUNK
    uint64_t hand                 # chunk that the eviction looked at last, of whatever class
    uint64_t emptied              # times that a writer died and the table was emptied
    uint64_t evicted
    uint32_t roomy[CLASSES]       # first chunk with room, by class
    uint32_t class_chunks[CLASSES]
    uint32_t class_hand[CLASSES]  # chunk that its eviction looked at last
    uint32_t class_entry[CLASSES]  # moves on with each look

cdef struct Map:                  # where this process sees it
    Shared* shared
    Chunk* chunks
    uint64_t* index
    uint8_t* entries
    size_t chunk_count
    uint8_t top_level
    size_t octets                 # of the whole file, holes included


@cython.final
cdef class TableMemory:
    """The file and its mapping; ends with the last process that has it."""
    cdef Map map
    cdef uint64_t impatient_until

    # 0 with the mutex taken, -1 when another writer has it for longer than a few milliseconds; may let go of the GIL
    cdef int take(self) noexcept
    cdef void give(self) noexcept nogil

# Bytes that are mapped in memory, about
cdef size_t touched(const Map* m) noexcept nogil
# Chunks that may be taken
cdef size_t chunk_limit(const Map* m) noexcept nogil
# Give a range of the file back to the system: it reads as zeros
cdef void punch(const Map* m, const void* start, size_t octets) noexcept nogil
