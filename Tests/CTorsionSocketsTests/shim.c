/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* What of the sockets' shim depends on the C library and the kernel: see scripts/test-shim. Prints
 * the checks that fail; status 0 if none did. */
#define _GNU_SOURCE
#include "torsion_sockets.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/utsname.h>

#include "torsion_call_faults.h"

static int failures;
#define CHECK(condition)                                                   \
    do {                                                                   \
        if (!(condition)) {                                                \
            failures += 1;                                                 \
            printf("line %d in %s: %s\n", __LINE__, __func__, #condition); \
        }                                                                  \
    } while (0)

static void waits_as_long_as_it_was_asked(int64_t nanoseconds) {
    int epoll = torsion_epoll_create(), wake = torsion_eventfd_create();
    struct epoll_event event;
    CHECK(torsion_epoll_control(epoll, EPOLL_CTL_ADD, wake, EPOLLIN, &event) == 0);
    uint64_t start = torsion_monotonic_nanoseconds();
    CHECK(torsion_epoll_wait(epoll, &event, 1, nanoseconds) == 0);
    CHECK(torsion_monotonic_nanoseconds() - start >= (uint64_t)nanoseconds);
    uint64_t one = 1;
    CHECK(torsion_write(wake, &one, sizeof one) == sizeof one);
    CHECK(torsion_epoll_wait(epoll, &event, 1, 60000000000) == 1 && event.events == EPOLLIN);
    CHECK(torsion_epoll_wait(epoll, &event, 1, -1) == 1);
    CHECK(torsion_epoll_wait(epoll, &event, 1, 0) == 1);
    torsion_close(epoll);
    torsion_close(wake);
}

static void wait_for_some_times(void) {
    const int64_t times[] = {1, 400000, 1000000, 2500000};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) waits_as_long_as_it_was_asked(times[i]);
}

/* epoll_pwait2(2) is 441 on every architecture. */
static void *wait_without_the_precise_call(void *error) {
    CHECK(torsion_refuse_call(441, *(int *)error) == 0);
    wait_for_some_times();
    return NULL;
}

static void run_on_a_thread(int error) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_without_the_precise_call, &error) == 0);
    pthread_join(thread, NULL);
}

int main(void) {
    wait_for_some_times();
    run_on_a_thread(ENOSYS);
    run_on_a_thread(EPERM);
    struct utsname kernel;
    uname(&kernel);
    printf("sockets, glibc %s, Linux %s: %s\n", gnu_get_libc_version(), kernel.release,
           failures == 0 ? "all checks passed" : "failed");
    return failures != 0;
}
