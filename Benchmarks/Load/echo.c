/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Closed loops: each connection keeps `depth` messages in flight, and sends as many as have come
// back whole, in one call.
#include "load.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { READ_BYTES = 256 * 1024, EVENTS = 512 };

struct connection {
    int fd;
    int in_flight;     // messages sent or owed that have not come back
    size_t owed;       // bytes that the socket has not taken yet
    size_t sent, got;  // positions within a message
    unsigned oldest;   // index into `began`
    uint64_t quota;    // messages still to begin, when a number of messages was asked for
    uint64_t *began;   // when each message in flight was begun; `depth` of them
};

// Messages one after another, so that any run of bytes of the stream lies here in one piece.
static char *pattern;
static size_t pattern_bytes;
static char input[READ_BYTES];

static void make_pattern(size_t size) {
    pattern_bytes = READ_BYTES + size;
    pattern = malloc(pattern_bytes);
    if (!pattern) die("malloc");
    char *message = make_message(size);
    for (size_t i = 0; i < pattern_bytes; i++) pattern[i] = message[i % size];
    free(message);
}

static void send_owed(const struct request *request, struct connection *c) {
    while (c->owed) {
        size_t piece = c->owed < READ_BYTES ? c->owed : READ_BYTES;
        ssize_t n = send(c->fd, pattern + c->sent, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            // There is something in flight then, and its return brings us back here: the
            // socket need not be watched for writing.
            if (errno == EAGAIN) return;
            die("send");
        }
        c->owed -= (size_t)n;
        c->sent = (c->sent + (size_t)n) % request->size;
    }
}

static void begin(const struct request *request, struct connection *c, uint64_t time) {
    if (request->burst && c->in_flight) return;
    while (c->in_flight < request->depth && c->quota) {
        unsigned slot = (c->oldest + (unsigned)c->in_flight) % (unsigned)request->depth;
        c->began[slot] = time;
        c->in_flight++;
        c->quota--;
        c->owed += request->size;
    }
    send_owed(request, c);
}

// Returns how many messages came back whole.
static uint64_t receive(const struct request *request, struct connection *c) {
    ssize_t n = recv(c->fd, input, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) die(n ? "recv" : "the server closed a connection");
    // Of large messages only the ends are compared: more would cost what the copy costs.
    size_t checked = n < 4096 ? (size_t)n : 64;
    if (memcmp(input, pattern + c->got, checked)) die("the answer differs from what was sent");
    uint64_t time = now(), whole = (c->got + (size_t)n) / request->size;
    c->got = (c->got + (size_t)n) % request->size;
    for (uint64_t i = 0; i < whole; i++) {
        histogram_add(time - c->began[c->oldest]);
        c->oldest = (c->oldest + 1) % (unsigned)request->depth;
    }
    c->in_flight -= (int)whole;
    begin(request, c, time);
    return whole;
}

static struct connection *open_all(const struct request *request, int poller) {
    struct connection *all = calloc((size_t)request->connections, sizeof *all);
    if (!all) die("calloc");
    for (int i = 0; i < request->connections; i++) {
        struct connection *c = &all[i];
        uint64_t count = (uint64_t)request->connections;
        uint64_t extra = (uint64_t)i < request->messages % count;
        c->quota = request->messages ? request->messages / count + extra : UINT64_MAX;
        c->began = calloc((size_t)request->depth, sizeof *c->began);
        if (!c->began) die("calloc");
        c->fd = open_connection(request->port, (unsigned)i);
        int one = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    }
    return all;
}

// They wait until this process ends.
static void open_idle(const struct request *request) {
    char *message = make_message(request->size);
    for (int i = 0; i < request->idle; i++) open_and_greet(request, (unsigned)i, message);
    free(message);
}

void load_echo(const struct request *request, struct result *result) {
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC), measuring = request->messages > 0;
    make_pattern(request->size);
    open_idle(request);
    struct connection *all = open_all(request, poller);
    if (measuring) mark_begin(request, result);
    uint64_t start = now(), warm = (uint64_t)(request->warm * 1e9);
    uint64_t length = (uint64_t)(request->seconds * 1e9);
    for (int i = 0; i < request->connections; i++) begin(request, &all[i], start);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, 20000);
        if (count == 0) die("the server answered nothing for 20 seconds");
        for (int i = 0; i < count; i++) result->messages += receive(request, events[i].data.ptr);
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
