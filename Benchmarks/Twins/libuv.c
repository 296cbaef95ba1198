/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Echo on libuv: one loop for each thread, one read buffer for each loop,
// uv_try_write first. What the socket does not take is copied into one write
// request, and the connection is not read until that request is done.
#include "twin.h"
#include <uv.h>

enum { BUF = 65536 };

struct conn {
    uv_tcp_t tcp;
    struct conn *next;
};

struct pending {
    uv_write_t req;
    char data[];
};

struct worker {
    uv_loop_t loop;
    uv_tcp_t listener;
    struct conn *spare;
    char buf[BUF];
};

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *b) {
    (void)hint;
    struct worker *w = h->loop->data;
    *b = uv_buf_init(w->buf, BUF);
}

static void on_closed(uv_handle_t *h) {
    struct worker *w = h->loop->data;
    struct conn *c = (struct conn *)h;
    c->next = w->spare;
    w->spare = c;
}

static void conn_close(struct conn *c) {
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b);

static void on_written(uv_write_t *req, int status) {
    uv_stream_t *s = req->handle;
    free(req);
    if (status < 0) {
        if (status != UV_ECANCELED) conn_close((struct conn *)s);
        return;
    }
    if (uv_read_start(s, on_alloc, on_read)) conn_close((struct conn *)s);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b) {
    if (n == 0) return;
    if (n < 0) {
        conn_close((struct conn *)s);
        return;
    }
    uv_buf_t out = uv_buf_init(b->base, (unsigned)n);
    int done = uv_try_write(s, &out, 1);
    if (done == n) return;
    if (done < 0) {
        if (done != UV_EAGAIN) {
            conn_close((struct conn *)s);
            return;
        }
        done = 0;
    }
    size_t left = (size_t)(n - done);
    struct pending *p = malloc(sizeof *p + left);
    if (!p) twin_die("malloc");
    memcpy(p->data, b->base + done, left);
    out = uv_buf_init(p->data, (unsigned)left);
    uv_read_stop(s);
    if (uv_write(&p->req, s, &out, 1, on_written)) {
        free(p);
        conn_close((struct conn *)s);
    }
}

static void on_connection(uv_stream_t *l, int status) {
    if (status) return;
    struct worker *w = l->loop->data;
    struct conn *c = w->spare;
    if (c) w->spare = c->next;
    else if (!(c = malloc(sizeof *c))) twin_die("malloc");
    uv_tcp_init(&w->loop, &c->tcp);
    // TCP_NODELAY came with the listener (see twin_listen).
    uv_stream_t *s = (uv_stream_t *)&c->tcp;
    if (uv_accept(l, s) || uv_read_start(s, on_alloc, on_read)) conn_close(c);
}

static void *worker_main(void *arg) {
    (void)arg;
    struct worker *w = calloc(1, sizeof *w);
    uv_loop_init(&w->loop);
    w->loop.data = w;
    uv_tcp_init(&w->loop, &w->listener);
    uv_stream_t *listener = (uv_stream_t *)&w->listener;
    if (uv_tcp_open(&w->listener, twin_listen()) || uv_listen(listener, 4096, on_connection))
        twin_die("uv_listen");
    uv_run(&w->loop, UV_RUN_DEFAULT);
    return NULL;
}

int main(int argc, char **argv) { return twin_main(argc, argv, "libuv", worker_main); }
