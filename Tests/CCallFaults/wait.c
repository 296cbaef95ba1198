/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_call_faults.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local int failing_number, failing_count, failing_names;

void torsion_fail_waits(int number, int count) {
    failing_number = number;
    failing_count = count;
}

static int fails(void) {
    if (failing_count == 0) return 0;
    failing_count--;
    return 1;
}

int epoll_wait(int epoll, struct epoll_event *events, int capacity, int timeout) {
    if (fails()) {
        errno = failing_number;
        return -1;
    }
    return (int)syscall(SYS_epoll_pwait, epoll, events, capacity, timeout, NULL, _NSIG / 8);
}

/* liburing's, which returns the negative errno. */
int io_uring_enter2(unsigned int ring, unsigned int count, unsigned int wanted, unsigned int flags,
                    void *argument, size_t size) {
    if (fails()) return -failing_number;
    long result = syscall(SYS_io_uring_enter, ring, count, wanted, flags, argument, size);
    return result < 0 ? -errno : (int)result;
}

void torsion_fail_names(int number) { failing_names = number; }

int getsockname(int descriptor, struct sockaddr *address, socklen_t *size) {
    if (failing_names != 0) {
        errno = failing_names;
        return -1;
    }
    return (int)syscall(SYS_getsockname, descriptor, address, size);
}

int torsion_forbid_ring_calls(void) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof steps / sizeof *steps, .filter = steps};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
