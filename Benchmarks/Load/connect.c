/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Connections that live for one message: connect, send, read the answer, close, and the next. The
// answers are awaited in the order of the connections, which is the order in which a server gets
// to know them: so nothing need be polled, and the generator has less to do than the server.
#include "load.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    int fd;
    uint64_t began;
};

static char *message, *input;
static unsigned opened;

// On loopback the handshake is over when connect() returns: nothing is waited for.
static void begin(const struct request *request, struct connection *c) {
    c->began = now();
    c->fd = open_connection(request->port, opened++);
    if (send(c->fd, message, request->size, MSG_NOSIGNAL) != (ssize_t)request->size) die("send");
}

static void finish(const struct request *request, struct connection *c) {
    ssize_t n = recv(c->fd, input, request->size, MSG_WAITALL);
    if (n != (ssize_t)request->size) die(n < 0 ? "recv" : "the server closed a connection");
    if (memcmp(input, message, request->size)) die("the answer differs from what was sent");
    close(c->fd);
    histogram_add(now() - c->began);
}

static int is_over(const struct request *request, const struct result *result, uint64_t end) {
    return request->messages ? result->messages == request->messages : now() >= end;
}

void load_connect(const struct request *request, struct result *result) {
    struct connection *ring = calloc((size_t)request->connections, sizeof *ring);
    message = make_message(request->size);
    input = malloc(request->size);
    if (!ring || !input) die("malloc");
    uint64_t count = (uint64_t)request->connections, start = now();
    uint64_t warm_until = request->messages ? 0 : start + (uint64_t)(request->warm * 1e9);
    uint64_t limit = request->messages ? request->messages : UINT64_MAX, finished = 0, end = 0;
    for (uint64_t i = 0; i < count && opened < limit; i++) begin(request, &ring[i]);
    do {
        if (!end && now() >= warm_until) {
            mark_begin(request, result);
            end = now() + (uint64_t)(request->seconds * 1e9);
        }
        struct connection *oldest = &ring[finished++ % count];
        finish(request, oldest);
        result->messages++;
        if (opened < limit) begin(request, oldest);
    } while (!end || !is_over(request, result, end));
    mark_end(request, result);
}
