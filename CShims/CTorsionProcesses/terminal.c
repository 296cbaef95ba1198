/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_processes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* Terminals in raw mode, for whoever ends the process: its exit, or a signal that nobody handles. */

enum { SLOT_LIMIT = 16 };
enum state { SLOT_FREE, SLOT_RAW };

struct slot {
    /* Written last, and first to be read by a signal's handler. */
    _Atomic int state;
    int descriptor;
    int user_count;
    dev_t device;
    struct termios saved, raw;
};

static struct slot slots[SLOT_LIMIT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int is_registered;
/* A child by fork(2) that exits has the table, and not the terminal. */
static pid_t owner;

/* Whether a signal ends a process unless it is handled: signal(7). Not SIGKILL, which cannot be. */
static int is_end(int number) {
    switch (number) {
    case SIGKILL:
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
    case SIGCONT:
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
        return 0;
    default:
        /* The C library has the first of those of real time for its threads. */
        return number < 32 || number >= SIGRTMIN;
    }
}

/* A process in the background must leave the terminal to others: it would be stopped by SIGTTOU. */
static int is_in_background(int descriptor) {
    pid_t group = tcgetpgrp(descriptor);
    return group > 0 && group != getpgrp();
}

/* Everything here may be called by a signal's handler: signal-safety(7). */
static void set_all(int is_raw) {
    if (getpid() != owner) return;
    for (int index = 0; index < SLOT_LIMIT; index++) {
        struct slot *slot = &slots[index];
        if (atomic_load(&slot->state) != SLOT_RAW || is_in_background(slot->descriptor)) continue;
        tcsetattr(slot->descriptor, TCSANOW, is_raw ? &slot->raw : &slot->saved);
    }
}

static void restore_all(void) { set_all(0); }

/* Whoever ends the process by a signal that it had handled itself calls this before, if it is linked. */
void torsion_before_death_by_signal(void);
void torsion_before_death_by_signal(void) { restore_all(); }

/* The default action follows, when the handler returns. */
static void end_by_signal(int number) {
    int code = errno;
    restore_all();
    signal(number, SIG_DFL);
    raise(number);
    errno = code;
}

static void catch(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    /* A stack that has overflowed cannot run it. */
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void stop_by_signal(int number) {
    int code = errno;
    restore_all();
    signal(number, SIG_DFL);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    raise(number);
    /* Here it stops, and goes on when somebody says so. */
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    catch(number, stop_by_signal);
    set_all(1);
    errno = code;
}

static void go_on(int number) {
    (void)number;
    int code = errno;
    set_all(1);
    errno = code;
}

static int has_handler(int number, void (*handler)(int)) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
           action.sa_handler == handler;
}

static void exchange(int number, void (*former)(int), void (*next)(int)) {
    if (!has_handler(number, former)) return;
    if (next == SIG_DFL)
        signal(number, SIG_DFL);
    else
        catch(number, next);
}

static void catch_all(int is_wanted) {
    for (int number = 1; number <= SIGRTMAX; number++) {
        if (!is_end(number)) continue;
        is_wanted ? exchange(number, SIG_DFL, end_by_signal)
                  : exchange(number, end_by_signal, SIG_DFL);
    }
    is_wanted ? exchange(SIGTSTP, SIG_DFL, stop_by_signal)
              : exchange(SIGTSTP, stop_by_signal, SIG_DFL);
    is_wanted ? exchange(SIGCONT, SIG_DFL, go_on) : exchange(SIGCONT, go_on, SIG_DFL);
}

int torsion_terminal_window_signal(void) { return SIGWINCH; }

int torsion_terminal_open(void) {
    int result = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    return result >= 0 ? result : -errno;
}

int torsion_terminal_size(int descriptor, int *rows, int *columns) {
    struct winsize size;
    if (ioctl(descriptor, TIOCGWINSZ, &size) != 0) return errno;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return 0;
}

static int count_raw(void) {
    int count = 0;
    for (int index = 0; index < SLOT_LIMIT; index++) count += slots[index].state == SLOT_RAW;
    return count;
}

static int make_raw(int descriptor, dev_t device) {
    struct slot *slot = NULL;
    for (int index = SLOT_LIMIT - 1; index >= 0; index--) {
        if (slots[index].state == SLOT_FREE) {
            slot = &slots[index];
        } else if (slots[index].device == device) {
            slots[index].user_count++;
            return index;
        }
    }
    if (slot == NULL) return -EMFILE;
    /* Its own number, since the caller's may be closed, and another's, when a signal comes. */
    int own = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    if (own < 0) return -errno;
    struct termios mode;
    if (tcgetattr(own, &mode) != 0) goto failed;
    slot->saved = mode;
    cfmakeraw(&mode);
    slot->raw = mode;
    if (!is_registered) {
        if (atexit(restore_all) != 0) {
            errno = ENOMEM;
            goto failed;
        }
        is_registered = 1;
    }
    owner = getpid();
    slot->descriptor = own;
    slot->device = device;
    slot->user_count = 1;
    if (count_raw() == 0) catch_all(1);
    atomic_store(&slot->state, SLOT_RAW);
    if (tcsetattr(own, TCSANOW, &slot->raw) == 0) return (int)(slot - slots);
    atomic_store(&slot->state, SLOT_FREE);
    if (count_raw() == 0) catch_all(0);
failed:;
    int code = errno;
    close(own);
    return -code;
}

int torsion_terminal_make_raw(int descriptor) {
    struct stat status;
    if (fstat(descriptor, &status) != 0) return -errno;
    if (!isatty(descriptor)) return -ENOTTY;
    /* tcsetattr(3) would stop the process. */
    if (is_in_background(descriptor)) return -EIO;
    pthread_mutex_lock(&lock);
    int result = make_raw(descriptor, status.st_rdev);
    pthread_mutex_unlock(&lock);
    return result;
}

int torsion_terminal_restore(int index) {
    int code = 0;
    pthread_mutex_lock(&lock);
    struct slot *slot = &slots[index];
    if (--slot->user_count == 0) {
        if (!is_in_background(slot->descriptor) &&
            tcsetattr(slot->descriptor, TCSANOW, &slot->saved) != 0)
            code = errno;
        atomic_store(&slot->state, SLOT_FREE);
        if (count_raw() == 0) catch_all(0);
        close(slot->descriptor);
    }
    pthread_mutex_unlock(&lock);
    return code;
}
