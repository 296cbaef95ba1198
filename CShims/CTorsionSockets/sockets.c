/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int torsion_accept(int descriptor, struct sockaddr_storage *address, socklen_t *size) {
    return accept4(descriptor, (struct sockaddr *)address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int torsion_drop_first_packets(int socket) {
    /* A filter of a TCP socket sees the segment from its header on; byte 13 has the flags. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12 /* SYN and ACK */),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02 /* SYN alone */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
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

_Static_assert(sizeof(struct torsion_segment_control) >= CMSG_SPACE(sizeof(uint16_t)),
               "a control message needs more room");

void torsion_segment(struct torsion_message *message, struct torsion_segment_control *control,
                     uint16_t byte_count) {
    struct cmsghdr *head = (struct cmsghdr *)control;
    message->header.msg_control = control;
    message->header.msg_controllen = CMSG_SPACE(sizeof byte_count);
    head->cmsg_level = SOL_UDP;
    head->cmsg_type = UDP_SEGMENT;
    head->cmsg_len = CMSG_LEN(sizeof byte_count);
    memcpy(CMSG_DATA(head), &byte_count, sizeof byte_count);
}

/* Aligned as the macros of cmsg(3) need it. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(TORSION_DESCRIPTOR_LIMIT * sizeof(int))];
};

ssize_t torsion_send_descriptors(int socket, const struct iovec *runs, size_t run_count,
                                 const int *descriptors, size_t descriptor_count) {
    union control control;
    size_t size = descriptor_count * sizeof(int);
    struct msghdr message = {
        .msg_iov = (struct iovec *)runs, /* only read */
        .msg_iovlen = run_count,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(size),
    };
    memset(control.bytes, 0, message.msg_controllen);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), descriptors, size);
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

ssize_t torsion_receive_descriptors(int socket, void *bytes, size_t count, int *descriptors,
                                    int *descriptor_count) {
    union control control;
    struct iovec run = {.iov_base = bytes, .iov_len = count};
    struct msghdr message = {
        .msg_iov = &run,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    *descriptor_count = 0;
    ssize_t result = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (result < 0) return result;
    int found = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t size = header->cmsg_len - CMSG_LEN(0);
        memcpy(descriptors + found, CMSG_DATA(header), size);
        found += (int)(size / sizeof(int));
    }
    if (message.msg_flags & MSG_CTRUNC) {
        while (found > 0) close(descriptors[--found]);
        *descriptor_count = -1;
    } else {
        *descriptor_count = found;
    }
    return result;
}

int torsion_peer_credentials(int socket, uint32_t *user, uint32_t *group) {
    struct ucred found;
    socklen_t size = sizeof found;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &found, &size) != 0) return -1;
    *user = found.uid;
    *group = found.gid;
    return found.pid;
}

ssize_t torsion_send_file(int socket, int file, int64_t offset, size_t count) {
    off_t position = offset;
    return sendfile(socket, file, &position, count);
}

int torsion_pipe(int *ends, size_t count) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
    if (fcntl(ends[1], F_SETPIPE_SZ, (int)count) >= 0) return 0;
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    errno = error;
    return -1;
}

ssize_t torsion_splice(int from, int to, size_t count) {
    return splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

int torsion_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int torsion_epoll_control(int epoll, int operation, int descriptor, uint32_t events, void *target) {
    struct epoll_event event = {.events = events, .data.ptr = target};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

/* epoll_pwait2(2) by its number: glibc has the function from 2.35 on only. */
static int wait_precisely(int epoll, struct epoll_event *events, int capacity, int64_t timeout) {
#ifdef SYS_epoll_pwait2
    const long number = SYS_epoll_pwait2;
#else
    const long number = 441; /* of Linux 5.11, on every architecture that Swift runs on */
#endif
    /* struct __kernel_timespec */
    struct {
        int64_t seconds, nanoseconds;
    } wait = {timeout / 1000000000, timeout % 1000000000};
    return (int)syscall(number, epoll, events, capacity, &wait, NULL, 0);
}

int torsion_epoll_wait(int epoll, struct epoll_event *events, int capacity, int64_t timeout) {
    static _Atomic int is_missing;
    if (timeout <= 0) return epoll_wait(epoll, events, capacity, timeout < 0 ? -1 : 0);
    if (!atomic_load_explicit(&is_missing, memory_order_relaxed)) {
        int count = wait_precisely(epoll, events, capacity, timeout);
        /* EPERM: so profiles of seccomp(2) answer a call that is newer than they are. */
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    }
    int64_t milliseconds = (timeout + 999999) / 1000000;
    int count = epoll_wait(epoll, events, capacity, milliseconds > 3600000 ? 3600000 : (int)milliseconds);
    if (count >= 0) atomic_store_explicit(&is_missing, 1, memory_order_relaxed);
    return count;
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

void torsion_nap(void) {
    struct timespec millisecond = {.tv_nsec = 1000000};
    nanosleep(&millisecond, NULL);
}

void torsion_ignore_sigpipe(void) {
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
        action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

static int is_terminal(int descriptor) {
    unsigned int number;
    /* The controlling side would be opened as another terminal: TIOCGPTN, pts(4). */
    return isatty(descriptor) && ioctl(descriptor, TIOCGPTN, &number) != 0;
}

int torsion_reopen(int descriptor, int mode) {
    struct stat given, own;
    int access = fcntl(descriptor, F_GETFL) & O_ACCMODE;
    if (access != O_RDWR && access != mode) return -1;
    if (fstat(descriptor, &given) != 0) return -1;
    if (!S_ISFIFO(given.st_mode) && !is_terminal(descriptor)) return -1;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    int result = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (result < 0) return -1;
    if (fstat(result, &own) == 0 && own.st_dev == given.st_dev && own.st_ino == given.st_ino)
        return result;
    close(result);
    return -1;
}

int torsion_fill_standard_streams(void) {
    for (int number = 0; number <= STDERR_FILENO; number++) {
        if (fcntl(number, F_GETFD) >= 0 || errno != EBADF) continue;
        /* The lowest number that is free, unless another thread took that in between. */
        int null = open("/dev/null", O_RDWR);
        if (null < 0) return -1;
        if (null > STDERR_FILENO) close(null);
    }
    return 0;
}

int torsion_set_abortive_close(int descriptor) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    return setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

int torsion_unsent_byte_count(int descriptor) {
    int count = 0;
    return ioctl(descriptor, SIOCOUTQ, &count) == 0 ? count : -1;
}

int torsion_unread_byte_count(int descriptor) {
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) == 0 ? count : -1;
}

void torsion_discard_input(int descriptor) {
    /* TCP copies nothing; a UNIX socket knows no MSG_TRUNC, and does. */
    char bytes[64 * 1024];
    for (int round = 0; round < 256; round++)
        if (recv(descriptor, bytes, sizeof bytes, MSG_TRUNC | MSG_DONTWAIT) <= 0) return;
}
