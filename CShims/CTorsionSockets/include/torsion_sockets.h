/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_SOCKETS_H
#define TORSION_SOCKETS_H

/* _GNU_SOURCE is defined in the .c file, not here: Swift's Glibc module is built without it, and
 * with it fd_set has other member names, which the compiler refuses to merge (swift#69311). */
#include <netinet/in.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#ifndef __clang__
#define _Nullable
#define _Nonnull
#endif

/* What `import Glibc` lacks or gets wrong. Each function makes the one system call that it names,
 * on the calling thread, and returns its result with errno set; pointers are borrowed for the call
 * and are not null. */

/* accept4(2) with SOCK_NONBLOCK and SOCK_CLOEXEC. *size is in and out. */
int torsion_accept(int descriptor, struct sockaddr_storage *_Nonnull address,
                   socklen_t *_Nonnull size);

/* Has the kernel drop the first packet (SYN) of whoever connects to a listening TCP socket from now on, as
 * if it were lost, so that it comes again a second later; handshakes that have begun go on. For a socket
 * that closes at once while others of the same port (SO_REUSEPORT) stay: SO_ATTACH_FILTER, socket(7).
 * Accepted sockets inherit the filter, which lets all that they get pass. */
int torsion_drop_first_packets(int socket);

/* Has the layout of `struct mmsghdr`, which the headers hide without _GNU_SOURCE. */
struct torsion_message {
    struct msghdr header;
    unsigned int byte_count; /* out: what the kernel moved */
};

/* recvmmsg(2) and sendmmsg(2), without waiting and without SIGPIPE. Return how many messages were
 * moved, at least one, or -1. */
int torsion_receive_messages(int descriptor, struct torsion_message *_Nonnull messages,
                             unsigned int count);
int torsion_send_messages(int descriptor, struct torsion_message *_Nonnull messages,
                          unsigned int count);

/* Room for one control message that carries a uint16_t, see cmsg(3). */
struct torsion_segment_control {
    size_t words[3];
};

/* Has the bytes of `message` leave as datagrams of `byte_count` bytes each, the last one with the
 * rest: UDP_SEGMENT, udp(7). The message leads to `control` from then on. */
void torsion_segment(struct torsion_message *_Nonnull message,
                     struct torsion_segment_control *_Nonnull control, uint16_t byte_count);

/* sendfile(2) from an offset of the file, which keeps its own position. SIGPIPE must be ignored. */
ssize_t torsion_send_file(int socket, int file, int64_t offset, size_t count);

/* A pipe of pipe(7) whose ends do not wait and are closed on exec, with room for `count` bytes or
 * more: ends[0] is read, ends[1] written. Returns 0, or -1: with EPERM if the user has as much memory
 * in pipes as is allowed. */
int torsion_pipe(int *_Nonnull ends, size_t count);

/* splice(2), without waiting for the pipe; sockets must not wait either. SIGPIPE must be ignored. */
ssize_t torsion_splice(int from, int to, size_t count);

/* How much memory this process can still get, in bytes, or -1 if nobody can tell: the least of what
 * RLIMIT_AS and RLIMIT_DATA leave (getrlimit(2)), what its control group and those above it leave
 * (memory.max less memory.current, cached files not counted; or the same of version 1), and what the
 * machine has (MemAvailable of proc_meminfo(5)). Opens files of /proc and /sys one after the other;
 * what cannot be read does not count. */
int64_t torsion_available_memory(void);

/* SCM_MAX_FD: as many as one message takes. */
#define TORSION_DESCRIPTOR_LIMIT 253

/* sendmsg(2) without SIGPIPE, with descriptors that go before the first byte: SCM_RIGHTS. */
ssize_t torsion_send_descriptors(int socket, const struct iovec *_Nonnull runs, size_t run_count,
                                 const int *_Nonnull descriptors, size_t descriptor_count);

/* recvmsg(2). `descriptors` has room for TORSION_DESCRIPTOR_LIMIT; `*descriptor_count` is how many
 * came, which are closed on exec, or -1 if the process had no room for all of them: then those that
 * came were closed. */
ssize_t torsion_receive_descriptors(int socket, void *_Nonnull bytes, size_t count,
                                    int *_Nonnull descriptors, int *_Nonnull descriptor_count);

/* The process at the other end of a UNIX socket, and its user and group: SO_PEERCRED, unix(7). -1 if it
 * is no such socket. */
int torsion_peer_credentials(int socket, uint32_t *_Nonnull user, uint32_t *_Nonnull group);

/* epoll_create1(2) with EPOLL_CLOEXEC. */
int torsion_epoll_create(void);

/* epoll_ctl(2); `target` comes back in the event's data. */
int torsion_epoll_control(int epoll, int operation, int descriptor, uint32_t events,
                          void *_Nullable target);

/* epoll_pwait2(2) without a signal mask, or epoll_wait(2) when the timeout is -1 (no limit) or 0.
 * Where there is none, as before Linux 5.11 (ENOSYS) or under a seccomp profile of that age (EPERM),
 * the timeout is rounded up to a millisecond: epoll_wait drops the fraction, so that a timer due in
 * 0.4 ms would turn into a busy loop. */
int torsion_epoll_wait(int epoll, struct epoll_event *_Nonnull events, int capacity,
                       int64_t timeout_nanoseconds);

/* eventfd(2) with EFD_NONBLOCK and EFD_CLOEXEC. */
int torsion_eventfd_create(void);

/* read(2), write(2) and close(2), for targets that do not import Glibc. */
ssize_t torsion_read(int descriptor, void *_Nonnull bytes, size_t count);
ssize_t torsion_write(int descriptor, const void *_Nonnull bytes, size_t count);
void torsion_close(int descriptor);

/* errno of the calling thread. */
int torsion_errno(void);

/* CLOCK_MONOTONIC, clock_gettime(2), in nanoseconds. */
uint64_t torsion_monotonic_nanoseconds(void);

/* Waits for a millisecond, or less if a signal comes: nanosleep(2). */
void torsion_nap(void);

/* Ignores SIGPIPE, if its action is still the default. */
void torsion_ignore_sigpipe(void);

/* Opens a pipe or a terminal once more, with O_NONBLOCK, for reading (O_RDONLY) or writing (O_WRONLY):
 * proc(5), /proc/self/fd. The open file of `descriptor`, and with it its flags, may be shared with
 * other processes; this one is not. -1 for what is neither, or may not be opened by this process. */
int torsion_reopen(int descriptor, int mode);

/* Opens /dev/null under each of the numbers 0 to 2 that is not open: open(2). Else the next socket gets
 * it, and what anybody prints goes there. Returns 0 or -1. */
int torsion_fill_standard_streams(void);

/* setsockopt(2) of SO_LINGER with a time of zero: close(2) then resets. */
int torsion_set_abortive_close(int descriptor);

/* ioctl(2) of SIOCOUTQ: bytes that were written and not acknowledged, the FIN being one (tcp(7)), or
 * the memory of what the peer's program has not read (unix(7)). Negative if there is no answer. */
int torsion_unsent_byte_count(int descriptor);

/* ioctl(2) of FIONREAD: bytes that can be read now. Negative if there is no answer. */
int torsion_unread_byte_count(int descriptor);

/* recv(2) with MSG_TRUNC, without waiting, until there is nothing, or 16 MiB were dropped: more than
 * a receive buffer holds by default, so that a peer who sends faster than this reads ends it. */
void torsion_discard_input(int descriptor);

#endif
