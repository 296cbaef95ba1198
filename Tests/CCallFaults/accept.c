/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_call_faults.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local int failing_number, failing_count, calls;

void torsion_fail_accepts(int number, int count) {
    failing_number = number;
    failing_count = count;
    calls = 0;
}

int torsion_accept_calls(void) { return calls; }

/* The linker prefers a program's own function to the C library's. */
int accept4(int descriptor, struct sockaddr *address, socklen_t *size, int flags) {
    calls++;
    if (failing_count > 0) {
        failing_count--;
        errno = failing_number;
        return -1;
    }
    return (int)syscall(SYS_accept4, descriptor, address, size, flags);
}
