/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// The echo over TLS: closed loops with `depth` messages in flight on each connection, and connections that
// said one thing and wait.
#include "secure.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { EVENTS = 512, TURNS = 64 };

struct secure {
    int fd;
    SSL *ssl;
    int in_flight;    // messages begun that have not come back
    size_t owed;      // bytes that the socket has not taken yet
    size_t sent, got; // positions within a message
    unsigned oldest;  // index into `began`
    uint64_t quota;   // messages still to begin, when a number of messages was asked for
    uint64_t *began;  // when each message in flight was begun; `depth` of them
};

static char *message, *answer;

SSL_CTX *secure_context(void) {
    static SSL_CTX *context;
    if (context) return context;
    context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384") != 1 ||
        SSL_CTX_set1_groups_list(context, "X25519") != 1)
        die("SSL_CTX_new");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

SSL *open_unshaken(const struct request *request, unsigned source, int *fd) {
    int one = 1;
    *fd = open_connection(request->port, source);
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL *ssl = SSL_new(secure_context());
    if (!ssl || SSL_set_fd(ssl, *fd) != 1) die("SSL_new");
    SSL_set_connect_state(ssl);
    return ssl;
}

// So that the server has made all that it makes for a connection, and sent its ticket.
static SSL *greet_secure(const struct request *request, unsigned source, int *fd) {
    if (!message) {
        message = make_message(request->size);
        answer = malloc(request->size);
        if (!answer) die("malloc");
    }
    SSL *ssl = open_unshaken(request, source, fd);
    if (SSL_do_handshake(ssl) != 1) die("SSL_do_handshake");
    for (size_t put = 0, n; put < request->size; put += n)
        if (SSL_write_ex(ssl, message + put, request->size - put, &n) != 1) die("SSL_write_ex");
    for (size_t got = 0, n; got < request->size; got += n)
        if (SSL_read_ex(ssl, answer + got, request->size - got, &n) != 1) die("SSL_read_ex");
    return ssl;
}

static void send_owed(const struct request *request, struct secure *c) {
    while (c->owed) {
        size_t n;
        ERR_clear_error();
        if (SSL_write_ex(c->ssl, message + c->sent, request->size - c->sent, &n) != 1) {
            // A socket that takes no more holds a whole record that was not answered yet: its return
            // brings us back here.
            if (SSL_get_error(c->ssl, 0) == SSL_ERROR_WANT_WRITE) return;
            die("SSL_write_ex");
        }
        c->owed -= n;
        c->sent = (c->sent + n) % request->size;
    }
}

static void begin(const struct request *request, struct secure *c) {
    while (c->in_flight < request->depth && c->quota) {
        unsigned slot = (c->oldest + (unsigned)c->in_flight) % (unsigned)request->depth;
        c->began[slot] = now();
        c->in_flight++;
        c->quota--;
        c->owed += request->size;
    }
    send_owed(request, c);
}

// Returns how many messages came back whole.
static uint64_t receive(const struct request *request, struct secure *c) {
    uint64_t whole = 0;
    // A busy connection must not keep the others waiting; only what OpenSSL holds would never be reported.
    for (int turn = 0; turn < TURNS || SSL_has_pending(c->ssl); turn++) {
        size_t n;
        ERR_clear_error();
        if (SSL_read_ex(c->ssl, answer, request->size - c->got, &n) != 1) {
            if (SSL_get_error(c->ssl, 0) == SSL_ERROR_WANT_READ) break;
            die("SSL_read_ex");
        }
        // Of large messages only the ends are compared: more would cost what the copy costs.
        if (memcmp(answer, message + c->got, n < 4096 ? n : 64)) die("the answer differs from what was sent");
        c->got = (c->got + n) % request->size;
        if (c->got) continue;
        histogram_add(now() - c->began[c->oldest]);
        c->oldest = (c->oldest + 1) % (unsigned)request->depth;
        c->in_flight--;
        whole++;
        begin(request, c);
    }
    send_owed(request, c);
    return whole;
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
        c->began = calloc((size_t)request->depth, sizeof *c->began);
        if (!c->began) die("calloc");
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
