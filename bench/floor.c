/* The floor: one thread, one epoll set, the same octets for every request. No parser, no table, no clock, no limit.
 * `floor PORT FILE FILE`: answers each recv with the first file's octets (a whole HTTP message), or with the second
 * one's and the end of the connection when it says `Connection: close`. What an edge costs above this is its own work. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char answers[2][65536], request[65536];
static size_t lengths[2];

static void serve(int fd)
{
    ssize_t n = recv(fd, request, sizeof(request), 0);
    int last = n > 0 && memmem(request, (size_t)n, "Connection: close", 17) != NULL;
    if (n <= 0 || send(fd, answers[last], lengths[last], MSG_NOSIGNAL) < 0 || last)
        close(fd);
}

int main(int argc, char **argv)
{
    struct epoll_event events[64], one = {.events = EPOLLIN};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(0);

    for (int i = 0; i < 2; i++) {
        FILE *file = argc == 4 ? fopen(argv[2 + i], "rb") : NULL;
        if (file == NULL)
            return 2;
        lengths[i] = fread(answers[i], 1, sizeof(answers[i]), file);
        fclose(file);
    }
    at.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &yes, sizeof(yes));
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listener, 4096) != 0)
        return 1;
    one.data.fd = listener;
    epoll_ctl(set, EPOLL_CTL_ADD, listener, &one);
    for (;;) {
        int n = epoll_wait(set, events, 64, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd != listener) {
                serve(events[i].data.fd);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0)
                continue;
            one.data.fd = fd;
            epoll_ctl(set, EPOLL_CTL_ADD, fd, &one);
        }
    }
}
