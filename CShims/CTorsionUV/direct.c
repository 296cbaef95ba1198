/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* The direct way: a uv_poll_t for each number, and libuv's private fields (src/unix/poll.c, and
 * epoll.c or linux.c), for the libuv that version.c knows.
 *
 * A handle stays started until the loop ends, for libuv's own table leads from the number to it.
 * uv_poll_init() costs three system calls (a trial registration, undone, and FIONBIO),
 * uv_poll_start() one to remove what may be left of the number, and uv_close() makes the next poll
 * return at once, for the closing callbacks. A new one is initialised on an eventfd, `probe`, so
 * that FIONBIO never touches a descriptor of the caller.
 *
 * Errors are level-triggered and say the same as epoll_wait(2). libuv reports EPOLLERR as UV_EBADF
 * after stopping the handle, without the other events: here the handle is started again, and
 * poll(2) asked what there is.
 *
 * A readable descriptor is told without uv__poll_io(), which translates what it found (28
 * instructions) and is left all the rest. libuv 1.52 has no callback here to put ours before. */
#include "way.h"

#define HAS_KNOWN_FIELDS (UV_VERSION_HEX >= 0x012c00 && UV_VERSION_HEX < 0x013500)
#define HAS_CALLBACK (UV_VERSION_HEX < 0x013400)

#if !HAS_KNOWN_FIELDS
const struct torsion_uv_way *const torsion_uv_direct_way = NULL;
#else

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int begin(torsion_uv_loop *loop) {
    loop->probe = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->probe < 0) return uv_translate_sys_error(errno);
    loop->epoll = uv_backend_fd(&loop->loop);
    return 0;
}

static void end(torsion_uv_loop *loop) { close(loop->probe); }

/* libuv has stopped the handle, or has something to say that is no event. */
static void watch_ready_rarely(torsion_uv_watch *watch, int status) {
    struct pollfd now = {.fd = watch->descriptor, .events = POLLRDHUP};
    if (watch->events & TORSION_UV_READABLE) now.events |= POLLIN;
    if (watch->events & TORSION_UV_WRITABLE) now.events |= POLLOUT;
    int found = poll(&now, 1, 0) < 0 ? POLLERR : now.revents;

    int events = 0;
    if (found & POLLIN) events |= TORSION_UV_READABLE;
    if (found & POLLOUT) events |= TORSION_UV_WRITABLE;
    if (found & POLLRDHUP) events |= TORSION_UV_DISCONNECTED;
    events &= watch->events;
    if (found & (POLLERR | POLLNVAL)) events |= TORSION_UV_ERROR;
    if (found & POLLHUP) events |= TORSION_UV_HANG_UP;

    if (found & POLLNVAL) {
        watch->loop->has_stray = 1;
        watch->is_armed = 0;
        uv_poll_stop(&watch->poll);
    } else if (status != 0 && torsion_uv_watch_arm(watch) != 0) {
        watch->loop->has_stray = 1;
        torsion_uv_watch_lose(watch);
        return;
    }
    if (events != 0) watch->event(watch->context, events);
}

static void watch_ready(uv_poll_t *poll, int status, int events) {
    torsion_uv_watch *watch = (torsion_uv_watch *)poll;
    if (watch->event == torsion_uv_nobody) return;
    if (__builtin_expect(status != 0 || events == 0, 0))
        watch_ready_rarely(watch, status);
    else
        watch->event(watch->context, events);
}

#if HAS_CALLBACK
static void io_ready(uv_loop_t *loop, uv__io_t *io, unsigned int events) {
    torsion_uv_watch *watch =
        (torsion_uv_watch *)((char *)io - offsetof(torsion_uv_watch, poll.io_watcher));
    if (__builtin_expect(events == EPOLLIN, 1))
        watch->event(watch->context, TORSION_UV_READABLE);
    else
        ((uv__io_cb)watch->translate)(loop, io, events);
}

/* These headers have the callback; the library may be newer, and keep something else there. */
static void take_callback(torsion_uv_watch *watch) {
    if (uv_version() >= 0x013400) return;
    watch->translate = (torsion_uv_function)watch->poll.io_watcher.cb;
    watch->poll.io_watcher.cb = io_ready;
}
#else
static void take_callback(torsion_uv_watch *watch) { (void)watch; }
#endif

static int make(torsion_uv_watch *watch) {
    int code = uv_poll_init(&watch->loop->loop, &watch->poll, watch->loop->probe);
    if (code != 0) return code;
    watch->poll.io_watcher.fd = watch->descriptor;
    take_callback(watch);
    return 0;
}

static void closed(uv_handle_t *handle) { free(handle); }

static void free_watch(torsion_uv_watch *watch) {
    torsion_uv_loop *loop = watch->loop;
    /* If the number has another handle, libuv must not stop that. */
    if (loop->watches[watch->descriptor] != watch) watch->poll.io_watcher.fd = loop->probe;
    uv_close((uv_handle_t *)&watch->poll, closed);
}

/* A link of libuv's queues, whatever its version calls it. */
struct link {
    struct link *next, *previous;
};

static int start(torsion_uv_watch *watch) {
    if (uv_is_active((uv_handle_t *)&watch->poll)) return 0;
    /* For which events is of no matter: note() says. */
    int code = uv_poll_start(&watch->poll, UV_READABLE, watch_ready);
    if (code != 0) return code;
    /* Else libuv would tell epoll in its next poll. */
    struct link *link = (void *)&watch->poll.io_watcher.watcher_queue;
    link->next->previous = link->previous;
    link->previous->next = link->next;
    link->next = link->previous = link;
    return 0;
}

static void note(torsion_uv_watch *watch, uint32_t events) {
    watch->poll.io_watcher.pevents = watch->poll.io_watcher.events = events;
}

static void stop(torsion_uv_watch *watch) { uv_poll_stop(&watch->poll); }

/* Registers all that the loop waits for with another epoll. Returns whether the kernel had the
 * memory for it. */
static int register_all(torsion_uv_loop *loop, int epoll) {
    for (unsigned int number = 0; number < loop->loop.nwatchers; number++) {
        uv__io_t *io = loop->loop.watchers[number];
        torsion_uv_watch *watch =
            number < (unsigned int)loop->watch_count ? loop->watches[number] : NULL;
        int is_ours = watch != NULL && &watch->poll.io_watcher == io;
        if (io == NULL || (is_ours ? !watch->is_armed : io->events == 0)) continue;
        struct epoll_event event = {.events = io->events, .data.fd = io->fd};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, io->fd, &event) == 0) continue;
        if (errno == ENOMEM || errno == ENOSPC) return 0;
        torsion_uv_require(is_ours, "a descriptor of libuv's own was closed");
        torsion_uv_watch_lose(watch);
    }
    return 1;
}

/* The new epoll takes the number of libuv's. What other threads wake the loop by is moved like the
 * rest, and stays open, as it would not in uv_loop_fork(). */
static int move(torsion_uv_loop *loop) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return 0;
    int is_moved = register_all(loop, epoll) && dup3(epoll, loop->epoll, O_CLOEXEC) >= 0;
    close(epoll);
    return is_moved;
}

static const struct torsion_uv_way way = {
    .begin = begin,
    .end = end,
    .make = make,
    .free = free_watch,
    .start = start,
    .note = note,
    .stop = stop,
    .move = move,
};

const struct torsion_uv_way *const torsion_uv_direct_way = &way;

#endif
