/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_CALL_FAULTS_H
#define TORSION_CALL_FAULTS_H

/* Stands before accept4(2), epoll_ctl(2), epoll_wait(2), fcntl(2), getsockname(2), io_uring_enter(2),
 * pipe2(2), sendfile(2), sendmmsg(2) and splice(2) in a test program, so that the engine meets what the kernel seldom gives. All of it is about the
 * calling thread alone. */

/* Makes the next `count` calls of accept4 fail with this errno, and begins to count calls anew. */
void torsion_fail_accepts(int number, int count);

/* Calls since then, those that failed too. */
int torsion_accept_calls(void);

/* Of the calls of epoll_ctl that add a descriptor, lets so many pass, then makes so many fail with
 * this errno. */
void torsion_fail_watches(int number, int passing, int failing);

/* How many have failed since then. */
int torsion_failed_watches(void);

/* Makes the next `count` calls of epoll_wait and io_uring_enter fail with this errno. */
void torsion_fail_waits(int number, int count);

/* Makes getsockname fail with this errno, until it is 0. */
void torsion_fail_names(int number);

/* Has the kernel answer io_uring_enter(2) of this thread with EPERM, for good: seccomp(2). */
int torsion_forbid_ring_calls(void);

/* Calls `body` once in the middle of the thread's next sendfile that sends more than a byte, and
 * goes on when that has broken the socket. sendfile sends in steps; an error of any but the first
 * ends the call short, and is forgotten by the socket that met it. */
void torsion_break_in_sendfile(void (*body)(void *context), void *context);

/* The same in the middle of the thread's next splice to a socket. */
void torsion_break_in_splice(void (*body)(void *context), void *context);

/* Makes pipe2 fail with this errno, until it is 0, and begins to count anew. */
void torsion_fail_pipes(int number);

/* Calls of pipe2 since then, those that failed too. */
int torsion_pipe_calls(void);

/* Gives pipe2's pipes the two pages that a user has who is over the limit of all of them, and refuses
 * them more: pipe(7). */
void torsion_keep_pipes_small(int is_wanted);

/* Makes splice fail with this errno, until it is 0, and begins to count anew. */
void torsion_fail_splices(int number);

/* Bytes that splice has moved to sockets since then. */
long torsion_spliced_bytes(void);

/* Makes sendmmsg fail with this errno where its first message is to be cut into segments of more
 * than `longest` bytes, and ends before any other such message; with errno 0 makes none fail. Begins
 * to count anew. */
void torsion_fail_segments(int number, int longest);

/* Messages of more than one datagram that were asked for since then, those that failed too, as often
 * as they were. */
int torsion_segmented_messages(void);

/* Has the kernel answer this system call of the calling thread with an errno, for as long as the
 * thread lives, as a profile of a container does: seccomp(2). Returns 0 or a negative errno. */
int torsion_refuse_call(long number, int error);

#endif
