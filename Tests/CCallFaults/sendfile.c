/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_call_faults.h"

#include <poll.h>
#include <stddef.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local void (*breaking)(void *);
static _Thread_local void *breaking_context;

void torsion_break_in_sendfile(void (*body)(void *context), void *context) {
    breaking = body;
    breaking_context = context;
}

ssize_t sendfile(int socket, int file, off_t *offset, size_t count) {
    if (breaking == NULL || count < 2)
        return syscall(SYS_sendfile, socket, file, offset, count);
    ssize_t first = syscall(SYS_sendfile, socket, file, offset, count / 2);
    if (first <= 0) return first;
    void (*body)(void *) = breaking;
    breaking = NULL;
    body(breaking_context);
    struct pollfd broken = {.fd = socket};
    poll(&broken, 1, 5000);
    /* As the kernel's own next step: its error is lost behind what the first has sent. */
    ssize_t second = syscall(SYS_sendfile, socket, file, offset, count - (size_t)first);
    return second > 0 ? first + second : first;
}
