/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_uring.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
_Static_assert(sizeof(struct torsion_uring_time) == sizeof(struct __kernel_timespec), "a time");
_Static_assert(IORING_OP_SEND == 26 && IOSQE_CQE_SKIP_SUCCESS == 64 && IORING_SQ_CQ_OVERFLOW == 2,
               "constants of the inline functions");
_Static_assert(IORING_CQE_F_BUFFER == TORSION_URING_HAS_BUFFER &&
                   IORING_CQE_F_MORE == TORSION_URING_HAS_MORE &&
                   IORING_CQE_BUFFER_SHIFT == TORSION_URING_BUFFER_SHIFT,
               "flags of a completion");
_Static_assert(POLLIN == TORSION_URING_READABLE && POLLOUT == TORSION_URING_WRITABLE &&
                   POLLERR == TORSION_URING_ERROR && POLLHUP == TORSION_URING_HUNG_UP &&
                   POLLRDHUP == TORSION_URING_PEER_HUNG_UP,
               "bits of poll");

enum { BUFFER_GROUP = 1 };

/* Tries the flags of newer kernels first: each set is refused as a whole, with EINVAL. */
static int set_up(struct io_uring *library, unsigned entries, unsigned completions, int defers,
                  uint32_t *features) {
    static const unsigned sets[] = {
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN, /* 5.19 */
        IORING_SETUP_SUBMIT_ALL,                             /* 5.18 */
        0,
    };
    int code = -EINVAL;
    for (unsigned i = defers ? 0 : 1; i < sizeof sets / sizeof *sets && code == -EINVAL; i++) {
        struct io_uring_params parameters = {
            .flags = sets[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, .cq_entries = completions};
        code = io_uring_queue_init_params(entries, library, &parameters);
        if (code == 0 && i == 0) *features |= TORSION_URING_DEFERRED;
    }
    return code;
}

/* What can be asked for only by the operations of the same release. */
static uint32_t operations(struct io_uring *library, uint32_t features) {
    struct io_uring_probe *probe = io_uring_get_probe_ring(library);
    if (probe != NULL) {
        if (io_uring_opcode_supported(probe, IORING_OP_SOCKET))
            features |= TORSION_URING_MULTISHOT_ACCEPT;
        io_uring_free_probe(probe);
    }
    if (features & TORSION_URING_DEFERRED && library->features & IORING_FEAT_CQE_SKIP)
        features |= TORSION_URING_BATCHED_SENDS;
    return features;
}

static uint32_t set_up_buffers(struct torsion_uring *ring, uint32_t count) {
    size_t size = count * sizeof(struct io_uring_buf);
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED) return 0;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)memory, .ring_entries = count, .bgid = BUFFER_GROUP};
    if (io_uring_register_buf_ring(ring->library, &registration, 0) != 0) {
        munmap(memory, size);
        return 0;
    }
    ring->buffers = memory;
    ring->buffer_capacity = count;
    return TORSION_URING_BUFFERS;
}

static void find_queues(struct torsion_uring *ring, struct io_uring *library) {
    ring->entries = (struct torsion_uring_entry *)library->sq.sqes;
    ring->entries_tail = library->sq.ktail;
    ring->entry_capacity = library->sq.ring_entries;
    ring->entry_mask = library->sq.ring_entries - 1;
    /* The kernel reads entries through a table; ours are used in order, so it never changes. */
    for (uint32_t i = 0; i < ring->entry_capacity; i++) library->sq.array[i] = i;
    ring->completions = (struct torsion_uring_completion *)library->cq.cqes;
    ring->completions_head = library->cq.khead;
    ring->completions_tail = library->cq.ktail;
    ring->completion_mask = library->cq.ring_entries - 1;
    ring->flags = library->sq.kflags;
}

/* Whether a receive that goes on may have a limit. Its arguments are looked at before its
 * descriptor: a kernel that does not know the limit answers EINVAL. */
static uint32_t limited_receive(struct torsion_uring *ring) {
    torsion_uring_prepare_receive(torsion_uring_next_entry(ring), -1, 1, TORSION_URING_NOBODY);
    uint32_t failed = 0;
    torsion_uring_wait(ring, 100000000, &failed);
    int result = -EINVAL;
    while (ring->head != torsion_uring_completions_end(ring))
        result = torsion_uring_completion_at(ring, ring->head++)->result;
    torsion_uring_give_room(ring);
    return result == -EBADF ? TORSION_URING_MULTISHOT_RECEIVE : 0;
}

int torsion_uring_open(struct torsion_uring *ring, uint32_t entries, uint32_t completions,
                       uint32_t buffers, uint32_t wanted) {
    memset(ring, 0, sizeof *ring);
    struct io_uring *library = calloc(1, sizeof *library);
    if (library == NULL) return -ENOMEM;
    uint32_t features = 0;
    int code = set_up(library, entries, completions, wanted & TORSION_URING_DEFERRED, &features);
    if (code != 0) {
        free(library);
        return code;
    }
    ring->library = library;
    unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL |
                      IORING_FEAT_EXT_ARG;
    if ((library->features & needed) != needed) {
        torsion_uring_close(ring);
        return -EOPNOTSUPP;
    }
    find_queues(ring, library);
    features = operations(library, features);
    if (wanted & TORSION_URING_BUFFERS) features |= set_up_buffers(ring, buffers);
    ring->features = features & wanted;
    ring->enter_descriptor = library->ring_fd;
    /* Saves the kernel the look-up of the descriptor at each call, Linux 5.18. */
    if (io_uring_register_ring_fd(library) == 1) {
        ring->enter_descriptor = library->enter_ring_fd;
        ring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    if (ring->features & TORSION_URING_BUFFERS && wanted & TORSION_URING_MULTISHOT_RECEIVE)
        ring->features |= limited_receive(ring);
    return 0;
}

void torsion_uring_close(struct torsion_uring *ring) {
    if (ring->library == NULL) return;
    io_uring_queue_exit(ring->library);
    free(ring->library);
    if (ring->buffers != NULL)
        munmap(ring->buffers, ring->buffer_capacity * sizeof(struct io_uring_buf));
    memset(ring, 0, sizeof *ring);
}

int torsion_uring_probe(void) {
    struct torsion_uring ring;
    int code = torsion_uring_open(&ring, 4, 8, 0, 0);
    if (code == 0) torsion_uring_close(&ring);
    return code;
}

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
    struct io_uring *library = ring->library;
    if (library->features & IORING_FEAT_CQE_SKIP) entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
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
    theirs(entry)->buf_group = BUFFER_GROUP;
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
                                  int is_multishot, uint64_t user_data) {
    memset(entry, 0, sizeof *entry);
    int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    io_uring_prep_accept(theirs(entry), descriptor, NULL, NULL, flags);
    if (is_multishot) entry->ioprio = IORING_ACCEPT_MULTISHOT;
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

void torsion_uring_prepare_timeout(struct torsion_uring_entry *entry,
                                   const struct torsion_uring_time *time, uint64_t user_data) {
    memset(entry, 0, sizeof *entry);
    io_uring_prep_timeout(theirs(entry), (struct __kernel_timespec *)(uintptr_t)time, 0, 0);
    set_user_data(entry, user_data);
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
    return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
}
