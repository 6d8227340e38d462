"""The memory of an answer table: a file without a name, sparse, mapped by every worker of a host.

`make_table_memory` makes it, whoever inherits its descriptor maps it, and it is gone with the last of them. All who
write take one mutex: it is of all processes, and robust: when its owner was killed the next one is told, and empties
the table, as nobody knows how far the dead one came. A writer that was stopped keeps the others from writing, for a few
milliseconds each time, and nobody from reading.
"""

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutexattr_t:
        pass
    int PTHREAD_PROCESS_SHARED
    int PTHREAD_MUTEX_ROBUST
    int pthread_mutexattr_init(pthread_mutexattr_t* attributes)
    int pthread_mutexattr_setpshared(pthread_mutexattr_t* attributes, int shared)
    int pthread_mutexattr_setrobust(pthread_mutexattr_t* attributes, int robust)
    int pthread_mutexattr_destroy(pthread_mutexattr_t* attributes)
    int pthread_mutex_init(pthread_mutex_t* mutex, const pthread_mutexattr_t* attributes)
    int pthread_mutex_trylock(pthread_mutex_t* mutex)
    int pthread_mutex_clocklock(pthread_mutex_t* mutex, int clock, const timespec* until)
    int pthread_mutex_consistent(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* now)

cdef extern from "<sys/mman.h>" nogil:
    int PROT_READ
    int PROT_WRITE
    int MAP_SHARED
    void* MAP_FAILED
    void* mmap(void* at, size_t octets, int protection, int flags, int fd, long offset)
    int munmap(void* at, size_t octets)
    int MADV_REMOVE
    int madvise(void* at, size_t octets, int advice)

    unsigned int MFD_CLOEXEC
    int memfd_create(const char* name, unsigned int flags)

cdef extern from "<unistd.h>" nogil:
    int SEEK_END
    int close(int fd)
    int ftruncate(int fd, long octets)
    long lseek(int fd, long offset, int whence)

cdef extern from "<errno.h>":
    int EOWNERDEAD

cdef enum:
    SHARED_OCTETS = 65536         # room for Shared
    SLACK = 65536                 # behind the last entry, so that a reader's copy never ends outside
    WAIT_NS = 3000000
    IMPATIENT_NS = 100000000      # after waiting in vain, writers of this process do not wait at all

cdef uint64_t MAGIC = 0x32454C424154434F

assert sizeof(Shared) <= SHARED_OCTETS


cdef size_t rounded(size_t octets) noexcept nogil:
    return (octets + PAGES - 1) & ~<size_t>(PAGES - 1)


cdef int top_level(size_t bytes_limit) noexcept nogil:
    """The largest index that leaves entries most of the room."""
    cdef int level = FIRST_LEVEL
    while level < MAX_LEVEL and level_octets(level + 1) <= bytes_limit // 4:
        level += 1
    return level


cdef void lay_out(Map* m, void* at, size_t bytes_limit) noexcept nogil:
    m.chunk_count = bytes_limit // CHUNK
    m.top_level = <uint8_t>top_level(bytes_limit)
    m.shared = <Shared*>at
    m.chunks = <Chunk*>(<uint8_t*>at + SHARED_OCTETS)
    m.index = <uint64_t*>(<uint8_t*>m.chunks + rounded(m.chunk_count * sizeof(Chunk)))
    m.entries = <uint8_t*>m.index + level_offset(m.top_level + 1)
    m.octets = <size_t>(m.entries - <uint8_t*>at) + m.chunk_count * CHUNK + SLACK


cdef size_t memory_octets(size_t bytes_limit) noexcept nogil:
    """Of the file, holes included."""
    cdef size_t chunk_count = bytes_limit // CHUNK
    return (SHARED_OCTETS + rounded(chunk_count * sizeof(Chunk)) + level_offset(top_level(bytes_limit) + 1)
            + chunk_count * CHUNK + SLACK)


cdef size_t touched(const Map* m) noexcept nogil:
    return (sizeof(Shared) + load64(&m.shared.chunks_begun) * sizeof(Chunk) + load64(&m.shared.index_touched)
            + load64(&m.shared.chunks_taken) * CHUNK)


cdef size_t chunk_limit(const Map* m) noexcept nogil:
    cdef size_t taken = sizeof(Shared) + m.shared.index_octets + m.chunk_count * sizeof(Chunk)
    return 0 if taken >= m.shared.bytes_limit else (m.shared.bytes_limit - taken) // CHUNK


cdef void punch(const Map* m, const void* start, size_t octets) noexcept nogil:
    if octets:
        madvise(<void*>start, octets, MADV_REMOVE)


cdef int init_mutex(pthread_mutex_t* mutex) noexcept nogil:
    cdef pthread_mutexattr_t attributes
    cdef int failed = pthread_mutexattr_init(&attributes)
    failed |= pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED)
    failed |= pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST)
    failed |= pthread_mutex_init(mutex, &attributes)
    pthread_mutexattr_destroy(&attributes)
    return failed


cdef void make_empty(Map* m) noexcept nogil:
    """Everything but mutex and counts of what happened; what readers still hold on to reads as zeros."""
    cdef Shared* shared = m.shared
    cdef int i
    store64(&shared.shape, FIRST_LEVEL)
    store64(&shared.epoch, load64(&shared.epoch) + 1)
    punch(m, m.index, <size_t>(m.entries - <uint8_t*>m.index))
    store64(&shared.epoch, load64(&shared.epoch) + 1)
    punch(m, m.entries, m.chunk_count * CHUNK)
    punch(m, m.chunks, <size_t>(<uint8_t*>m.index - <uint8_t*>m.chunks))
    store64(&shared.count, 0)
    store64(&shared.chunks_taken, 0)
    store64(&shared.chunks_begun, 0)
    shared.index_octets = level_octets(FIRST_LEVEL)
    store64(&shared.index_touched, shared.index_octets)
    shared.free_chunk, shared.hand = NO_CHUNK, 0
    for i in range(CLASSES):
        shared.roomy[i], shared.class_chunks[i], shared.class_hand[i], shared.class_entry[i] = NO_CHUNK, 0, 0, 0


cdef uint64_t now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


cdef int wait_for(pthread_mutex_t* mutex) noexcept nogil:
    cdef uint64_t end = now_ns() + WAIT_NS
    cdef timespec until
    until.tv_sec, until.tv_nsec = <long>(end // 1000000000), <long>(end % 1000000000)
    return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until)


cdef class TableMemory:

    def __cinit__(self, int fd):
        cdef long octets = lseek(fd, 0, SEEK_END)
        cdef void* at
        if octets < SHARED_OCTETS:
            raise ValueError("not the memory of a table")
        at = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if at == MAP_FAILED:
            raise MemoryError
        self.map.octets = octets
        self.map.shared = <Shared*>at
        if self.map.shared.magic != MAGIC or memory_octets(self.map.shared.bytes_limit) != <size_t>octets:
            raise ValueError("not the memory of a table")
        lay_out(&self.map, at, self.map.shared.bytes_limit)

    def __dealloc__(self):
        if self.map.shared != NULL:
            munmap(self.map.shared, self.map.octets)

    @property
    def bytes_limit(self):
        return self.map.shared.bytes_limit

    @property
    def emptied(self):
        return load64(&self.map.shared.emptied)

    cdef int take(self) noexcept:
        cdef pthread_mutex_t* mutex = &self.map.shared.writing
        cdef int failed = pthread_mutex_trylock(mutex)
        if failed and failed != EOWNERDEAD:
            if now_ns() < self.impatient_until:
                return -1
            with nogil:
                failed = wait_for(mutex)
        if failed == EOWNERDEAD:
            with nogil:
                make_empty(&self.map)
                store64(&self.map.shared.emptied, load64(&self.map.shared.emptied) + 1)
                failed = pthread_mutex_consistent(mutex)
        elif failed:
            self.impatient_until = now_ns() + IMPATIENT_NS
        return -1 if failed else 0

    cdef void give(self) noexcept nogil:
        pthread_mutex_unlock(&self.map.shared.writing)


cdef int prepare(int fd, size_t bytes_limit) noexcept nogil:
    """An empty table in a new file; -1 when the system has no room or no such mutex."""
    cdef size_t octets = memory_octets(bytes_limit)
    cdef Map m
    cdef void* at
    cdef int failed
    if ftruncate(fd, octets) != 0:
        return -1
    at = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if at == MAP_FAILED:
        return -1
    lay_out(&m, at, bytes_limit)
    m.shared.bytes_limit = bytes_limit
    failed = init_mutex(&m.shared.writing)
    make_empty(&m)
    m.shared.magic = MAGIC
    munmap(at, octets)
    return -1 if failed else 0


def make_table_memory(size_t bytes_limit):
    cdef int fd = memfd_create(b"fastocsp-table", MFD_CLOEXEC)
    if fd < 0:
        raise OSError("no memory file")
    if prepare(fd, bytes_limit) < 0:
        close(fd)
        raise MemoryError
    return fd


def open_table_memory(size_t bytes_limit, fd):
    cdef int made = make_table_memory(bytes_limit) if fd is None else -1
    try:
        memory = TableMemory(made if fd is None else fd)
    finally:
        if made >= 0:
            close(made)
    if memory.bytes_limit != bytes_limit:
        raise ValueError("the memory was made for another limit")
    return memory
