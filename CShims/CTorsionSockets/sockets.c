/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_sockets.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

int torsion_accept(int descriptor, struct sockaddr_storage *address, socklen_t *size) {
    return accept4(descriptor, (struct sockaddr *)address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

_Static_assert(sizeof(struct torsion_message) == sizeof(struct mmsghdr) &&
                   offsetof(struct torsion_message, byte_count) == offsetof(struct mmsghdr, msg_len),
               "a message is an mmsghdr");

int torsion_receive_messages(int descriptor, struct torsion_message *messages, unsigned int count) {
    return recvmmsg(descriptor, (struct mmsghdr *)messages, count, MSG_DONTWAIT, NULL);
}

int torsion_send_messages(int descriptor, struct torsion_message *messages, unsigned int count) {
    return sendmmsg(descriptor, (struct mmsghdr *)messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t torsion_send_file(int socket, int file, int64_t offset, size_t count) {
    off_t position = offset;
    return sendfile(socket, file, &position, count);
}

int torsion_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int torsion_epoll_control(int epoll, int operation, int descriptor, uint32_t events, void *target) {
    struct epoll_event event = {.events = events, .data.ptr = target};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

int torsion_epoll_wait(int epoll, struct epoll_event *events, int capacity, int64_t timeout) {
    if (timeout <= 0) return epoll_wait(epoll, events, capacity, timeout < 0 ? -1 : 0);
    struct timespec wait = {.tv_sec = timeout / 1000000000, .tv_nsec = timeout % 1000000000};
    int count = epoll_pwait2(epoll, events, capacity, &wait, NULL);
    if (count >= 0 || errno != ENOSYS) return count;
    int64_t milliseconds = (timeout + 999999) / 1000000;
    return epoll_wait(epoll, events, capacity, milliseconds > 3600000 ? 3600000 : (int)milliseconds);
}

int torsion_eventfd_create(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

ssize_t torsion_read(int descriptor, void *bytes, size_t count) {
    return read(descriptor, bytes, count);
}

ssize_t torsion_write(int descriptor, const void *bytes, size_t count) {
    return write(descriptor, bytes, count);
}

void torsion_close(int descriptor) {
    if (descriptor >= 0) close(descriptor);
}

int torsion_errno(void) { return errno; }

uint64_t torsion_monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void torsion_ignore_sigpipe(void) {
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
        action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

int torsion_set_abortive_close(int descriptor) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    return setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}
