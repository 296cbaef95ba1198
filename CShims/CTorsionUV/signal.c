/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* libuv leaves SIG_DFL behind when the last uv_signal_t of a number stops (src/unix/signal.c, "XXX
 * save old action"). Here the first start saves what was there and the last close brings it back.
 * Between libuv's reset and ours the default action holds for two system calls. */
#include "shim.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

struct torsion_uv_signal {
    uv_signal_t signal; /* first: libuv frees by it */
    torsion_uv_loop *loop;
    torsion_uv_signalled signalled;
    void *context;
    int number;
};

/* For each number: how many catch it, and the action before the first. Under the lock. */
static struct {
    size_t count;
    struct sigaction before;
} caught[NSIG];
static pthread_mutex_t caught_lock = PTHREAD_MUTEX_INITIALIZER;

static void arrived(uv_signal_t *handle, int number) {
    torsion_uv_signal *signal = (torsion_uv_signal *)handle;
    signal->signalled(signal->context, number);
}

static void closed(uv_handle_t *handle) { free(handle); }

static int can_be_caught(int number) {
    switch (number) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
        return 0; /* the instruction at fault would run again, for ever */
    default:
        return number > 0 && number < NSIG;
    }
}

/* Starts the handle, and saves the action that was there if it is the first for this number. */
static int start(torsion_uv_signal *signal) {
    int number = signal->number;
    if (!can_be_caught(number)) return UV_EINVAL;
    pthread_mutex_lock(&caught_lock);
    struct sigaction before;
    sigaction(number, NULL, &before);
    int code = uv_signal_start(&signal->signal, arrived, number);
    if (code == 0) {
        if (caught[number].count == 0) caught[number].before = before;
        caught[number].count += 1;
    }
    pthread_mutex_unlock(&caught_lock);
    return code;
}

int torsion_uv_signal_open(torsion_uv_loop *loop, int number, void *context,
                           torsion_uv_signalled signalled, torsion_uv_signal **result) {
    *result = NULL;
    torsion_uv_signal *signal = malloc(sizeof *signal);
    if (signal == NULL) return UV_ENOMEM;
    int code = uv_signal_init(&loop->loop, &signal->signal);
    if (code != 0) {
        free(signal);
        return code;
    }
    signal->loop = loop;
    signal->signalled = signalled;
    signal->context = context;
    signal->number = number;
    code = start(signal);
    if (code != 0) {
        uv_close((uv_handle_t *)&signal->signal, closed);
        return code;
    }
    loop->open_count += 1;
    *result = signal;
    return 0;
}

void torsion_uv_signal_close(torsion_uv_signal *signal) {
    int number = signal->number;
    pthread_mutex_lock(&caught_lock);
    uv_signal_stop(&signal->signal);
    caught[number].count -= 1;
    if (caught[number].count == 0) sigaction(number, &caught[number].before, NULL);
    pthread_mutex_unlock(&caught_lock);
    signal->loop->open_count -= 1;
    uv_close((uv_handle_t *)&signal->signal, closed);
}

int torsion_uv_signal_is_ignored(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
           action.sa_handler == SIG_IGN;
}

void torsion_uv_ignore_sigpipe(void) {
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) != 0 || action.sa_handler != SIG_DFL) return;
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

/* Of the shim for terminals, which need not be linked: gives back those that are raw. */
extern void torsion_before_death_by_signal(void) __attribute__((weak));

_Noreturn void torsion_uv_die_by_signal(int number) {
    if (torsion_before_death_by_signal != NULL) torsion_before_death_by_signal();
    signal(number, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    /* Reached by a signal whose default is to be ignored: the status a shell would report. */
    _exit(128 + number);
}
