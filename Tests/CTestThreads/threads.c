/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Runs the tests' tasks on more threads than there are cores.
//
// Most tests run a reactor inside the test's function, so that they hold their thread while they wait for the
// kernel. Swift's own pool has as many threads as there are cores: with two of them both may wait while
// hundreds of tests are queued, and a task that a test starts and waits for comes behind these. The Makefile
// bounds how many tests run at the same time (TEST_WIDTH); with more threads than that, whatever is ready runs.
//
// swift_task_enqueueGlobal_hook is the runtime's own door for this (ConcurrencyHooks.def), and every job that
// belongs to no actor with an executor comes through it. Jobs run in the order in which they came.
#include "test_threads.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREAD_LIMIT = 24 };

struct job;
// A serial executor as the runtime passes it; two null words mean none.
struct executor { void *identity, *implementation; };
typedef __attribute__((swiftcall)) void enqueue_function(struct job *);

extern __attribute__((swiftcall)) void swift_job_run(struct job *, struct executor);
extern __attribute__((swiftcall)) void (*swift_task_enqueueGlobal_hook)(struct job *, enqueue_function *original);

struct entry {
    struct entry *next;
    struct job *job;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct entry *first, **end = &first;
static int queued, idle, threads;

static void *serve(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&mutex);
        idle++;
        while (!first) pthread_cond_wait(&more, &mutex);
        idle--;
        queued--;
        struct entry *entry = first;
        first = entry->next;
        if (!first) end = &first;
        pthread_mutex_unlock(&mutex);
        struct job *job = entry->job;
        free(entry);
        swift_job_run(job, (struct executor){0});
    }
    return NULL;
}

static void add_thread(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, NULL) != 0) {
        if (!threads) abort();
        return;
    }
    pthread_detach(thread);
    threads++;
}

static __attribute__((swiftcall)) void enqueue(struct job *job, enqueue_function *original) {
    struct entry *entry = malloc(sizeof *entry);
    // Without memory the runtime's own pool still takes it.
    if (!entry) return original(job);
    *entry = (struct entry){.job = job};
    pthread_mutex_lock(&mutex);
    *end = entry;
    end = &entry->next;
    queued++;
    if (queued > idle && threads < THREAD_LIMIT) add_thread();
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&mutex);
}

__attribute__((constructor)) static void install(void) { swift_task_enqueueGlobal_hook = enqueue; }
