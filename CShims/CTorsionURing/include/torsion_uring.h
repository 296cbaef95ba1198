/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_URING_H
#define TORSION_URING_H

/* liburing.h stays in the .c file: it defines _GNU_SOURCE, which Swift's Glibc module is built
 * without (swift#69311). What runs for each message is inline here, over structures that have the
 * kernel's layout; the .c file asserts that. */
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef __clang__
#define _Nullable
#define _Nonnull
#endif

/* What an operation is. Its user data is the address of whoever is told, which is aligned to 16,
 * and one of these. TORSION_URING_NOBODY alone is ignored. */
enum {
    TORSION_URING_NOBODY = 0,
    TORSION_URING_RECEIVE = 1,
    TORSION_URING_SEND = 2, /* told of failure only, see torsion_uring_prepare_send() */
    TORSION_URING_SEND_TAIL = 3,
    TORSION_URING_SEND_QUEUE = 4,
    TORSION_URING_ERRORS = 5,
    TORSION_URING_CONNECT = 6,
    TORSION_URING_ACCEPT = 7,
    TORSION_URING_POLL = 8,
    TORSION_URING_WAKE = 9,
    TORSION_URING_ROOM = 10,
    TORSION_URING_CANCEL = 11,
    TORSION_URING_KIND_MASK = 15
};

/* What a kernel may offer, and a backend may do without. */
enum {
    TORSION_URING_DEFERRED = 1,          /* SINGLE_ISSUER and DEFER_TASKRUN, Linux 6.1 */
    TORSION_URING_BUFFERS = 2,           /* a ring of provided buffers, Linux 5.19 */
    TORSION_URING_MULTISHOT_RECEIVE = 8, /* with a limit of bytes, Linux 6.17 */
    TORSION_URING_BATCHED_SENDS = 16     /* sends without a completion, Linux 6.1: a send that is
                                          * cut tells by how much only since then */
};

/* struct io_uring_cqe */
struct torsion_uring_completion {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
};

enum { TORSION_URING_HAS_BUFFER = 1, TORSION_URING_HAS_MORE = 2, TORSION_URING_BUFFER_SHIFT = 16 };

/* struct io_uring_sqe */
struct torsion_uring_entry {
    uint8_t opcode, flags;
    uint16_t ioprio;
    int32_t descriptor;
    uint64_t offset;
    uint64_t address;
    uint32_t length;
    uint32_t operation_flags;
    uint64_t user_data;
    uint64_t rest[3];
};

/* struct io_uring_buf; the tail of the ring lies in the first one's last two bytes. */
struct torsion_uring_buffer {
    uint64_t address;
    uint32_t length;
    uint16_t number;
    uint16_t tail;
};

/* One io_uring. Used on the thread that opened it alone. */
struct torsion_uring {
    struct torsion_uring_entry *_Nullable entries;
    uint32_t *_Nullable entries_tail; /* the kernel's */
    uint32_t entry_tail, submitted;   /* filled, and seen by the kernel */
    uint32_t entry_mask, entry_capacity;

    struct torsion_uring_completion *_Nullable completions;
    uint32_t *_Nullable completions_head, *_Nullable completions_tail, *_Nullable flags;
    uint32_t completion_mask;
    uint32_t head;    /* taken so far; the kernel is told by torsion_uring_give_room() */
    uint32_t scanned; /* looked through for failed sends */

    struct torsion_uring_buffer *_Nullable buffers;
    uint32_t buffer_capacity;
    uint16_t buffer_tail;

    uint32_t features;
    uint32_t kernel_features; /* IORING_FEAT_… */
    int32_t enter_descriptor; /* the ring's, or what it is registered as */
    uint32_t enter_flags;

    int32_t descriptor;
    void *_Nullable queues; /* mapped: the two but for the entries */
    size_t queues_size;
};

/* Sets up an io_uring of the calling thread. `wanted` is a set of features; `ring->features` says
 * which there are. Returns 0 or a negative errno. */
int torsion_uring_open(struct torsion_uring *_Nonnull ring, uint32_t entries, uint32_t completions,
                       uint32_t buffers, uint32_t wanted);
void torsion_uring_close(struct torsion_uring *_Nonnull ring);

/* Why this process has no io_uring of this size that is good enough: 0 or a negative errno;
 * EOPNOTSUPP if the kernel is too old (Linux 5.11 is needed). */
int torsion_uring_probe(uint32_t entries, uint32_t completions, uint32_t buffers);

/* How many bytes of the kernel's memory one of this size takes, and RLIMIT_MEMLOCK, getrlimit(2), or
 * UINT64_MAX without a limit. Linux counts the one against the other before 5.12, and again of late
 * (6.18 does); for a user, not for a process. */
uint64_t torsion_uring_bytes_needed(uint32_t entries, uint32_t completions, uint32_t buffers);
uint64_t torsion_uring_bytes_allowed(void);

/* The liburing that runs: 2 and 3 for 2.3, which is the first. */
int torsion_uring_library_major(void);
int torsion_uring_library_minor(void);

/* io_uring_enter(2): hands over every entry, and waits for a completion until the timeout in
 * nanoseconds has passed: -1 has no limit, 0 does not wait. Deferred work of the kernel runs in
 * here. Returns 0, or a negative errno if entries are left; how many new completions are of failed
 * sends is added to *failed. */
int torsion_uring_wait(struct torsion_uring *_Nonnull ring, int64_t timeout,
                       uint32_t *_Nonnull failed);

/* What the two return, negated, on another thread than the one that opened the ring: EEXIST. */
extern const int torsion_uring_wrong_thread;

/* The same without waiting and without running deferred work. */
int torsion_uring_submit(struct torsion_uring *_Nonnull ring, uint32_t *_Nonnull failed);

/* Whether completions found no room, and wait in the kernel for torsion_uring_wait(). */
static inline int torsion_uring_is_overrun(const struct torsion_uring *_Nonnull ring) {
    return (__atomic_load_n(ring->flags, __ATOMIC_RELAXED) & 2) != 0; /* IORING_SQ_CQ_OVERFLOW */
}

static inline int torsion_uring_is_full(const struct torsion_uring *_Nonnull ring) {
    return ring->entry_tail - ring->submitted >= ring->entry_capacity;
}

/* The next entry, to be prepared by one of the functions below. Not while the ring is full. */
static inline struct torsion_uring_entry *_Nonnull torsion_uring_next_entry(
    struct torsion_uring *_Nonnull ring) {
    return &ring->entries[ring->entry_tail++ & ring->entry_mask];
}

static inline uint32_t torsion_uring_completions_end(const struct torsion_uring *_Nonnull ring) {
    return __atomic_load_n(ring->completions_tail, __ATOMIC_ACQUIRE);
}

static inline struct torsion_uring_completion *_Nonnull torsion_uring_completion_at(
    const struct torsion_uring *_Nonnull ring, uint32_t index) {
    return &ring->completions[index & ring->completion_mask];
}

/* Gives the places of the completions that were taken back to the kernel. */
static inline void torsion_uring_give_room(struct torsion_uring *_Nonnull ring) {
    __atomic_store_n(ring->completions_head, ring->head, __ATOMIC_RELEASE);
}

/* Lends the kernel a buffer. */
static inline void torsion_uring_give_buffer(struct torsion_uring *_Nonnull ring, uint16_t number,
                                             void *_Nonnull bytes, uint32_t length) {
    struct torsion_uring_buffer *buffer =
        &ring->buffers[ring->buffer_tail & (ring->buffer_capacity - 1)];
    buffer->address = (uint64_t)(uintptr_t)bytes;
    buffer->length = length;
    buffer->number = number;
    ring->buffer_tail++;
    __atomic_store_n(&ring->buffers[0].tail, ring->buffer_tail, __ATOMIC_RELEASE);
}

/* send(2) that does not wait, of all or as much as there is room for. It is over when the entry has
 * been handed over, and its bytes are free then; a completion comes only of one that was cut or
 * failed: how much was sent, or the error. */
static inline void torsion_uring_prepare_send(struct torsion_uring_entry *_Nonnull entry,
                                              int32_t descriptor, const void *_Nonnull bytes,
                                              uint32_t count, uint64_t user_data) {
    *entry = (struct torsion_uring_entry){
        .opcode = 26, /* IORING_OP_SEND */
        .flags = 64,  /* IOSQE_CQE_SKIP_SUCCESS */
        .descriptor = descriptor,
        .address = (uint64_t)(uintptr_t)bytes,
        .length = count,
        .operation_flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL,
        .user_data = user_data,
    };
}

/* Nothing, in place of what an entry was prepared for. */
static inline void torsion_uring_prepare_nothing(struct torsion_uring_entry *_Nonnull entry) {
    *entry = (struct torsion_uring_entry){.flags = 64, .user_data = TORSION_URING_NOBODY};
}

/* recv(2) into the lent buffers: once if `limit` is 0, else until it is cancelled, they have run
 * out, or so many bytes were received, rounded up to whole buffers. Without that limit the kernel
 * fills thirty-two buffers with what one peer sends before anybody can stop it. */
void torsion_uring_prepare_receive(struct torsion_uring_entry *_Nonnull entry, int32_t descriptor,
                                   uint32_t limit, uint64_t user_data);

/* Gives whole pages between two addresses back to the kernel; the next access finds zeros there.
 * madvise(2), MADV_DONTNEED. */
void torsion_uring_discard(void *_Nonnull start, size_t count);

/* send(2) of all bytes, as there comes to be room. They stay valid until the completion. */
void torsion_uring_prepare_send_all(struct torsion_uring_entry *_Nonnull entry, int32_t descriptor,
                                    const void *_Nonnull bytes, uint32_t count,
                                    uint64_t user_data);

/* What a sendmsg(2) needs in memory. */
enum { TORSION_URING_RUN_LIMIT = 16 };
struct torsion_uring_message {
    struct msghdr header;
    struct iovec runs[TORSION_URING_RUN_LIMIT];
};
static inline void torsion_uring_set_run(struct torsion_uring_message *_Nonnull message, int index,
                                         const void *_Nullable bytes, size_t count) {
    message->runs[index] = (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
}

/* sendmsg(2) of the first `count` runs, when there is room for some. The message and what it refers
 * to stay valid until the completion. */
void torsion_uring_prepare_send_runs(struct torsion_uring_entry *_Nonnull entry, int32_t descriptor,
                                     struct torsion_uring_message *_Nonnull message, int count,
                                     uint64_t user_data);

/* Who was accepted. */
struct torsion_uring_peer {
    struct sockaddr_storage address;
    socklen_t size;
};

/* accept4(2) with SOCK_NONBLOCK and SOCK_CLOEXEC of one client. The peer stays valid until the
 * completion. */
void torsion_uring_prepare_accept(struct torsion_uring_entry *_Nonnull entry, int32_t descriptor,
                                  struct torsion_uring_peer *_Nonnull peer, uint64_t user_data);

/* Readiness, as bits of poll(2): once, or at each change. Errors and hang-ups are told always. */
void torsion_uring_prepare_poll(struct torsion_uring_entry *_Nonnull entry, int32_t descriptor,
                                uint32_t events, int is_multishot, uint64_t user_data);

/* Ends the operation with the user data `which`, which then completes. Completes itself, with an
 * error if there is none, or one that is just at work and may go on. */
void torsion_uring_prepare_cancel(struct torsion_uring_entry *_Nonnull entry, uint64_t which,
                                  uint64_t user_data);

/* close(2). */
void torsion_uring_prepare_close(struct torsion_uring *_Nonnull ring,
                                 struct torsion_uring_entry *_Nonnull entry, int32_t descriptor);

/* send(2), sendmsg(2) of two runs: at once, without waiting and without SIGPIPE. Returns their
 * result, or a negative errno. */
ptrdiff_t torsion_uring_send_now(int32_t descriptor, const void *_Nullable first,
                                 size_t first_count, const void *_Nullable second,
                                 size_t second_count);

/* Whether poll(2) cannot wait for it, as for a regular file: 1, 0, or a negative errno. */
int torsion_uring_is_always_ready(int32_t descriptor);

/* The bits of poll(2) in a result of TORSION_URING_POLL. */
enum {
    TORSION_URING_READABLE = 0x001,
    TORSION_URING_WRITABLE = 0x004,
    TORSION_URING_ERROR = 0x008,
    TORSION_URING_HUNG_UP = 0x010,
    TORSION_URING_PEER_HUNG_UP = 0x2000
};

#endif
