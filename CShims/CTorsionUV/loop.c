/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

/* A deadline passed. uv_run(UV_RUN_ONCE) runs due timers before it polls, too, and would then
 * block without one: stopping the loop makes that poll return at once. */
static void deadline_passed(uv_timer_t *timer) {
    torsion_uv_loop *loop = timer->data;
    loop->timer_ms = TORSION_UV_NO_DEADLINE;
    uv_stop(&loop->loop);
}

/* libuv 1.44 leaves its epoll descriptor open when a later part fails; newer ones close it, and say
 * so by -1. It is 0 when libuv did not come so far. */
static void close_what_init_left(uv_loop_t *loop) {
    int epoll = uv_backend_fd(loop);
    if (epoll > 0) close(epoll);
}

/* Whether there are as many descriptors as the first uv_loop_init() of the process takes before it
 * aborts for want of them: an epoll, and both ends of the pipe that carries signals. Under the lock, so
 * that no loop of ours takes them in between; whatever else opens something may. */
static int check_room(void) {
    int epoll = epoll_create1(EPOLL_CLOEXEC), ends[2];
    int code = epoll < 0 || pipe2(ends, O_CLOEXEC) != 0 ? uv_translate_sys_error(errno) : 0;
    if (code == 0) {
        close(ends[0]);
        close(ends[1]);
    }
    if (epoll >= 0) close(epoll);
    return code;
}

static int init_loop(uv_loop_t *loop) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int has_pipe;
    pthread_mutex_lock(&lock);
    int code = has_pipe ? 0 : check_room();
    if (code == 0) {
        has_pipe = 1;
        code = uv_loop_init(loop);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

int torsion_uv_loop_new(torsion_uv_loop **result) {
    *result = NULL;
    torsion_uv_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) return UV_ENOMEM;
    loop->epoll = loop->probe = -1;
    int code = init_loop(&loop->loop);
    if (code != 0) {
        close_what_init_left(&loop->loop);
        free(loop);
        return code;
    }
    uv_timer_init(&loop->loop, &loop->timer);
    loop->timer.data = loop;
    loop->timer_ms = TORSION_UV_NO_DEADLINE;
    *result = loop;
    return 0;
}

/* Runs what is left, closing callbacks and look-ups under way, and frees the loop. */
static void finish(torsion_uv_loop *loop) {
    uv_run(&loop->loop, UV_RUN_DEFAULT);
    torsion_uv_require(uv_loop_close(&loop->loop) == 0, "a loop was freed with a handle open");
    free(loop);
}

static void *finish_on_thread(void *context) {
    finish(context);
    return NULL;
}

void torsion_uv_loop_free(torsion_uv_loop *loop) {
    torsion_uv_require(loop->open_count == 0, "a loop was freed with something open");
    uv_close((uv_handle_t *)&loop->timer, NULL);
    torsion_uv_watch_drain(loop);
    /* getaddrinfo(3) cannot be interrupted, and ends by a message to this loop. */
    pthread_t thread;
    if (loop->lookup_count > 0 && pthread_create(&thread, NULL, finish_on_thread, loop) == 0)
        pthread_detach(thread);
    else
        finish(loop);
}

void torsion_uv_loop_turn(torsion_uv_loop *loop, uint64_t deadline_ns) {
    loop->turn += 1;
    if (__builtin_expect(loop->has_stray, 0)) torsion_uv_watch_shed_strays(loop);
    if (loop->closed_watches != NULL) {
        torsion_uv_watch_tell_closed(loop);
        deadline_ns = 0;
    }
    if (deadline_ns == TORSION_UV_NO_DEADLINE) {
        if (loop->timer_ms != TORSION_UV_NO_DEADLINE) {
            uv_timer_stop(&loop->timer);
            loop->timer_ms = TORSION_UV_NO_DEADLINE;
        }
        uv_run(&loop->loop, UV_RUN_ONCE);
        return;
    }
    /* uv_now() is the same clock in whole milliseconds, read at the last poll. */
    uint64_t deadline_ms = deadline_ns / 1000000 + (deadline_ns % 1000000 != 0);
    uint64_t now_ms = uv_now(&loop->loop);
    if (deadline_ms <= now_ms) {
        uv_run(&loop->loop, UV_RUN_NOWAIT);
        return;
    }
    if (deadline_ms != loop->timer_ms) {
        uv_timer_start(&loop->timer, deadline_passed, deadline_ms - now_ms, 0);
        loop->timer_ms = deadline_ms;
    }
    uv_run(&loop->loop, UV_RUN_ONCE);
}

int torsion_uv_loop_descriptor(const torsion_uv_loop *loop) { return uv_backend_fd(&loop->loop); }

uint64_t torsion_uv_loop_deadline_ns(torsion_uv_loop *loop) {
    if (!uv_loop_alive(&loop->loop)) return TORSION_UV_NO_DEADLINE;
    int timeout_ms = uv_backend_timeout(&loop->loop);
    if (timeout_ms < 0) return TORSION_UV_NO_DEADLINE;
    /* It counts from uv_now(), which may be long ago. */
    return timeout_ms == 0 ? 0 : (uv_now(&loop->loop) + (uint64_t)timeout_ms) * 1000000;
}

uint64_t torsion_uv_now_ns(void) { return uv_hrtime(); }

const char *torsion_uv_error_name(int code) {
    /* uv_err_name() allocates for a code that it does not know, and leaks it. */
    static const char unknown[] = "unknown";
    switch (code) {
#define NAME(name, text) \
    case UV_##name:      \
        return #name;
        UV_ERRNO_MAP(NAME)
#undef NAME
    default:
        return unknown;
    }
}

const char *torsion_uv_error_text(int code) {
    switch (code) {
#define TEXT(name, text) \
    case UV_##name:      \
        return text;
        UV_ERRNO_MAP(TEXT)
#undef TEXT
    default:
        return "unknown error";
    }
}
