/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* Readiness over uv_poll_t (libuv 1.44, src/unix/poll.c and epoll.c), with five additions.
 *
 * Each number of a descriptor has its handle, which stays started until the loop ends: libuv's own
 * table leads from the number to it. uv_poll_init() costs three system calls (a trial registration,
 * undone, and FIONBIO), uv_poll_start() one to remove what may be left of the number, and uv_close()
 * makes the next poll return at once, for the closing callbacks. A new one is initialised on an
 * eventfd, `probe`, so that FIONBIO never touches a descriptor of the caller.
 *
 * epoll is told at once, by ourselves: opening, changing and closing a watch are one epoll_ctl(2)
 * each. uv_poll_start() leaves it to the next uv_run(), which aborts if that fails, so that one
 * would have to ask before what can be watched, and then whether somebody has closed it since.
 * uv_poll_stop() takes what the batch being delivered holds for the number out of it; here the first
 * event is looked at (`first_event`), since the number may be another descriptor's by then.
 *
 * Errors are level-triggered and say the same as epoll_wait(2). libuv reports EPOLLERR as UV_EBADF
 * after stopping the handle, without the other events: here the handle is started again, and
 * poll(2) asked what there is. libuv cannot wait for nothing but errors: interest in
 * UV_PRIORITIZED stands for that.
 *
 * A readable descriptor is told without uv__poll_io(), which translates what it found (28
 * instructions) and is left all the rest. libuv 1.52 has no callback here to put ours before.
 *
 * A descriptor that is found to be closed by somebody is told as an error, in the next turn. While
 * another one of the same file is open, here or in a child, epoll goes on to report it, and by its
 * number nobody can end that. So all that the loop waits for is moved to another epoll, which takes
 * the number of the first. What other threads wake the loop by is moved like the rest, and stays
 * open, as it would not in uv_loop_fork(). */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TAKES_READABLE_DIRECTLY (UV_VERSION_HEX < 0x013400)
/* From 1.45 on libuv may have put a ring of its own into its epoll, which nobody else can move. */
#define OWNS_ITS_EPOLL (UV_VERSION_HEX >= 0x012d00)

struct torsion_uv_watch {
    uv_poll_t poll; /* first: a pointer to it is one to the watch */
    /* Who is told of the next event: `user`, `first_event`, or nobody while no watch is open. */
    torsion_uv_watch_event event;
    void *context;
    torsion_uv_watch_event user;
    void *user_context;
    torsion_uv_loop *loop;
    uint64_t opened_turn;
    torsion_uv_watch *next, *previous; /* in the list of closed ones */
    int is_listed;
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

/* While no watch is open. */
static void nobody(void *context, int events) { (void)context, (void)events; }

/* What the batch held for the number when the watch was opened is somebody else's. Level-triggered,
 * so that nothing is lost. */
static void first_event(void *context, int events) {
    torsion_uv_watch *watch = context;
    if (watch->opened_turn == watch->loop->turn) return;
    watch->event = watch->user;
    watch->context = watch->user_context;
    watch->event(watch->context, events);
}

static int uv_events(int events) { return events != 0 ? events : UV_PRIORITIZED; }

static uint32_t epoll_events(int events) {
    uint32_t result = 0;
    if (events & UV_READABLE) result |= EPOLLIN;
    if (events & UV_WRITABLE) result |= EPOLLOUT;
    if (events & UV_DISCONNECT) result |= EPOLLRDHUP;
    if (events & UV_PRIORITIZED) result |= EPOLLPRI;
    return result;
}

/* The descriptor was found to be closed. */
static void link_closed(torsion_uv_watch *watch) {
    if (watch->is_listed) return;
    torsion_uv_loop *loop = watch->loop;
    watch->is_listed = 1;
    watch->previous = NULL;
    watch->next = loop->closed_watches;
    if (watch->next != NULL) watch->next->previous = watch;
    loop->closed_watches = watch;
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

void torsion_uv_watch_tell_closed(torsion_uv_loop *loop) {
    while (loop->closed_watches != NULL) {
        torsion_uv_watch *watch = loop->closed_watches;
        unlink_closed(watch);
        watch->event(watch->context, TORSION_UV_ERROR);
    }
}

static int is_active(torsion_uv_watch *watch) {
    return uv_is_active((uv_handle_t *)&watch->poll);
}

/* Tells epoll what to watch for, and libuv what epoll was told. */
static int control(torsion_uv_watch *watch, int operation) {
    uv__io_t *io = &watch->poll.io_watcher;
    struct epoll_event wanted = {.events = epoll_events(watch->events), .data.fd = io->fd};
    int epoll = uv_backend_fd(&watch->loop->loop);
    int result = epoll_ctl(epoll, operation, io->fd, &wanted);
    /* What had this number before lives on in another process, or has come back. */
    if (result != 0 && operation == EPOLL_CTL_ADD && errno == EEXIST)
        result = epoll_ctl(epoll, EPOLL_CTL_MOD, io->fd, &wanted);
    if (result != 0) return uv_translate_sys_error(errno);
    io->pevents = io->events = wanted.events;
    return 0;
}

/* A link of libuv's queues, whatever its version calls it. */
struct link {
    struct link *next, *previous;
};

/* Starts the handle if need be, and has epoll watch for its descriptor. */
static int arm(torsion_uv_watch *watch) {
    if (!is_active(watch)) {
        int code = uv_poll_start(&watch->poll, watch->events, watch_ready);
        if (code != 0) return code;
        /* Else libuv would tell epoll in its next poll. */
        struct link *link = (void *)&watch->poll.io_watcher.watcher_queue;
        link->next->previous = link->previous;
        link->previous->next = link->next;
        link->next = link->previous = link;
    }
    int code = control(watch, EPOLL_CTL_ADD);
    if (code != 0) uv_poll_stop(&watch->poll);
    return code;
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
        /* Closed by somebody. Or an urgent byte, which nobody reads: to be told again and again
         * would be a busy loop of the peer's. */
        uv_poll_stop(&watch->poll);
        if (found & POLLNVAL) watch->loop->has_stray = 1;
    } else if (status != 0 && arm(watch) != 0) {
        watch->loop->has_stray = 1;
        link_closed(watch);
        return;
    }
    if (events != 0) watch->event(watch->context, events);
}

static void watch_ready(uv_poll_t *poll, int status, int events) {
    torsion_uv_watch *watch = (torsion_uv_watch *)poll;
    if (watch->event == nobody) return;
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

/* The handle of a descriptor's number; NULL if there is no memory for one. */
static torsion_uv_watch *handle_of(torsion_uv_loop *loop, int descriptor) {
    if (descriptor >= loop->watch_count) {
        int count = loop->watch_count > 0 ? loop->watch_count : 64;
        while (count <= descriptor) count *= 2;
        torsion_uv_watch **watches = realloc(loop->watches, (size_t)count * sizeof *watches);
        if (watches == NULL) return NULL;
        for (int i = loop->watch_count; i < count; i++) watches[i] = NULL;
        loop->watches = watches;
        loop->watch_count = count;
    }
    torsion_uv_watch *watch = loop->watches[descriptor];
    /* One that has stopped itself is left its watch, which may be open for long. */
    if (watch != NULL && (watch->event == nobody || is_active(watch))) return watch;
    watch = malloc(sizeof *watch);
    if (watch == NULL || uv_poll_init(&loop->loop, &watch->poll, loop->probe) != 0) {
        free(watch);
        return NULL;
    }
    watch->poll.io_watcher.fd = descriptor;
#if TAKES_READABLE_DIRECTLY
    watch->translate = watch->poll.io_watcher.cb;
    watch->poll.io_watcher.cb = io_ready;
#endif
    watch->loop = loop;
    watch->event = nobody;
    watch->is_listed = 0;
    loop->watches[descriptor] = watch;
    return watch;
}

int torsion_uv_watch_open(torsion_uv_loop *loop, int descriptor, int events, void *context,
                          torsion_uv_watch_event event, torsion_uv_watch **result) {
    *result = NULL;
    torsion_uv_require((events & ~ASKABLE) == 0, "a watch was opened for unknown events");
    if (descriptor < 0) return UV_EBADF;
    torsion_uv_watch *watch = handle_of(loop, descriptor);
    if (watch == NULL) return UV_ENOMEM;
    if (watch->event != nobody) return UV_EEXIST;
    watch->events = uv_events(events);
    int code = arm(watch);
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
    watch->events = uv_events(events);
    if (!is_active(watch)) {
        /* It stopped itself. */
        if (arm(watch) != 0) link_closed(watch);
    } else if (control(watch, EPOLL_CTL_MOD) != 0) {
        watch->loop->has_stray = 1;
        uv_poll_stop(&watch->poll);
        link_closed(watch);
    }
}

static void closed(uv_handle_t *handle) { free(handle); }

void torsion_uv_watch_close(torsion_uv_watch *watch) {
    torsion_uv_loop *loop = watch->loop;
    uv__io_t *io = &watch->poll.io_watcher;
    unlink_closed(watch);
    watch->event = nobody;
    loop->open_count -= 1;
    if (loop->watches[io->fd] != watch) {
        /* It had stopped itself, and the number has another handle, which libuv must not stop. */
        io->fd = loop->probe;
        uv_close((uv_handle_t *)&watch->poll, closed);
    } else if (is_active(watch)) {
        if (epoll_ctl(uv_backend_fd(&loop->loop), EPOLL_CTL_DEL, io->fd, NULL) != 0)
            loop->has_stray = 1;
        io->pevents = io->events = 0;
    }
}

#if !OWNS_ITS_EPOLL
/* Registers all that the loop waits for with another epoll; zero `events` are not registered, or
 * not yet. Returns whether the kernel had the memory for it. */
static int register_all(torsion_uv_loop *loop, int epoll) {
    for (unsigned int number = 0; number < loop->loop.nwatchers; number++) {
        uv__io_t *io = loop->loop.watchers[number];
        if (io == NULL || io->events == 0) continue;
        struct epoll_event event = {.events = io->events, .data.fd = io->fd};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, io->fd, &event) == 0) continue;
        if (errno == ENOMEM || errno == ENOSPC) return 0;
        torsion_uv_require(io->cb == io_ready, "a descriptor of libuv's own was closed");
        torsion_uv_watch *watch =
            (torsion_uv_watch *)((char *)io - offsetof(torsion_uv_watch, poll.io_watcher));
        uv_poll_stop(&watch->poll);
        link_closed(watch);
    }
    return 1;
}
#endif

void torsion_uv_watch_shed_strays(torsion_uv_loop *loop) {
#if OWNS_ITS_EPOLL
    loop->has_stray = 0;
#else
    /* Without the memory for it, all stay where they are, and the next turn tries again. */
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return;
    if (register_all(loop, epoll) && dup3(epoll, uv_backend_fd(&loop->loop), O_CLOEXEC) >= 0)
        loop->has_stray = 0;
    close(epoll);
#endif
}

void torsion_uv_watch_drain(torsion_uv_loop *loop) {
    for (int i = 0; i < loop->watch_count; i++)
        if (loop->watches[i] != NULL) uv_close((uv_handle_t *)&loop->watches[i]->poll, closed);
    free(loop->watches);
    loop->watches = NULL;
    loop->watch_count = 0;
}
