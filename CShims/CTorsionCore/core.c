/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_core.h"

#include <errno.h>
#include <poll.h>
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

int torsion_write_standard_error(const void *bytes, size_t count) {
    struct iovec run = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
    if (!is_regular_file(STDERR_FILENO)) {
        ssize_t written = pwritev2(STDERR_FILENO, &run, 1, -1, RWF_NOWAIT);
        if (written >= 0) return 1;
        if (errno == EAGAIN || !has_room(STDERR_FILENO)) return 0;
    }
    ssize_t written = write(STDERR_FILENO, bytes, count);
    return written >= 0 || errno != EAGAIN;
}
