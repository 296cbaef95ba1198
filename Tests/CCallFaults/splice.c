/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_call_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local void (*breaking)(void *);
static _Thread_local void *breaking_context;
static _Thread_local int failing_pipes, pipe_calls, has_small_pipes, failing_splices;
static _Thread_local long spliced;

void torsion_break_in_splice(void (*body)(void *context), void *context) {
    breaking = body;
    breaking_context = context;
}

void torsion_fail_pipes(int number) {
    failing_pipes = number;
    pipe_calls = 0;
}

int torsion_pipe_calls(void) { return pipe_calls; }

void torsion_keep_pipes_small(int is_wanted) { has_small_pipes = is_wanted; }

void torsion_fail_splices(int number) {
    failing_splices = number;
    spliced = 0;
}

long torsion_spliced_bytes(void) { return spliced; }

int pipe2(int ends[2], int flags) {
    pipe_calls++;
    if (failing_pipes != 0) {
        errno = failing_pipes;
        return -1;
    }
    int result = (int)syscall(SYS_pipe2, ends, flags);
    if (result == 0 && has_small_pipes) syscall(SYS_fcntl, ends[1], F_SETPIPE_SZ, 2 * 4096);
    return result;
}

int fcntl(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    /* A number or a pointer: as long as the kernel takes it. */
    long argument = va_arg(arguments, long);
    va_end(arguments);
    if (command == F_SETPIPE_SZ && has_small_pipes) {
        errno = EPERM;
        return -1;
    }
    return (int)syscall(SYS_fcntl, descriptor, command, argument);
}

static int is_socket(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

ssize_t splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t count,
               unsigned int flags) {
    if (failing_splices != 0) {
        errno = failing_splices;
        return -1;
    }
    if (!is_socket(to)) return syscall(SYS_splice, from, from_offset, to, to_offset, count, flags);
    size_t part = breaking == NULL ? count : count / 2;
    ssize_t moved = syscall(SYS_splice, from, from_offset, to, to_offset, part, flags);
    if (moved > 0) spliced += moved;
    if (moved <= 0 || breaking == NULL) return moved;
    void (*body)(void *) = breaking;
    breaking = NULL;
    body(breaking_context);
    struct pollfd broken = {.fd = to};
    poll(&broken, 1, 5000);
    /* As the kernel's own next step: its error is lost behind what the first has moved. */
    ssize_t more = syscall(SYS_splice, from, from_offset, to, to_offset, count - part, flags);
    if (more > 0) spliced += more;
    return more > 0 ? moved + more : moved;
}
