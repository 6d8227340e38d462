"""Memory asked for ahead of its use: what several look-ups will read is fetched at once, not one after the other."""


cdef extern from *:
    """
    #include <stddef.h>
    static inline void fetch_ahead(const void* p, size_t n) {
        const char* line = (const char*)((size_t)p & ~(size_t)63);
        for (; line < (const char*)p + n; line += 64)
            __builtin_prefetch(line);
    }
    """
    # A hint for the lines of these bytes; never a fault, whatever the address
    void fetch_ahead(const void* p, size_t n) noexcept nogil
