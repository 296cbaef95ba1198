/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* The plain way, by what libuv documents, for any libuv: an epoll of our own watches the
 * descriptors, and is itself what one uv_poll_t of the loop watches. An epoll is readable when what
 * it watches is ready: epoll(7). So libuv waits, as in the direct way, and a second call takes what
 * there is: one epoll_wait(2) more for each wait that finds something, and none of libuv's work for
 * each descriptor. */
#include "way.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH_CAPACITY = 512 };

static int found(uint32_t bits) {
    int events = 0;
    if (bits & EPOLLIN) events |= TORSION_UV_READABLE;
    if (bits & EPOLLOUT) events |= TORSION_UV_WRITABLE;
    if (bits & EPOLLRDHUP) events |= TORSION_UV_DISCONNECTED;
    return events;
}

static inline void deliver(torsion_uv_watch *watch, uint32_t bits) {
    /* The batch may hold what is no longer asked for. */
    int events = found(bits) & watch->events;
    if (bits & EPOLLERR) events |= TORSION_UV_ERROR;
    if (bits & EPOLLHUP) events |= TORSION_UV_HANG_UP;
    if (events != 0) watch->event(watch->context, events);
}

static void gate_ready(uv_poll_t *gate, int status, int events) {
    (void)status, (void)events;
    torsion_uv_loop *loop = gate->data;
    struct epoll_event batch[BATCH_CAPACITY];
    int count = epoll_wait(loop->epoll, batch, BATCH_CAPACITY, 0);
    for (int i = 0; i < count; i++) {
        /* By its number: the watch of a stray may have been freed. */
        torsion_uv_watch *watch = loop->watches[batch[i].data.fd];
        if (watch->is_armed) deliver(watch, batch[i].events);
    }
}

static void closed(uv_handle_t *handle) { free(handle); }

/* Has the loop watch for this epoll. */
static int open_gate(torsion_uv_loop *loop, int epoll, uv_poll_t **result) {
    uv_poll_t *gate = malloc(sizeof *gate);
    if (gate == NULL) return UV_ENOMEM;
    int code = uv_poll_init(&loop->loop, gate, epoll);
    if (code != 0) {
        free(gate);
        return code;
    }
    gate->data = loop;
    code = uv_poll_start(gate, UV_READABLE, gate_ready);
    if (code == 0)
        *result = gate;
    else
        uv_close((uv_handle_t *)gate, closed);
    return code;
}

static int begin(torsion_uv_loop *loop) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return uv_translate_sys_error(errno);
    int code = open_gate(loop, epoll, &loop->gate);
    if (code == 0)
        loop->epoll = epoll;
    else
        close(epoll);
    return code;
}

static void end(torsion_uv_loop *loop) {
    uv_close((uv_handle_t *)loop->gate, closed);
    close(loop->epoll);
}

/* libuv knows nothing of a watch. */
static int none(torsion_uv_watch *watch) {
    (void)watch;
    return 0;
}
static void note_nothing(torsion_uv_watch *watch, uint32_t events) { (void)watch, (void)events; }
static void stop_nothing(torsion_uv_watch *watch) { (void)watch; }
static void free_watch(torsion_uv_watch *watch) { free(watch); }

/* Registers all watches with another epoll. Returns whether the kernel had the memory for it. */
static int register_all(torsion_uv_loop *loop, int epoll) {
    for (int number = 0; number < loop->watch_count; number++) {
        torsion_uv_watch *watch = loop->watches[number];
        if (watch == NULL || !watch->is_armed) continue;
        struct epoll_event event = {.events = torsion_uv_epoll_bits(watch), .data.fd = number};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, number, &event) == 0) continue;
        if (errno == ENOMEM || errno == ENOSPC) return 0;
        torsion_uv_watch_lose(watch);
    }
    return 1;
}

static int move(torsion_uv_loop *loop) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return 0;
    uv_poll_t *gate;
    if (!register_all(loop, epoll) || open_gate(loop, epoll, &gate) != 0) {
        close(epoll);
        return 0;
    }
    end(loop);
    loop->epoll = epoll;
    loop->gate = gate;
    return 1;
}

const struct torsion_uv_way torsion_uv_plain_way = {
    .begin = begin,
    .end = end,
    .make = none,
    .free = free_watch,
    .start = none,
    .note = note_nothing,
    .stop = stop_nothing,
    .move = move,
};
