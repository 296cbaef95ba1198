/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Parts of libuv, as `torsion-parts` measures those of Torsion: `parts PART COUNT [SIZE]` prints the
// nanoseconds of one time.
//
// timers: uv_timer_start() and uv_timer_stop() of one handle, SIZE others being started.
// flood:  COUNT calls from one other thread, each a node pushed on a lock-free list (as good as it
//         gets with one consumer that takes all at once) and uv_async_send().
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static uint64_t state = 1;

static uint64_t next_delay(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return 1000 + (state >> 33) % 59000;
}

static void on_timer(uv_timer_t *timer) { (void)timer; }

static void once(uv_timer_t *timer) {
    uv_timer_start(timer, on_timer, next_delay(), 0);
    uv_timer_stop(timer);
}

static void timers(long count, long pending) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    uv_timer_t *others = calloc(pending ? (size_t)pending : 1, sizeof *others);
    for (long i = 0; i < pending; i++) {
        uv_timer_init(&loop, &others[i]);
        uv_timer_start(&others[i], on_timer, next_delay(), 0);
    }
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    for (long i = 0; i < count / 10; i++) once(&timer);
    uint64_t start = uv_hrtime();
    for (long i = 0; i < count; i++) once(&timer);
    printf("%f\n", (double)(uv_hrtime() - start) / (double)count);
}

struct call {
    struct call *next;
    void (*body)(void *argument);
    void *argument;
};

static _Atomic(struct call *) calls;
static uv_async_t wake;
static long total;
static long counter;
static uint64_t flood_start;

static void count_up(void *argument) { ++*(long *)argument; }

static void on_wake(uv_async_t *async) {
    struct call *newest = atomic_exchange_explicit(&calls, NULL, memory_order_acquire);
    struct call *oldest = NULL;
    while (newest) {
        struct call *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct call *call = oldest;
        oldest = call->next;
        call->body(call->argument);
        free(call);
    }
    if (counter < total) return;
    printf("%f\n", (double)(uv_hrtime() - flood_start) / (double)total);
    uv_close((uv_handle_t *)async, NULL);
}

static void *flood_from_thread(void *context) {
    (void)context;
    flood_start = uv_hrtime();
    for (long i = 0; i < total; i++) {
        struct call *call = malloc(sizeof *call);
        call->body = count_up;
        call->argument = &counter;
        call->next = atomic_load_explicit(&calls, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&calls, &call->next, call,
                                                      memory_order_release, memory_order_relaxed)) {
        }
        uv_async_send(&wake);
    }
    return NULL;
}

static void flood(long count) {
    uv_loop_t loop;
    pthread_t thread;
    total = count;
    uv_loop_init(&loop);
    uv_async_init(&loop, &wake, on_wake);
    pthread_create(&thread, NULL, flood_from_thread, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv) {
    if (argc >= 3 && !strcmp(argv[1], "timers")) {
        timers(atol(argv[2]), argc > 3 ? atol(argv[3]) : 0);
    } else if (argc >= 3 && !strcmp(argv[1], "flood")) {
        flood(atol(argv[2]));
    } else {
        fprintf(stderr, "usage: parts timers|flood COUNT [SIZE]\n");
        return 2;
    }
    return 0;
}
