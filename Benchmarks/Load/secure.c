/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// The same over TLS: closed loops with one message in flight on each connection, and connections that
// said one thing and wait. Whom it talks to it does not verify.
#include "load.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { EVENTS = 512 };

struct secure {
    int fd;
    SSL *ssl;
    size_t got;
    uint64_t quota, began;
};

static SSL_CTX *context;
static char *message, *answer;

static void write_whole(SSL *ssl, size_t size) {
    size_t put;
    // One message in flight is little enough for every socket.
    if (SSL_write_ex(ssl, message, size, &put) != 1 || put != size) die("SSL_write_ex");
}

static SSL *open_secure(const struct request *request, unsigned source, int *fd) {
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        if (!context) die("SSL_CTX_new");
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
        message = make_message(request->size);
        answer = malloc(request->size);
        if (!answer) die("malloc");
    }
    int one = 1;
    *fd = open_connection(request->port, source);
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL *ssl = SSL_new(context);
    if (!ssl || SSL_set_fd(ssl, *fd) != 1 || SSL_connect(ssl) != 1) die("SSL_connect");
    return ssl;
}

// So that the server has made all that it makes for a connection, and sent its ticket.
static SSL *greet_secure(const struct request *request, unsigned source, int *fd) {
    SSL *ssl = open_secure(request, source, fd);
    write_whole(ssl, request->size);
    for (size_t got = 0, n; got < request->size; got += n)
        if (SSL_read_ex(ssl, answer + got, request->size - got, &n) != 1) die("SSL_read_ex");
    return ssl;
}

static void begin(const struct request *request, struct secure *c) {
    if (!c->quota) return;
    c->quota--;
    c->began = now();
    write_whole(c->ssl, request->size);
}

// Returns how many messages came back whole.
static uint64_t receive(const struct request *request, struct secure *c) {
    uint64_t whole = 0;
    for (;;) {
        size_t n;
        ERR_clear_error();
        if (SSL_read_ex(c->ssl, answer + c->got, request->size - c->got, &n) != 1) {
            if (SSL_get_error(c->ssl, 0) == SSL_ERROR_WANT_READ) return whole;
            die("SSL_read_ex");
        }
        c->got += n;
        if (c->got < request->size) continue;
        if (memcmp(answer, message, request->size)) die("the answer differs from what was sent");
        histogram_add(now() - c->began);
        c->got = 0;
        whole++;
        begin(request, c);
    }
}

void load_secure(const struct request *request, struct result *result) {
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC), measuring = request->messages > 0;
    struct secure *all = calloc((size_t)request->connections, sizeof *all);
    if (!all) die("calloc");
    for (int i = 0; i < request->connections; i++) {
        struct secure *c = &all[i];
        uint64_t count = (uint64_t)request->connections;
        uint64_t extra = (uint64_t)i < request->messages % count;
        c->quota = request->messages ? request->messages / count + extra : UINT64_MAX;
        c->ssl = greet_secure(request, (unsigned)i, &c->fd);
        if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) die("fcntl");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    }
    if (measuring) mark_begin(request, result);
    uint64_t start = now(), warm = (uint64_t)(request->warm * 1e9);
    uint64_t length = (uint64_t)(request->seconds * 1e9);
    for (int i = 0; i < request->connections; i++) begin(request, &all[i]);
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

void load_secure_idle(const struct request *request, struct result *result) {
    // The first keep what a busy connection keeps, and are no idle ones.
    enum { BEFORE = 80 };
    if (!request->server) die("secure-idle needs --server");
    unsigned index = 0;
    int fd;
    while (index < BEFORE) greet_secure(request, index++, &fd);
    long before = anonymous_bytes(request->server);
    mark_begin(request, result);
    while (index < BEFORE + (unsigned)request->connections) greet_secure(request, index++, &fd);
    mark_end(request, result);
    result->messages = (uint64_t)request->connections;
    result->memory_per_connection =
        (double)(anonymous_bytes(request->server) - before) / request->connections;
}
