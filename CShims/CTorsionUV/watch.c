/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* Readiness over uv_poll_t (libuv 1.44, src/unix/poll.c and epoll.c), with five additions.
 *
 * Handles are pooled. uv_poll_init() costs three system calls (a trial registration, undone, and
 * FIONBIO), and uv_close() makes the next poll return at once, for the closing callbacks. A stopped
 * uv_poll_t differs from a new one in io_watcher.fd alone, so a pooled one is given its next
 * descriptor there. A new one is initialised on an eventfd, `probe`, so that FIONBIO never
 * touches a descriptor of the caller.
 *
 * A change is one EPOLL_CTL_MOD. uv_poll_start() removes the descriptor and adds it again, and
 * drops what the batch being delivered still holds for it.
 *
 * Errors are level-triggered and say the same as epoll_wait(2). libuv reports EPOLLERR as UV_EBADF
 * after stopping the handle, without the other events: here the handle is started again, and
 * poll(2) asked what there is. libuv cannot wait for nothing but errors: interest in
 * UV_PRIORITIZED stands for that.
 *
 * A readable descriptor is told without uv__poll_io(), which translates what it found (28
 * instructions) and is left all the rest. libuv 1.52 has no callback here to put ours before.
 *
 * A descriptor that somebody closed is told as an error. libuv registers with epoll in the next
 * uv_run(), and aborts if that fails: so before it, the new ones are looked at. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define TAKES_READABLE_DIRECTLY (UV_VERSION_HEX < 0x013400)

struct torsion_uv_watch {
    uv_poll_t poll; /* first: a pointer to it is one to the watch */
    torsion_uv_watch_event event;
    void *context;
    torsion_uv_loop *loop;
    torsion_uv_watch *next, *previous; /* in the list of free or of new ones */
    int is_new;
    int events; /* as uv_poll_start() takes them */
#if TAKES_READABLE_DIRECTLY
    uv__io_cb translate;
#endif
};

_Static_assert((int)TORSION_UV_READABLE == (int)UV_READABLE &&
                   (int)TORSION_UV_WRITABLE == (int)UV_WRITABLE &&
                   (int)TORSION_UV_DISCONNECTED == (int)UV_DISCONNECT,
               "events go through unchanged");

enum { ASKABLE = UV_READABLE | UV_WRITABLE | UV_DISCONNECT };

static void watch_ready(uv_poll_t *poll, int status, int events);

static int uv_events(int events) { return events != 0 ? events : UV_PRIORITIZED; }

static uint32_t epoll_events(int events) {
    uint32_t result = 0;
    if (events & UV_READABLE) result |= EPOLLIN;
    if (events & UV_WRITABLE) result |= EPOLLOUT;
    if (events & UV_DISCONNECT) result |= EPOLLRDHUP;
    if (events & UV_PRIORITIZED) result |= EPOLLPRI;
    return result;
}

static void link_new(torsion_uv_watch *watch) {
    if (watch->is_new) return;
    torsion_uv_loop *loop = watch->loop;
    watch->is_new = 1;
    watch->previous = NULL;
    watch->next = loop->new_watches;
    if (watch->next != NULL) watch->next->previous = watch;
    loop->new_watches = watch;
}

static void unlink_new(torsion_uv_watch *watch) {
    if (!watch->is_new) return;
    watch->is_new = 0;
    if (watch->next != NULL) watch->next->previous = watch->previous;
    if (watch->previous != NULL)
        watch->previous->next = watch->next;
    else
        watch->loop->new_watches = watch->next;
}

/* Starts the handle; what it watches for is in `events`. */
static int start(torsion_uv_watch *watch) {
    int code = uv_poll_start(&watch->poll, watch->events, watch_ready);
    if (code == 0) link_new(watch);
    return code;
}

/* Stops the handle, unless it stopped itself: another watch may have its number by now. */
static void stop(torsion_uv_watch *watch) {
    unlink_new(watch);
    if (uv_is_active((uv_handle_t *)&watch->poll)) uv_poll_stop(&watch->poll);
}

size_t torsion_uv_watch_check_new(torsion_uv_loop *loop) {
    size_t closed_count = 0;
    while (loop->new_watches != NULL) {
        torsion_uv_watch *watch = loop->new_watches;
        unlink_new(watch);
        if (fcntl(watch->poll.io_watcher.fd, F_GETFD) >= 0) continue;
        stop(watch);
        closed_count += 1;
        watch->event(watch->context, TORSION_UV_ERROR);
    }
    return closed_count;
}

/* An error, or an event of UV_PRIORITIZED, which only stands for "errors only". */
static void watch_ready_rarely(torsion_uv_watch *watch, int status) {
    struct pollfd now = {.fd = watch->poll.io_watcher.fd, .events = POLLRDHUP};
    if (watch->events & UV_READABLE) now.events |= POLLIN;
    if (watch->events & UV_WRITABLE) now.events |= POLLOUT;
    int found = poll(&now, 1, 0) < 0 ? POLLERR : now.revents;

    int events = 0;
    if (found & POLLIN) events |= TORSION_UV_READABLE;
    if (found & POLLOUT) events |= TORSION_UV_WRITABLE;
    if (found & POLLRDHUP) events |= TORSION_UV_DISCONNECTED;
    events &= watch->events;
    if (found & (POLLERR | POLLNVAL)) events |= TORSION_UV_ERROR;
    if (found & POLLHUP) events |= TORSION_UV_HANG_UP;

    if (found & POLLNVAL || (events == 0 && status == 0)) {
        /* Closed by somebody: registering it again would make libuv abort. Or an urgent byte,
         * which nobody reads: to be told again and again would be a busy loop of the peer's. */
        stop(watch);
    } else if (status != 0) {
        start(watch);
    }
    if (events != 0) watch->event(watch->context, events);
}

static void watch_ready(uv_poll_t *poll, int status, int events) {
    torsion_uv_watch *watch = (torsion_uv_watch *)poll;
    if (__builtin_expect(status != 0 || (events & UV_PRIORITIZED), 0))
        watch_ready_rarely(watch, status);
    else
        watch->event(watch->context, events);
}

#if TAKES_READABLE_DIRECTLY
static void io_ready(uv_loop_t *loop, uv__io_t *io, unsigned int events) {
    torsion_uv_watch *watch =
        (torsion_uv_watch *)((char *)io - offsetof(torsion_uv_watch, poll.io_watcher));
    if (__builtin_expect(events == EPOLLIN, 1))
        watch->event(watch->context, TORSION_UV_READABLE);
    else
        watch->translate(loop, io, events);
}
#endif

/* Whether epoll takes this descriptor. libuv aborts if it does not. Sockets always can be. */
static int check_descriptor(torsion_uv_loop *loop, int descriptor) {
    int type;
    socklen_t length = sizeof type;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) == 0) return 0;

    int epoll = uv_backend_fd(&loop->loop);
    struct epoll_event none = {.data.fd = -1};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &none) == 0) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &none);
        return 0;
    }
    /* EEXIST: the loop watches it, or what had this number before lives on in another process. The
     * first is for uv_poll_start() to refuse. */
    return errno == EEXIST ? 0 : uv_translate_sys_error(errno);
}

static torsion_uv_watch *take_watch(torsion_uv_loop *loop) {
    torsion_uv_watch *watch = loop->free_watches;
    if (watch != NULL) {
        loop->free_watches = watch->next;
        return watch;
    }
    watch = malloc(sizeof *watch);
    if (watch == NULL || uv_poll_init(&loop->loop, &watch->poll, loop->probe) != 0) {
        free(watch);
        return NULL;
    }
#if TAKES_READABLE_DIRECTLY
    watch->translate = watch->poll.io_watcher.cb;
    watch->poll.io_watcher.cb = io_ready;
#endif
    watch->loop = loop;
    return watch;
}

static void give_back(torsion_uv_watch *watch) {
    watch->poll.io_watcher.fd = watch->loop->probe;
    watch->next = watch->loop->free_watches;
    watch->loop->free_watches = watch;
}

int torsion_uv_watch_open(torsion_uv_loop *loop, int descriptor, int events, void *context,
                          torsion_uv_watch_event event, torsion_uv_watch **result) {
    *result = NULL;
    torsion_uv_require((events & ~ASKABLE) == 0, "a watch was opened for unknown events");
    int code = check_descriptor(loop, descriptor);
    if (code != 0) return code;
    torsion_uv_watch *watch = take_watch(loop);
    if (watch == NULL) return UV_ENOMEM;

    watch->poll.io_watcher.fd = descriptor;
    watch->event = event;
    watch->context = context;
    watch->events = uv_events(events);
    watch->is_new = 0;
    code = start(watch);
    if (code != 0) {
        give_back(watch);
        return code;
    }
    loop->open_count += 1;
    *result = watch;
    return 0;
}

void torsion_uv_watch_change(torsion_uv_watch *watch, int events) {
    torsion_uv_require((events & ~ASKABLE) == 0, "a watch was changed to unknown events");
    watch->events = uv_events(events);
    uv__io_t *io = &watch->poll.io_watcher;
    if (!uv_is_active((uv_handle_t *)&watch->poll)) {
        /* It stopped itself. */
        start(watch);
        return;
    }
    struct epoll_event wanted = {.events = epoll_events(watch->events), .data.fd = io->fd};
    io->pevents = wanted.events;
    /* Zero `events`: not registered yet, libuv's next poll takes `pevents`. */
    if (io->events == 0) return;
    if (epoll_ctl(uv_backend_fd(&watch->loop->loop), EPOLL_CTL_MOD, io->fd, &wanted) == 0)
        io->events = wanted.events;
    else
        start(watch); /* Somebody closed it: looked at before the next poll. */
}

void torsion_uv_watch_close(torsion_uv_watch *watch) {
    stop(watch);
    watch->loop->open_count -= 1;
    give_back(watch);
}

static void closed(uv_handle_t *handle) { free(handle); }

void torsion_uv_watch_drain(torsion_uv_loop *loop) {
    while (loop->free_watches != NULL) {
        torsion_uv_watch *watch = loop->free_watches;
        loop->free_watches = watch->next;
        uv_close((uv_handle_t *)&watch->poll, closed);
    }
}
