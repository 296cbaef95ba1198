/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Echo over TLS on bare epoll, level-triggered: OpenSSL over a BIO that reads where the kernel put the
// bytes and gathers what is to be sent, one receive and one send a message. It keeps OpenSSL's buffers of
// the 64 connections that were busy last. Its certificate it makes itself.
#include "twin.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/epoll.h>

enum { BUF = 65536, EVENTS = 512, KEEPERS = 64 };

struct conn {
    int fd, keeps, is_mid_record;
    SSL *ssl;
    char *held; // what the socket has not taken; then nothing is read
    size_t off, len;
};

struct worker {
    int ep, lfd;
    struct conn *keepers[KEEPERS];
    unsigned next;
};

// One worker runs at a time on a thread; each thread has its own.
static __thread const char *in;
static __thread size_t in_left, out_count;
static __thread char out[4 * BUF], plain[BUF], slab[BUF];
static SSL_CTX *context;
static BIO_METHOD *method;

static int link_read(BIO *bio, char *to, size_t size, size_t *got) {
    struct conn *c = BIO_get_data(bio);
    size_t n = in_left < size ? in_left : size;
    c->is_mid_record = n < size;
    BIO_clear_retry_flags(bio);
    *got = n;
    if (!n) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, in, n);
    in += n;
    in_left -= n;
    return 1;
}

static int link_write(BIO *bio, const char *from, size_t size, size_t *put) {
    (void)bio;
    if (sizeof out - out_count < size) twin_die("output");
    memcpy(out + out_count, from, size);
    out_count += size;
    *put = size;
    return 1;
}

static long link_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int link_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static void make_context(void) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *made = X509_new();
    if (!key || !made) twin_die("certificate");
    X509_set_version(made, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made), 86400);
    X509_set_pubkey(made, key);
    if (!X509_sign(made, key, EVP_sha256())) twin_die("certificate");
    context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate(context, made) != 1 ||
        SSL_CTX_use_PrivateKey(context, key) != 1)
        twin_die("context");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "twin");
    BIO_meth_set_read_ex(method, link_read);
    BIO_meth_set_write_ex(method, link_write);
    BIO_meth_set_ctrl(method, link_ctrl);
    BIO_meth_set_create(method, link_create);
}

static void conn_close(struct worker *w, struct conn *c) {
    if (c->keeps) w->keepers[c->keeps - 1] = NULL;
    SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    close(c->fd);
    free(c->held);
    free(c);
    ERR_clear_error();
}

static void conn_watch(struct worker *w, struct conn *c, uint32_t ev, int op) {
    struct epoll_event e = {.events = ev, .data.ptr = c};
    if (epoll_ctl(w->ep, op, c->fd, &e)) twin_die("epoll_ctl");
}

static void conn_keep(struct worker *w, struct conn *c) {
    if (c->keeps) return;
    unsigned place = w->next++ % KEEPERS;
    struct conn *former = w->keepers[place];
    w->keepers[place] = c;
    c->keeps = (int)place + 1;
    if (!former) return;
    former->keeps = 0;
    if (!former->is_mid_record) SSL_free_buffers(former->ssl);
}

// Returns whether the connection goes on.
static int conn_send(struct worker *w, struct conn *c) {
    if (!out_count) return 1;
    ssize_t s = send(c->fd, out, out_count, MSG_NOSIGNAL);
    if (s < 0 && errno != EAGAIN) return 0;
    if (s < 0) s = 0;
    if ((size_t)s == out_count) return 1;
    c->len = out_count - (size_t)s;
    c->off = 0;
    c->held = malloc(c->len);
    if (!c->held) twin_die("malloc");
    memcpy(c->held, out + s, c->len);
    conn_watch(w, c, EPOLLOUT, EPOLL_CTL_MOD);
    return 1;
}

static void conn_readable(struct worker *w, struct conn *c) {
    ssize_t n = recv(c->fd, slab, BUF, 0);
    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        return conn_close(w, c);
    }
    in = slab;
    in_left = (size_t)n;
    out_count = 0;
    conn_keep(w, c);
    int goes_on = 1;
    if (!SSL_is_init_finished(c->ssl)) {
        SSL_do_handshake(c->ssl);
        ERR_clear_error();
    }
    while (in_left && goes_on) {
        size_t got, put;
        if (SSL_read_ex(c->ssl, plain, sizeof plain, &got) == 1) {
            goes_on = SSL_write_ex(c->ssl, plain, got, &put) == 1;
        } else if (SSL_get_error(c->ssl, 0) != SSL_ERROR_WANT_READ) {
            goes_on = 0;
        }
    }
    if (!conn_send(w, c) || !goes_on) conn_close(w, c);
}

static void conn_writable(struct worker *w, struct conn *c) {
    ssize_t s = send(c->fd, c->held + c->off, c->len, MSG_NOSIGNAL);
    if (s < 0) {
        if (errno != EAGAIN && errno != EINTR) conn_close(w, c);
        return;
    }
    c->off += (size_t)s;
    c->len -= (size_t)s;
    if (c->len) return;
    free(c->held);
    c->held = NULL;
    conn_watch(w, c, EPOLLIN, EPOLL_CTL_MOD);
}

static void accept_all(struct worker *w) {
    for (;;) {
        int fd = accept4(w->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *c = calloc(1, sizeof *c);
        BIO *bio = BIO_new(method);
        if (!c || !bio || !(c->ssl = SSL_new(context))) twin_die("connection");
        c->fd = fd;
        BIO_set_data(bio, c);
        SSL_set_bio(c->ssl, bio, bio);
        SSL_set_accept_state(c->ssl);
        conn_watch(w, c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void *worker_main(void *arg) {
    (void)arg;
    struct worker *w = calloc(1, sizeof *w);
    struct epoll_event ev[EVENTS];
    w->lfd = twin_listen();
    w->ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(w->ep, EPOLL_CTL_ADD, w->lfd, &e);
    for (;;) {
        int n = epoll_wait(w->ep, ev, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (!c) accept_all(w);
            else if (c->held) conn_writable(w, c);
            else conn_readable(w, c);
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    make_context();
    return twin_main(argc, argv, "tls", worker_main);
}
