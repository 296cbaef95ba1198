/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// TLS connections that live for one message: connect, shake hands, send, read the answer, close_notify,
// close, and the next. Each ClientHello leaves at once and the rest follows in the order of the connections, so
// that a server finds as many of them waiting as there are connections. With `secure-resume` each connection
// resumes the session of the one before it in its place.
#include "secure.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct connection {
    int fd;
    SSL *ssl;
    SSL_SESSION *session;
    uint64_t began;
};

static char *message, *input;
static unsigned opened;

static void begin(const struct request *request, struct connection *c) {
    c->began = now();
    c->ssl = open_unshaken(request, opened++, &c->fd);
    if (c->session && SSL_set_session(c->ssl, c->session) != 1) die("SSL_set_session");
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) die("fcntl");
    ERR_clear_error();
    int code = SSL_do_handshake(c->ssl);
    if (code != 1 && SSL_get_error(c->ssl, code) != SSL_ERROR_WANT_READ) die("SSL_do_handshake");
    if (fcntl(c->fd, F_SETFL, 0)) die("fcntl");
}

static void finish(const struct request *request, struct connection *c, int resumes) {
    ERR_clear_error();
    if (SSL_do_handshake(c->ssl) != 1) die("SSL_do_handshake");
    if (SSL_session_reused(c->ssl) != (c->session != NULL)) die("the server resumed no session");
    for (size_t put = 0, n; put < request->size; put += n)
        if (SSL_write_ex(c->ssl, message + put, request->size - put, &n) != 1) die("SSL_write_ex");
    for (size_t got = 0, n; got < request->size; got += n)
        if (SSL_read_ex(c->ssl, input + got, request->size - got, &n) != 1) die("SSL_read_ex");
    if (memcmp(input, message, request->size)) die("the answer differs from what was sent");
    SSL_SESSION_free(c->session);
    c->session = resumes ? SSL_get1_session(c->ssl) : NULL;
    if (resumes && !SSL_SESSION_is_resumable(c->session)) die("the server sent no ticket");
    SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    histogram_add(now() - c->began);
}

static int is_over(const struct request *request, const struct result *result, uint64_t end) {
    return request->messages ? result->messages == request->messages : now() >= end;
}

static void load_handshakes(const struct request *request, struct result *result, int resumes) {
    struct connection *ring = calloc((size_t)request->connections, sizeof *ring);
    message = make_message(request->size);
    input = malloc(request->size);
    if (!ring || !input) die("malloc");
    uint64_t count = (uint64_t)request->connections, start = now();
    uint64_t warm_until = request->messages ? 0 : start + (uint64_t)(request->warm * 1e9);
    uint64_t limit = request->messages ? request->messages : UINT64_MAX, finished = 0, end = 0;
    for (uint64_t i = 0; i < count && opened < limit; i++) begin(request, &ring[i]);
    do {
        // The first of each place have nothing to resume.
        if (!end && now() >= warm_until && (request->messages || finished > count)) {
            mark_begin(request, result);
            end = now() + (uint64_t)(request->seconds * 1e9);
        }
        struct connection *oldest = &ring[finished++ % count];
        finish(request, oldest, resumes);
        result->messages++;
        if (opened < limit) begin(request, oldest);
    } while (!end || !is_over(request, result, end));
    mark_end(request, result);
}

void load_secure_connect(const struct request *request, struct result *result) {
    load_handshakes(request, result, 0);
}

void load_secure_resume(const struct request *request, struct result *result) {
    load_handshakes(request, result, 1);
}
