/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_call_faults.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local int failing_number, passing_count, failing_count, failed_count;

void torsion_fail_watches(int number, int passing, int failing) {
    failing_number = number;
    passing_count = passing;
    failing_count = failing;
    failed_count = 0;
}

int torsion_failed_watches(void) { return failed_count; }

int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event) {
    if (operation == EPOLL_CTL_ADD && failing_count > 0) {
        if (passing_count == 0) {
            failing_count--;
            failed_count++;
            errno = failing_number;
            return -1;
        }
        passing_count--;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, descriptor, event);
}
