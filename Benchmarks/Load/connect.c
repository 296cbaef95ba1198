/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Connections that live for one message: connect, send, read the answer, close, and the next.
#include "load.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, MESSAGE_LIMIT = 65536 };

struct connection {
    int fd;
    size_t got;
    uint64_t began;
};

static char message[MESSAGE_LIMIT], input[MESSAGE_LIMIT];
static unsigned opened;

// On loopback the handshake is over when connect() returns: nothing is waited for.
static void begin(const struct request *request, struct connection *c, int poller) {
    c->began = now();
    c->got = 0;
    c->fd = open_connection(request->port, opened++);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    if (send(c->fd, message, request->size, MSG_NOSIGNAL) != (ssize_t)request->size) die("send");
}

// Returns 1 when the whole answer is here and the connection closed.
static int receive(const struct request *request, struct connection *c) {
    ssize_t n = recv(c->fd, input, request->size, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) die(n ? "recv" : "the server closed a connection");
    c->got += (size_t)n;
    if (c->got < request->size) return 0;
    close(c->fd);
    histogram_add(now() - c->began);
    return 1;
}

void load_connect(const struct request *request, struct result *result) {
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC), measuring = request->messages > 0;
    struct connection *all = calloc((size_t)request->connections, sizeof *all);
    if (!all || request->size > MESSAGE_LIMIT) die("request");
    memset(message, 'x', request->size - 2);
    memcpy(message + request->size - 2, "\r\n", 2);
    uint64_t start = now(), warm = (uint64_t)(request->warm * 1e9);
    uint64_t length = (uint64_t)(request->seconds * 1e9);
    if (measuring) mark_begin(request, result);
    for (int i = 0; i < request->connections; i++) begin(request, &all[i], poller);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, 20000);
        if (count == 0) die("the server answered nothing for 20 seconds");
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(request, c)) continue;
            result->messages++;
            if (request->messages && opened >= request->messages) continue;
            begin(request, c, poller);
        }
        if (request->messages) {
            if (result->messages >= request->messages) break;
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
