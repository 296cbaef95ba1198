/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Echo on io_uring: multishot accept, multishot recv into a ring of provided
// buffers, and the same buffers handed to send, so no byte is copied here.
//
// One send at a time for each connection (order). A connection with more than
// HIGH buffers waiting is not read (its multishot recv is cancelled) until it
// is down to LOW. When the pool runs dry, receivers wait in a list for buffers.
#include "twin.h"
#include <liburing.h>

enum { ENTRIES = 4096, NBUF = 1024, BUFSZ = 16384, HIGH = 8, LOW = 2, BGID = 1 };
enum { OP_ACCEPT, OP_RECV, OP_SEND, OP_CANCEL, OP_CLOSE };

struct conn {
    int fd;
    int head, tail;  // queue of buffer ids waiting for send, -1: none
    int queued;
    uint32_t off;    // sent of the head buffer
    unsigned sending : 1, receiving : 1, cancelling : 1, starving : 1;
    unsigned eof : 1;    // the peer has finished: close once the queue is sent
    unsigned ended : 1;  // nothing more goes out: free when the kernel lets go
    struct conn *next;
};

struct worker {
    struct io_uring ring;
    struct io_uring_buf_ring *br;
    char *pool;
    int next[NBUF];
    uint32_t len[NBUF];
    int free_bufs;
    struct conn *spare, *hungry;
    int lfd;
};

static struct io_uring_sqe *next_sqe(struct worker *w) {
    struct io_uring_sqe *s;
    while (!(s = io_uring_get_sqe(&w->ring))) io_uring_submit(&w->ring);
    return s;
}

static uint64_t tag(struct conn *c, unsigned op) { return (uint64_t)(uintptr_t)c | op; }

static void give_buf(struct worker *w, int bid) {
    io_uring_buf_ring_add(w->br, w->pool + (size_t)bid * BUFSZ, BUFSZ, (unsigned short)bid,
                          io_uring_buf_ring_mask(NBUF), 0);
    io_uring_buf_ring_advance(w->br, 1);
    w->free_bufs++;
}

static void start_accept(struct worker *w) {
    struct io_uring_sqe *s = next_sqe(w);
    io_uring_prep_multishot_accept(s, w->lfd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(s, tag(NULL, OP_ACCEPT));
}

static void start_recv(struct worker *w, struct conn *c) {
    struct io_uring_sqe *s = next_sqe(w);
    io_uring_prep_recv_multishot(s, c->fd, NULL, 0, 0);
    s->flags |= IOSQE_BUFFER_SELECT;
    s->buf_group = BGID;
    io_uring_sqe_set_data64(s, tag(c, OP_RECV));
    c->receiving = 1;
}

static void start_send(struct worker *w, struct conn *c) {
    int b = c->head;
    struct io_uring_sqe *s = next_sqe(w);
    io_uring_prep_send(s, c->fd, w->pool + (size_t)b * BUFSZ + c->off, w->len[b] - c->off,
                       MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data64(s, tag(c, OP_SEND));
    c->sending = 1;
}

static void cancel_recv(struct worker *w, struct conn *c) {
    struct io_uring_sqe *s = next_sqe(w);
    io_uring_prep_cancel64(s, tag(c, OP_RECV), 0);
    io_uring_sqe_set_data64(s, tag(NULL, OP_CANCEL));
    c->cancelling = 1;
}

static void pop_buf(struct worker *w, struct conn *c) {
    int b = c->head;
    c->head = w->next[b];
    if (c->head < 0) c->tail = -1;
    c->queued--;
    c->off = 0;
    give_buf(w, b);
}

// Frees the connection once the kernel holds nothing of it any more.
static void maybe_free(struct worker *w, struct conn *c) {
    if (!c->ended || c->receiving || c->sending || c->starving) return;
    while (c->head >= 0) pop_buf(w, c);
    struct io_uring_sqe *s = next_sqe(w);
    io_uring_prep_close(s, c->fd);
    io_uring_sqe_set_data64(s, tag(NULL, OP_CLOSE));
    s->flags |= IOSQE_CQE_SKIP_SUCCESS;
    c->next = w->spare;
    w->spare = c;
}

static void feed_hungry(struct worker *w) {
    while (w->hungry && w->free_bufs > NBUF / 8) {
        struct conn *c = w->hungry;
        w->hungry = c->next;
        c->starving = 0;
        if (c->ended) maybe_free(w, c);
        else if (!c->receiving && c->queued <= HIGH) start_recv(w, c);
    }
}

static void on_accept(struct worker *w, struct io_uring_cqe *cqe) {
    if (cqe->res >= 0) {
        struct conn *c = w->spare;
        if (c) w->spare = c->next;
        else if (posix_memalign((void **)&c, 64, sizeof *c)) twin_die("memalign");
        memset(c, 0, sizeof *c);
        c->fd = cqe->res;
        c->head = c->tail = -1;
        start_recv(w, c);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) start_accept(w);
}

static void on_recv(struct worker *w, struct conn *c, struct io_uring_cqe *cqe) {
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        c->receiving = 0;
        c->cancelling = 0;
    }
    if (cqe->res > 0) {
        int b = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        w->free_bufs--;
        w->len[b] = (uint32_t)cqe->res;
        w->next[b] = -1;
        if (c->tail >= 0) w->next[c->tail] = b;
        else c->head = b;
        c->tail = b;
        c->queued++;
        if (!c->sending && !c->ended) start_send(w, c);
        if (c->receiving && !c->cancelling && c->queued > HIGH) cancel_recv(w, c);
        if (!c->receiving && c->queued <= LOW && !c->ended) start_recv(w, c);
    } else if (cqe->res == -ENOBUFS) {
        if (w->free_bufs > NBUF / 8 && c->queued <= HIGH) {
            start_recv(w, c);
        } else if (c->queued == 0) {
            c->starving = 1;
            c->next = w->hungry;
            w->hungry = c;
        }
    } else if (cqe->res != -ECANCELED) {
        // End of stream or an error. What is queued still goes out at the end
        // of stream; an error drops it.
        if (cqe->res < 0 || c->queued == 0) c->ended = 1;
        else c->eof = 1;
    } else if (c->queued <= LOW && !c->ended) {
        start_recv(w, c);
    }
    maybe_free(w, c);
}

static void on_send(struct worker *w, struct conn *c, struct io_uring_cqe *cqe) {
    c->sending = 0;
    if (cqe->res < 0) {
        c->ended = 1;
        if (c->receiving && !c->cancelling) cancel_recv(w, c);
        maybe_free(w, c);
        return;
    }
    c->off += (uint32_t)cqe->res;
    if (c->off >= w->len[c->head]) pop_buf(w, c);
    if (!c->ended) {
        if (c->head >= 0) start_send(w, c);
        else if (c->eof) c->ended = 1;
        if (!c->receiving && !c->ended && !c->eof && !c->starving && c->queued <= LOW)
            start_recv(w, c);
    }
    maybe_free(w, c);
}

static void *worker_main(void *arg) {
    (void)arg;
    struct worker *w = calloc(1, sizeof *w);
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    p.cq_entries = ENTRIES * 8;
    if (io_uring_queue_init_params(ENTRIES, &w->ring, &p)) twin_die("io_uring_queue_init");
    w->lfd = twin_listen();
    if (posix_memalign((void **)&w->br, 4096, NBUF * sizeof(struct io_uring_buf)) ||
        posix_memalign((void **)&w->pool, 4096, (size_t)NBUF * BUFSZ))
        twin_die("memalign");
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)w->br, .ring_entries = NBUF, .bgid = BGID};
    if (io_uring_register_buf_ring(&w->ring, &reg, 0)) twin_die("register_buf_ring");
    io_uring_buf_ring_init(w->br);
    for (int i = 0; i < NBUF; i++) give_buf(w, i);
    start_accept(w);
    for (;;) {
        int r = io_uring_submit_and_wait(&w->ring, 1);
        if (r < 0 && r != -EINTR && r != -EBUSY) {
            errno = -r;
            twin_die("submit_and_wait");
        }
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&w->ring, head, cqe) {
            seen++;
            uint64_t d = cqe->user_data;
            struct conn *c = (struct conn *)(uintptr_t)(d & ~63ull);
            switch (d & 63) {
            case OP_ACCEPT: on_accept(w, cqe); break;
            case OP_RECV: on_recv(w, c, cqe); break;
            case OP_SEND: on_send(w, c, cqe); break;
            default: break;
            }
        }
        io_uring_cq_advance(&w->ring, seen);
        if (w->hungry) feed_hungry(w);
    }
    return NULL;
}

int main(int argc, char **argv) { return twin_main(argc, argv, "uring", worker_main); }
