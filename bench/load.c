/* A load generator that costs less than what it drives, so that the server is what is busy. On loopback the server's
 * send also does the client's receiving, and wakes it when it sleeps: whoever sends in two pieces pays twice.
 * `load PORT MESSAGES CONNECTIONS SECONDS CLOSE`: MESSAGES holds requests, each behind its length (32 bits, this
 * machine's order), sent in an order that looks random. One request at a time on each connection; with CLOSE 1 each on a
 * connection of its own. Prints answers, failures, and the 50th, 99th and 99.9th percentile of the answer times in us,
 * then how many answers said tryLater.
 * A sixth word, RATE, makes it an open loop: so many requests a second arrive, whether the server answers or not, at
 * connections that are idle, each in its turn; times count from the arrival. One that finds none is lost: the seventh
 * number. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 16384, MAX_MESSAGES = 65536, SLOTS = 200000 };

struct talk {
    int fd;
    size_t got, wanted;       /* octets of the answer; wanted is 0 until its head was read */
    uint64_t begun;
    char answer[4096];
};

static struct talk talks[MAX_CONNECTIONS];
static char *messages[MAX_MESSAGES];
static uint32_t lengths[MAX_MESSAGES], count, seed = 1;
static struct talk *idle[MAX_CONNECTIONS];           /* of an open loop, a ring: whoever has been idle longest asks next */
static uint32_t idle_first, idle_count;
static int open_loop;
static uint64_t answered, failed, later, lost, times[SLOTS];      /* by whole microseconds */
static struct sockaddr_in server;
static int set, closing;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void ask(struct talk *t)
{
    seed = seed * 1664525u + 1013904223u;
    uint32_t n = (uint32_t)(((uint64_t)seed * count) >> 32);
    t->got = t->wanted = 0;
    if (send(t->fd, messages[n], lengths[n], MSG_NOSIGNAL) != (ssize_t)lengths[n])
        failed++;
}

static void rest(struct talk *t)
{
    idle[(idle_first + idle_count++) % MAX_CONNECTIONS] = t;
}

static void begin(struct talk *t)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = t};
    t->fd = socket(AF_INET, SOCK_STREAM, 0);
    t->begun = now_ns();
    if (connect(t->fd, (struct sockaddr *)&server, sizeof(server)) != 0)
        failed++;
    ask(t);
    epoll_ctl(set, EPOLL_CTL_ADD, t->fd, &e);
}

/* As many as have arrived by now; all of them at once when we were late. */
static uint64_t arrive(uint64_t due, uint64_t now, double gap_ns)
{
    static double part;
    while (due <= now) {
        if (idle_count == 0) {
            lost++;
        } else {
            struct talk *t = idle[idle_first++ % MAX_CONNECTIONS];
            idle_count--;
            if (t->fd < 0)
                begin(t);
            else
                ask(t);
            t->begun = due;
        }
        part += gap_ns;
        due += (uint64_t)part;
        part -= (double)(uint64_t)part;
    }
    return due;
}

static void again(struct talk *t)
{
    close(t->fd);
    t->fd = -1;
    if (open_loop)
        rest(t);
    else
        begin(t);
}

static void measure(struct talk *t)
{
    char *end = memmem(t->answer, t->got, "\r\n\r\n", 4);
    char *field = end ? strcasestr(t->answer, "content-length: ") : NULL;
    if (field != NULL && field < end)
        t->wanted = (size_t)(end + 4 - t->answer) + strtoul(field + 16, NULL, 10);
}

static void hear(struct talk *t, uint64_t now)
{
    ssize_t n = recv(t->fd, t->answer + t->got, sizeof(t->answer) - 1 - t->got, 0);
    if (n <= 0) {
        failed++;
        again(t);
        return;
    }
    t->got += (size_t)n;
    t->answer[t->got] = 0;
    if (t->wanted == 0)
        measure(t);
    if (t->wanted == 0 || t->got < t->wanted)
        return;
    if (memcmp(t->answer, "HTTP/1.", 7) != 0 || memcmp(t->answer + 8, " 200", 4) != 0 || t->got > t->wanted)
        failed++;
    answered++;
    if (t->got > 5 && memcmp(t->answer + t->got - 5, "\x30\x03\x0a\x01\x03", 5) == 0)
        later++;
    uint64_t us = (now - t->begun) / 1000;
    times[us < SLOTS ? us : SLOTS - 1]++;
    if (closing) {
        again(t);
        return;
    }
    if (open_loop) {
        rest(t);
        return;
    }
    t->begun = now;
    ask(t);
}

static unsigned percentile(double share)
{
    uint64_t sum = 0;
    unsigned us = 0;
    while (us < SLOTS - 1 && (sum += times[us]) < share * (double)answered)
        us++;
    return us;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 6 || argc == 7 ? fopen(argv[2], "rb") : NULL;
    struct epoll_event events[64];
    double rate = argc == 7 ? atof(argv[6]) : 0;
    if (file == NULL || atoi(argv[3]) < 1 || atoi(argv[3]) > MAX_CONNECTIONS)
        return 2;
    while (count < MAX_MESSAGES && fread(&lengths[count], 4, 1, file) == 1) {
        messages[count] = malloc(lengths[count]);
        if (messages[count] == NULL || fread(messages[count], 1, lengths[count], file) != lengths[count])
            return 2;
        count++;
    }
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    closing = atoi(argv[5]);
    set = epoll_create1(0);
    open_loop = rate > 0;
    for (int i = 0; i < atoi(argv[3]); i++) {
        talks[i].fd = -1;
        if (open_loop)
            rest(&talks[i]);
        else
            begin(&talks[i]);
    }
    uint64_t now = now_ns(), end = now + (uint64_t)(atof(argv[4]) * 1e9), due = now;
    while (now < end) {
        struct timespec wait = {.tv_nsec = 100000000};
        if (open_loop) {
            due = arrive(due, now, 1e9 / rate);
            /* together with those of the next 0.2 ms: who spins takes the core from the other generators */
            wait.tv_nsec = due - now < 200000 ? 200000 : due - now < 100000000 ? (long)(due - now) : 100000000;
        }
        int n = epoll_pwait2(set, events, 64, &wait, NULL);
        now = now_ns();
        for (int i = 0; i < n; i++)
            hear(events[i].data.ptr, now);
    }
    printf("%lu %lu %u %u %u %lu %lu\n", answered, failed, percentile(0.5), percentile(0.99), percentile(0.999), later,
           lost);
    return 0;
}
