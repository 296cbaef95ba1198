/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_IOURING
#include "liburing_here.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAME(ours, our_member, theirs, their_member)                                              \
    _Static_assert(offsetof(struct ours, our_member) == offsetof(struct theirs, their_member),     \
                   #our_member)

_Static_assert(sizeof(struct torsion_uring_entry) == sizeof(struct io_uring_sqe), "an entry");
SAME(torsion_uring_entry, descriptor, io_uring_sqe, fd);
SAME(torsion_uring_entry, address, io_uring_sqe, addr);
SAME(torsion_uring_entry, length, io_uring_sqe, len);
SAME(torsion_uring_entry, operation_flags, io_uring_sqe, msg_flags);
SAME(torsion_uring_entry, user_data, io_uring_sqe, user_data);
_Static_assert(sizeof(struct torsion_uring_completion) == sizeof(struct io_uring_cqe), "its end");
SAME(torsion_uring_completion, result, io_uring_cqe, res);
SAME(torsion_uring_completion, flags, io_uring_cqe, flags);
_Static_assert(sizeof(struct torsion_uring_buffer) == sizeof(struct io_uring_buf), "a buffer");
SAME(torsion_uring_buffer, number, io_uring_buf, bid);
SAME(torsion_uring_buffer, tail, io_uring_buf_ring, tail);
_Static_assert(IORING_OP_SEND == 26 && IOSQE_CQE_SKIP_SUCCESS == 64 && IORING_SQ_CQ_OVERFLOW == 2,
               "constants of the inline functions");
_Static_assert(IORING_CQE_F_BUFFER == TORSION_URING_HAS_BUFFER &&
                   IORING_CQE_F_MORE == TORSION_URING_HAS_MORE &&
                   (int)IORING_CQE_BUFFER_SHIFT == (int)TORSION_URING_BUFFER_SHIFT,
               "flags of a completion");
_Static_assert(POLLIN == TORSION_URING_READABLE && POLLOUT == TORSION_URING_WRITABLE &&
                   POLLERR == TORSION_URING_ERROR && POLLHUP == TORSION_URING_HUNG_UP &&
                   POLLRDHUP == TORSION_URING_PEER_HUNG_UP,
               "bits of poll");

const int torsion_uring_wrong_thread = EEXIST;

static void count_failed_sends(struct torsion_uring *ring, uint32_t *failed) {
    uint32_t end = torsion_uring_completions_end(ring);
    for (; ring->scanned != end; ring->scanned++) {
        uint64_t kind = torsion_uring_completion_at(ring, ring->scanned)->user_data;
        *failed += (kind & TORSION_URING_KIND_MASK) == TORSION_URING_SEND;
    }
}

static int enter(struct torsion_uring *ring, unsigned wanted, unsigned flags, void *argument,
                 size_t size, uint32_t *failed) {
    uint32_t count = ring->entry_tail - ring->submitted;
    __atomic_store_n(ring->entries_tail, ring->entry_tail, __ATOMIC_RELEASE);
    int code = io_uring_enter2((unsigned)ring->enter_descriptor, count, wanted,
                               flags | ring->enter_flags, argument, size);
    /* With nothing to hand over the wait is told: that time passed, or a signal came. */
    if (code > 0) ring->submitted += (uint32_t)code;
    count_failed_sends(ring, failed);
    if (ring->entry_tail == ring->submitted)
        return code >= 0 || code == -ETIME || code == -EINTR || code == -EBUSY ? 0 : code;
    /* Some are left: the kernel has no memory, or wants completions to be taken first. */
    return code < 0 ? code : -EAGAIN;
}

int torsion_uring_wait(struct torsion_uring *ring, int64_t timeout, uint32_t *failed) {
    struct __kernel_timespec time = {timeout / 1000000000, timeout % 1000000000};
    struct io_uring_getevents_arg argument = {.sigmask_sz = _NSIG / 8,
                                              .ts = timeout > 0 ? (uint64_t)(uintptr_t)&time : 0};
    return enter(ring, timeout != 0, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument,
                 sizeof argument, failed);
}

int torsion_uring_submit(struct torsion_uring *ring, uint32_t *failed) {
    return enter(ring, 0, 0, NULL, 0, failed);
}

static struct io_uring_sqe *theirs(struct torsion_uring_entry *entry) {
    return (struct io_uring_sqe *)entry;
}

static void set_user_data(struct torsion_uring_entry *entry, uint64_t user_data) {
    entry->user_data = user_data;
}

/* Nobody wants to know of success; a kernel before 5.17 tells, and is not listened to. */
static void skip_success(struct torsion_uring *ring, struct torsion_uring_entry *entry) {
    if (ring->kernel_features & IORING_FEAT_CQE_SKIP) entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    set_user_data(entry, TORSION_URING_NOBODY);
}

void torsion_uring_prepare_receive(struct torsion_uring_entry *entry, int descriptor,
                                   uint32_t limit, uint64_t user_data) {
    memset(entry, 0, sizeof *entry);
    io_uring_prep_recv(theirs(entry), descriptor, NULL, 0, 0);
    if (limit > 0) entry->ioprio = IORING_RECV_MULTISHOT;
    /* Named `optlen` in newer headers; all names of this place are of one size. */
    theirs(entry)->splice_fd_in = (int32_t)limit;
    entry->flags = IOSQE_BUFFER_SELECT;
    theirs(entry)->buf_group = TORSION_URING_BUFFER_GROUP;
    set_user_data(entry, user_data);
}

void torsion_uring_discard(void *start, size_t count) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)start + count) & ~(page - 1);
    if (first < end) madvise((void *)first, end - first, MADV_DONTNEED);
}

void torsion_uring_prepare_send_all(struct torsion_uring_entry *entry, int descriptor,
                                    const void *bytes, uint32_t count, uint64_t user_data) {
    memset(entry, 0, sizeof *entry);
    io_uring_prep_send(theirs(entry), descriptor, bytes, count, MSG_NOSIGNAL | MSG_WAITALL);
    set_user_data(entry, user_data);
}

void torsion_uring_prepare_send_runs(struct torsion_uring_entry *entry, int descriptor,
                                     struct torsion_uring_message *message, int count,
                                     uint64_t user_data) {
    memset(entry, 0, sizeof *entry);
    message->header = (struct msghdr){.msg_iov = message->runs, .msg_iovlen = (size_t)count};
    io_uring_prep_sendmsg(theirs(entry), descriptor, &message->header, MSG_NOSIGNAL);
    set_user_data(entry, user_data);
}

void torsion_uring_prepare_accept(struct torsion_uring_entry *entry, int descriptor,
                                  struct torsion_uring_peer *peer, uint64_t user_data) {
    memset(entry, 0, sizeof *entry);
    peer->size = sizeof peer->address;
    io_uring_prep_accept(theirs(entry), descriptor, (struct sockaddr *)&peer->address, &peer->size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
    set_user_data(entry, user_data);
}

void torsion_uring_prepare_poll(struct torsion_uring_entry *entry, int descriptor, uint32_t events,
                                int is_multishot, uint64_t user_data) {
    memset(entry, 0, sizeof *entry);
    io_uring_prep_poll_add(theirs(entry), descriptor, events);
    if (is_multishot) entry->length = IORING_POLL_ADD_MULTI;
    set_user_data(entry, user_data);
}

void torsion_uring_prepare_cancel(struct torsion_uring_entry *entry, uint64_t which,
                                  uint64_t user_data) {
    memset(entry, 0, sizeof *entry);
    io_uring_prep_cancel64(theirs(entry), which, 0);
    set_user_data(entry, user_data);
}

void torsion_uring_prepare_close(struct torsion_uring *ring, struct torsion_uring_entry *entry,
                                 int descriptor) {
    memset(entry, 0, sizeof *entry);
    io_uring_prep_close(theirs(entry), descriptor);
    skip_success(ring, entry);
}

ptrdiff_t torsion_uring_send_now(int descriptor, const void *first, size_t first_count,
                                 const void *second, size_t second_count) {
    struct iovec runs[] = {{(void *)(uintptr_t)first, first_count},
                           {(void *)(uintptr_t)second, second_count}};
    struct msghdr message = {.msg_iov = runs, .msg_iovlen = 2};
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    ssize_t count = second_count == 0 ? send(descriptor, first, first_count, flags)
                                      : sendmsg(descriptor, &message, flags);
    return count >= 0 ? count : -errno;
}

int torsion_uring_is_always_ready(int descriptor) {
    struct stat status;
    if (fstat(descriptor, &status) != 0) return -errno;
    if (!S_ISCHR(status.st_mode)) return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
    /* Of devices some cannot be polled either, such as /dev/null: epoll_ctl(2) tells, by EPERM. */
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return -errno;
    struct epoll_event nothing = {0};
    int code = epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &nothing) == 0 ? 0 : errno;
    close(epoll);
    return code == EPERM;
}

#endif
