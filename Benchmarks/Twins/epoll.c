/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Echo on bare epoll, level-triggered. One read buffer for each thread; a
// connection owns memory only while its peer does not drain (then it is not
// read either: at most one buffer's worth is ever held for it).
#include "twin.h"
#include <sys/epoll.h>

enum { BUF = 65536, EVENTS = 512, TURNS = 16 };

struct conn {
    int fd;
    uint32_t off, len;  // what is left of `held`
    char *held;
    struct conn *next;  // in the free list
};

struct worker {
    int ep, lfd;
    struct conn *spare;
    char buf[BUF];
};

static void conn_close(struct worker *w, struct conn *c) {
    close(c->fd);
    free(c->held);
    c->held = NULL;
    c->next = w->spare;
    w->spare = c;
}

static void conn_watch(struct worker *w, struct conn *c, uint32_t ev, int op) {
    struct epoll_event e = {.events = ev, .data.ptr = c};
    if (epoll_ctl(w->ep, op, c->fd, &e)) twin_die("epoll_ctl");
}

static void conn_readable(struct worker *w, struct conn *c) {
    // A full buffer means there is likely more: take it while it is cheap, but
    // let the others have their turn.
    for (int turn = 0; turn < TURNS; turn++) {
        ssize_t n = recv(c->fd, w->buf, BUF, 0);
        if (n <= 0) {
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
            conn_close(w, c);
            return;
        }
        ssize_t s = send(c->fd, w->buf, (size_t)n, MSG_NOSIGNAL);
        if (s != n) {
            if (s < 0) {
                if (errno != EAGAIN) {
                    conn_close(w, c);
                    return;
                }
                s = 0;
            }
            c->len = (uint32_t)(n - s);
            c->off = 0;
            c->held = malloc(c->len);
            if (!c->held) twin_die("malloc");
            memcpy(c->held, w->buf + s, c->len);
            conn_watch(w, c, EPOLLOUT, EPOLL_CTL_MOD);
            return;
        }
        if (n < BUF) return;
    }
}

static void conn_writable(struct worker *w, struct conn *c) {
    ssize_t s = send(c->fd, c->held + c->off, c->len, MSG_NOSIGNAL);
    if (s < 0) {
        if (errno != EAGAIN && errno != EINTR) conn_close(w, c);
        return;
    }
    c->off += (uint32_t)s;
    c->len -= (uint32_t)s;
    if (c->len) return;
    free(c->held);
    c->held = NULL;
    conn_watch(w, c, EPOLLIN, EPOLL_CTL_MOD);
}

static void accept_all(struct worker *w) {
    for (;;) {
        int fd = accept4(w->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct conn *c = w->spare;
        if (c) w->spare = c->next;
        else if (!(c = malloc(sizeof *c))) twin_die("malloc");
        c->fd = fd;
        c->held = NULL;
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

int main(int argc, char **argv) { return twin_main(argc, argv, "epoll", worker_main); }
