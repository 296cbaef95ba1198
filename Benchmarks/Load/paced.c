/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// An open loop: messages are due at equal intervals, whatever the server does, on one connection after
// the other, and each latency counts from when its message was due. What `torsion bench` does, in C.
#include "load.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { EVENTS = 512, INPUT_BYTES = 256 * 1024 };

struct connection {
    int fd;
    size_t got;               // bytes of the answer that comes
    uint64_t oldest, newest;  // numbers of this connection's messages in flight
    uint64_t *due;            // when each was due, by its number modulo `in_flight_limit`
};

// A message that would be one too many in flight waits for an answer, and stays due.
static const uint64_t in_flight_limit = 4096;
static char input[INPUT_BYTES];

static uint64_t due_of(const struct request *request, uint64_t number) {
    return (uint64_t)((double)number * 1e9 / request->rate);
}

static int begin(const struct request *request, struct connection *c, char *message, uint64_t due) {
    if (c->newest - c->oldest == in_flight_limit) return 0;
    ssize_t n = send(c->fd, message, request->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return 0;
    // A part of so small a message cannot be taken: the socket's buffer takes all or nothing of it.
    if (n != (ssize_t)request->size) die("send");
    c->due[c->newest++ % in_flight_limit] = due;
    return 1;
}

static uint64_t take(const struct request *request, struct connection *c, int measures) {
    ssize_t n = recv(c->fd, input, sizeof input, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) die("recv");
    uint64_t time = now(), count = 0;
    for (c->got += (size_t)n; c->got >= request->size; c->got -= request->size, count++) {
        uint64_t due = c->due[c->oldest++ % in_flight_limit];
        if (measures) histogram_add(time > due ? time - due : 0);
    }
    return count;
}

void load_paced(const struct request *request, struct result *result) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) die("epoll_create1");
    char *message = make_message(request->size);
    struct connection *all = calloc((size_t)request->connections, sizeof *all);
    if (!all) die("calloc");
    for (int i = 0; i < request->connections; i++) {
        all[i].fd = open_and_greet(request, (unsigned)i, message);
        all[i].due = malloc(in_flight_limit * sizeof *all[i].due);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (!all[i].due || epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event)) die("epoll_ctl");
    }
    uint64_t warm = (uint64_t)(request->warm * request->rate), sent = 0, answered = 0;
    uint64_t count = warm + (uint64_t)(request->seconds * request->rate), start = now();
    int is_measuring = 0;
    struct epoll_event events[EVENTS];
    while (answered < count) {
        uint64_t time = now();
        while (sent < count && start + due_of(request, sent) <= time) {
            struct connection *c = &all[sent % (uint64_t)request->connections];
            if (!begin(request, c, message, start + due_of(request, sent))) break;
            sent++;
        }
        if (!is_measuring && answered >= warm) {
            is_measuring = 1;
            mark_begin(request, result);
        }
        struct timespec wait = {0};
        uint64_t next = start + due_of(request, sent);
        time = now();
        if (sent == count) wait.tv_sec = 1;
        else if (next > time) wait.tv_nsec = (long)((next - time) % 1000000000u);
        int ready = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
        if (ready < 0 && errno != EINTR) die("epoll_pwait2");
        for (int i = 0; i < ready; i++) answered += take(request, events[i].data.ptr, is_measuring);
        result->messages = answered - warm;
    }
    mark_end(request, result);
}
