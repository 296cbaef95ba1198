/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Requests in closed loops over kept connections: each sends `depth` of them in one call, and again when as
// many answers are back. All requests have one length, and all answers another; nothing is decoded.
#include "dialogue.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { READ_BYTES = 256 * 1024, EVENTS = 512 };

struct connection {
    int fd;
    size_t got;     // bytes of the present answers
    size_t next;    // which request comes next
    int in_flight;  // requests
    uint64_t quota; // requests still to send, when a number of them was asked for
    uint64_t began;
};

static char input[READ_BYTES];

static void begin(const struct request *request, const struct dialogue *d, struct connection *c,
                  uint64_t time) {
    uint64_t count = c->quota < (uint64_t)request->depth ? c->quota : (uint64_t)request->depth;
    c->in_flight = (int)count;
    c->quota -= count;
    c->got = 0;
    c->began = time;
    if (c->next + count > d->request_count) c->next = 0;
    const char *first = d->requests + c->next * d->request_bytes;
    c->next += count;
    if (count && send(c->fd, first, d->request_bytes * count, MSG_NOSIGNAL) < 0) die("send");
}

// Returns how many answers came back whole.
static uint64_t receive(const struct request *request, const struct dialogue *d,
                        struct connection *c) {
    ssize_t n = recv(c->fd, input, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) die(n ? "recv" : "the server closed a connection");
    size_t start = strlen(d->answer_start);
    if (c->got == 0 && (size_t)n > start && memcmp(input, d->answer_start, start)) die("another answer");
    c->got += (size_t)n;
    uint64_t count = (uint64_t)c->in_flight;
    if (c->got > d->answer_bytes * count) die("a longer answer");
    if (c->got < d->answer_bytes * count) return 0;
    uint64_t time = now();
    for (uint64_t i = 0; i < count; i++) histogram_add(time - c->began);
    begin(request, d, c, time);
    return count;
}

void run_loops(const struct request *request, const struct dialogue *d, struct result *result,
               int (*open)(const struct request *, unsigned)) {
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC), measuring = request->messages > 0;
    struct connection *all = calloc((size_t)request->connections, sizeof *all);
    if (!all) die("calloc");
    for (int i = 0; i < request->connections; i++) {
        uint64_t count = (uint64_t)request->connections;
        uint64_t extra = (uint64_t)i < request->messages % count;
        all[i].quota = request->messages ? request->messages / count + extra : UINT64_MAX;
        all[i].fd = open(request, (unsigned)i);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &event)) die("epoll_ctl");
    }
    if (measuring) mark_begin(request, result);
    uint64_t start = now(), warm = (uint64_t)(request->warm * 1e9);
    uint64_t length = (uint64_t)(request->seconds * 1e9);
    for (int i = 0; i < request->connections; i++) begin(request, d, &all[i], start);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, 20000);
        if (count == 0) die("the server answered nothing for 20 seconds");
        for (int i = 0; i < count; i++) result->messages += receive(request, d, events[i].data.ptr);
        if (request->messages) {
            if (result->messages == request->messages) break;
            continue;
        }
        uint64_t time = now();
        if (!measuring && time - start >= warm) {
            mark_begin(request, result);
            measuring = 1;
            start = time;
        } else if (measuring && time - start >= length) {
            break;
        }
    }
    mark_end(request, result);
}
