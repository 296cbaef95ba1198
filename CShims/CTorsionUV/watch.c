/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* Readiness: what is the same however libuv comes to tell of a descriptor. direct.c and plain.c are
 * the two ways; version.c says which of them a libuv is used by.
 *
 * Each number of a descriptor has its handle, which stays until the loop ends.
 *
 * epoll is told at once, by ourselves: opening, changing and closing a watch are one epoll_ctl(2)
 * each. uv_poll_start() leaves it to the next uv_run(), which aborts if that fails, so that one
 * would have to ask before what can be watched, and then whether somebody has closed it since.
 * uv_poll_stop() takes what the batch being delivered holds for the number out of it; here the first
 * event is looked at (`first_event`), since the number may be another descriptor's by then.
 *
 * A descriptor that is found to be closed by somebody is told as an error, in the next turn. While
 * another one of the same file is open, here or in a child, epoll goes on to report it, and by its
 * number nobody can end that. So all that the loop waits for is moved to another epoll. */
#include "way.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

_Static_assert((int)TORSION_UV_READABLE == (int)UV_READABLE &&
                   (int)TORSION_UV_WRITABLE == (int)UV_WRITABLE &&
                   (int)TORSION_UV_DISCONNECTED == (int)UV_DISCONNECT,
               "events go through unchanged");

enum { ASKABLE = TORSION_UV_READABLE | TORSION_UV_WRITABLE | TORSION_UV_DISCONNECTED };

void torsion_uv_nobody(void *context, int events) { (void)context, (void)events; }

static int is_open(const torsion_uv_watch *watch) { return watch->event != torsion_uv_nobody; }

/* What the batch held for the number when the watch was opened is somebody else's. Level-triggered,
 * so that nothing is lost. */
static void first_event(void *context, int events) {
    torsion_uv_watch *watch = context;
    if (watch->opened_turn == watch->loop->turn) return;
    watch->event = watch->user;
    watch->context = watch->user_context;
    watch->event(watch->context, events);
}

uint32_t torsion_uv_epoll_bits(const torsion_uv_watch *watch) {
    uint32_t result = 0;
    if (watch->events & TORSION_UV_READABLE) result |= EPOLLIN;
    if (watch->events & TORSION_UV_WRITABLE) result |= EPOLLOUT;
    if (watch->events & TORSION_UV_DISCONNECTED) result |= EPOLLRDHUP;
    return result;
}

static void unlink_closed(torsion_uv_watch *watch) {
    if (!watch->is_listed) return;
    watch->is_listed = 0;
    if (watch->next != NULL) watch->next->previous = watch->previous;
    if (watch->previous != NULL)
        watch->previous->next = watch->next;
    else
        watch->loop->closed_watches = watch->next;
}

static void disarm(torsion_uv_watch *watch) {
    if (!watch->is_armed) return;
    watch->is_armed = 0;
    watch->loop->way->stop(watch);
}

void torsion_uv_watch_lose(torsion_uv_watch *watch) {
    disarm(watch);
    if (watch->is_listed) return;
    torsion_uv_loop *loop = watch->loop;
    watch->is_listed = 1;
    watch->previous = NULL;
    watch->next = loop->closed_watches;
    if (watch->next != NULL) watch->next->previous = watch;
    loop->closed_watches = watch;
}

void torsion_uv_watch_tell_closed(torsion_uv_loop *loop) {
    while (loop->closed_watches != NULL) {
        torsion_uv_watch *watch = loop->closed_watches;
        unlink_closed(watch);
        watch->event(watch->context, TORSION_UV_ERROR);
    }
}

/* Tells epoll what to watch for. */
static int control(torsion_uv_watch *watch, int operation) {
    torsion_uv_loop *loop = watch->loop;
    struct epoll_event wanted = {.events = torsion_uv_epoll_bits(watch),
                                 .data.fd = watch->descriptor};
    int result = epoll_ctl(loop->epoll, operation, watch->descriptor, &wanted);
    /* What had this number before lives on in another process, or has come back. */
    if (result != 0 && operation == EPOLL_CTL_ADD && errno == EEXIST)
        result = epoll_ctl(loop->epoll, EPOLL_CTL_MOD, watch->descriptor, &wanted);
    if (result != 0) return uv_translate_sys_error(errno);
    loop->way->note(watch, wanted.events);
    return 0;
}

int torsion_uv_watch_arm(torsion_uv_watch *watch) {
    int code = watch->loop->way->start(watch);
    if (code != 0) return code;
    watch->is_armed = 1;
    code = control(watch, EPOLL_CTL_ADD);
    if (code != 0) disarm(watch);
    return code;
}

int torsion_uv_watch_prepare(torsion_uv_loop *loop, int is_plain) {
    torsion_uv_require(loop->way == NULL, "a loop was prepared for watches twice");
    const struct torsion_uv_way *way = &torsion_uv_plain_way;
    if (!is_plain && torsion_uv_is_watched_directly()) way = torsion_uv_direct_way;
    int code = way->begin(loop);
    if (code == 0) loop->way = way;
    return code;
}

/* A place for the number in the table; 0 if there is no memory for it. */
static int has_place_for(torsion_uv_loop *loop, int descriptor) {
    if (descriptor < loop->watch_count) return 1;
    int count = loop->watch_count > 0 ? loop->watch_count : 64;
    while (count <= descriptor) count *= 2;
    torsion_uv_watch **watches = realloc(loop->watches, (size_t)count * sizeof *watches);
    if (watches == NULL) return 0;
    for (int i = loop->watch_count; i < count; i++) watches[i] = NULL;
    loop->watches = watches;
    loop->watch_count = count;
    return 1;
}

/* The handle of a descriptor's number; NULL if there is no memory for one. */
static torsion_uv_watch *handle_of(torsion_uv_loop *loop, int descriptor) {
    if (!has_place_for(loop, descriptor)) return NULL;
    torsion_uv_watch *watch = loop->watches[descriptor];
    /* One whose descriptor was closed is left its watch, which may be open for long. */
    if (watch != NULL && (!is_open(watch) || watch->is_armed)) return watch;
    watch = malloc(sizeof *watch);
    if (watch == NULL) return NULL;
    watch->loop = loop;
    watch->descriptor = descriptor;
    watch->event = torsion_uv_nobody;
    watch->is_listed = watch->is_armed = 0;
    if (loop->way->make(watch) != 0) {
        free(watch);
        return NULL;
    }
    loop->watches[descriptor] = watch;
    return watch;
}

int torsion_uv_watch_open(torsion_uv_loop *loop, int descriptor, int events, void *context,
                          torsion_uv_watch_event event, torsion_uv_watch **result) {
    *result = NULL;
    torsion_uv_require(loop->way != NULL, "a watch was opened on a loop not prepared for it");
    torsion_uv_require((events & ~ASKABLE) == 0, "a watch was opened for unknown events");
    if (descriptor < 0) return UV_EBADF;
    torsion_uv_watch *watch = handle_of(loop, descriptor);
    if (watch == NULL) return UV_ENOMEM;
    if (is_open(watch)) return UV_EEXIST;
    watch->events = events;
    int code = torsion_uv_watch_arm(watch);
    if (code != 0) return code;

    watch->opened_turn = loop->turn;
    watch->user = event;
    watch->user_context = context;
    watch->event = first_event;
    watch->context = watch;
    loop->open_count += 1;
    *result = watch;
    return 0;
}

void torsion_uv_watch_change(torsion_uv_watch *watch, int events) {
    torsion_uv_require((events & ~ASKABLE) == 0, "a watch was changed to unknown events");
    watch->events = events;
    if (!watch->is_armed) {
        if (torsion_uv_watch_arm(watch) != 0) torsion_uv_watch_lose(watch);
    } else if (control(watch, EPOLL_CTL_MOD) != 0) {
        watch->loop->has_stray = 1;
        torsion_uv_watch_lose(watch);
    }
}

void torsion_uv_watch_close(torsion_uv_watch *watch) {
    torsion_uv_loop *loop = watch->loop;
    unlink_closed(watch);
    watch->event = torsion_uv_nobody;
    loop->open_count -= 1;
    if (loop->watches[watch->descriptor] != watch) {
        /* It was closed by somebody, and the number has another handle. */
        loop->way->free(watch);
    } else if (watch->is_armed) {
        watch->is_armed = 0;
        if (epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->descriptor, NULL) != 0)
            loop->has_stray = 1;
        loop->way->note(watch, 0);
    }
}

void torsion_uv_watch_shed_strays(torsion_uv_loop *loop) {
    /* Without the memory for it, all stay where they are, and the next turn tries again. */
    if (loop->way->move(loop)) loop->has_stray = 0;
}

void torsion_uv_watch_drain(torsion_uv_loop *loop) {
    for (int i = 0; i < loop->watch_count; i++)
        if (loop->watches[i] != NULL) loop->way->free(loop->watches[i]);
    free(loop->watches);
    loop->watches = NULL;
    loop->watch_count = 0;
    if (loop->way != NULL) loop->way->end(loop);
}
