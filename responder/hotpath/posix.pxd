"""What the connection loop asks of the kernel; declarations only."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdint.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>

    static inline uint64_t monotonic_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    static inline uint32_t epoch_seconds(void) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (uint32_t)t.tv_sec;
    }
    /* As the C library's, but no points of cancellation, which cost a threaded process two atomic exchanges each. The
     * sanitizers look on at the library's. */
    static inline ssize_t plain_recv(int fd, void* to, size_t n, int flags) {
    #if defined(SYS_recvfrom) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        return syscall(SYS_recvfrom, fd, to, n, flags, NULL, NULL);
    #else
        return recv(fd, to, n, flags);
    #endif
    }
    static inline ssize_t plain_send(int fd, const void* octets, size_t n, int flags) {
    #if defined(SYS_sendto) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        return syscall(SYS_sendto, fd, octets, n, flags, NULL, 0);
    #else
        return send(fd, octets, n, flags);
    #endif
    }
    static inline int last_error(void) { return errno; }
    static inline int watch(int epoll, int op, int fd, uint32_t events, uint64_t tag) {
        struct epoll_event e;
        e.events = events;
        e.data.u64 = tag;
        return epoll_ctl(epoll, op, fd, &e);
    }
    static inline uint64_t event_tag(const struct epoll_event* e) { return e->data.u64; }
    /* The peer's packed address: 4 or 16 octets at *packed, 0 for another family. */
    static inline size_t pack_address(const struct sockaddr_storage* peer, uint8_t* packed) {
        if (peer->ss_family == AF_INET) {
            __builtin_memcpy(packed, &((const struct sockaddr_in*)peer)->sin_addr, 4);
            return 4;
        }
        if (peer->ss_family == AF_INET6) {
            __builtin_memcpy(packed, &((const struct sockaddr_in6*)peer)->sin6_addr, 16);
            return 16;
        }
        return 0;
    }
    static inline size_t accept_from(int listener, int* fd, uint8_t* packed) {
        struct sockaddr_storage peer;
        socklen_t n = sizeof(peer);
        *fd = accept4(listener, (struct sockaddr*)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        return *fd < 0 ? 0 : pack_address(&peer, packed);
    }
    static inline size_t peer_of(int fd, uint8_t* packed) {
        struct sockaddr_storage peer;
        socklen_t n = sizeof(peer);
        return getpeername(fd, (struct sockaddr*)&peer, &n) < 0 ? 0 : pack_address(&peer, packed);
    }
    static inline void reset_on_close(int fd) {
        struct linger now = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    static inline void block_signals(void) {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    }
    static inline int flag_load(const int* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void flag_store(int* p, int v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline long long number_add(long long* p, long long n) {
        return __atomic_add_fetch(p, n, __ATOMIC_RELAXED);
    }
    static inline long long number_load(const long long* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    """
    struct epoll_event:
        uint32_t events

    enum:
        EAGAIN
        ECONNABORTED
        EINTR
        EMFILE
        ENFILE
        ENOBUFS
        ENOMEM
        EFD_CLOEXEC
        EFD_NONBLOCK
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLERR
        EPOLLHUP
        EPOLLIN
        EPOLLOUT
        EPOLLRDHUP
        MSG_MORE
        MSG_NOSIGNAL
        SHUT_WR

    const uint32_t EPOLLET
    int epoll_create1(int flags)
    int epoll_wait(int epoll, epoll_event* events, int room, int timeout_ms)
    int eventfd(unsigned int first, int flags)
    Py_ssize_t recv "plain_recv"(int fd, void* to, size_t n, int flags)
    Py_ssize_t send "plain_send"(int fd, const void* octets, size_t n, int flags)
    Py_ssize_t read(int fd, void* to, size_t n)
    Py_ssize_t write(int fd, const void* octets, size_t n)
    int close(int fd)
    int shutdown(int fd, int how)
    int listen(int fd, int backlog)

    uint64_t monotonic_ns()
    uint32_t epoch_seconds()
    int last_error()
    int watch(int epoll, int op, int fd, uint32_t events, uint64_t tag)
    uint64_t event_tag(const epoll_event* e)
    size_t accept_from(int listener, int* fd, uint8_t* packed)
    size_t peer_of(int fd, uint8_t* packed)
    void reset_on_close(int fd)
    void block_signals()
    int flag_load(const int* p)
    void flag_store(int* p, int v)
    long long number_add(long long* p, long long n)
    long long number_load(const long long* p)
