/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_core.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#if TORSION_THREAD_ID_IS_A_FUNCTION
/* The address of a thread's own variable: unique among live threads, and one instruction to take. */
static _Thread_local char here;

uintptr_t torsion_thread_id(void) { return (uintptr_t)&here; }
#endif

void torsion_release_free_memory(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

size_t torsion_process_name(char *buffer, size_t size) {
#ifdef __linux__
    const char *name = program_invocation_short_name;
#else
    const char *name = getprogname();
#endif
    int count = snprintf(buffer, size, "%.64s[%ld]", name, (long)getpid());
    if (count < 0 || size == 0) return 0;
    return (size_t)count < size ? (size_t)count : size - 1;
}

static int is_regular_file(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

/* For what pwritev2(2) cannot write without waiting: a terminal, a pipe before Linux 6.4. A pipe that
 * is writable has room for PIPE_BUF bytes, unless another process fills it in between. */
static int has_room(int descriptor) {
    struct pollfd asked = {.fd = descriptor, .events = POLLOUT};
    return poll(&asked, 1, 0) == 1 && asked.revents != 0;
}

/* Whether the last write took a part only, as a socket may: what follows must not go on in that line. */
static atomic_bool is_cut;

/* Returns the number of bytes, or -1 if the write would have had to wait. */
static ssize_t write_at_once(const struct iovec *runs, int count) {
    if (!is_regular_file(STDERR_FILENO)) {
        ssize_t written = pwritev2(STDERR_FILENO, runs, count, -1, RWF_NOWAIT);
        if (written >= 0) return written;
        if (errno == EAGAIN || !has_room(STDERR_FILENO)) return -1;
    }
    ssize_t written = writev(STDERR_FILENO, runs, count);
    if (written >= 0) return written;
    return errno == EAGAIN ? -1 : SSIZE_MAX;
}

int torsion_write_standard_error(const void *bytes, size_t count) {
    static const char line_end = '\n';
    struct iovec runs[] = {
        {.iov_base = (void *)(uintptr_t)&line_end, .iov_len = 1},
        {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count},
    };
    int was_cut = atomic_exchange(&is_cut, false);
    size_t asked = count + (was_cut ? 1 : 0);
    ssize_t written = was_cut ? write_at_once(runs, 2) : write_at_once(runs + 1, 1);
    if (written < 0) {
        if (was_cut) atomic_store(&is_cut, true);
        return 0;
    }
    if ((size_t)written >= asked) return 1;
    /* Of the line end alone, nothing of this text is there. */
    if (written > was_cut) atomic_store(&is_cut, true);
    return 0;
}

void torsion_write_all_to_standard_error(const void *bytes, size_t count) {
    const char *rest = bytes;
    if (atomic_exchange(&is_cut, false)) torsion_write_all_to_standard_error("\n", 1);
    while (count > 0) {
        ssize_t written = write(STDERR_FILENO, rest, count);
        if (written >= 0) {
            rest += written;
            count -= (size_t)written;
        } else if (errno == EAGAIN) {
            /* Another process has made it non-blocking. */
            struct pollfd asked = {.fd = STDERR_FILENO, .events = POLLOUT};
            poll(&asked, 1, -1);
        } else if (errno != EINTR) {
            return;
        }
    }
}
