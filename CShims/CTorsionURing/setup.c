/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_IOURING

/* Setting a ring up: io_uring_setup(2), io_uring_register(2). */
#include "liburing_here.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const unsigned needed_features = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
                                        IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL |
                                        IORING_FEAT_EXT_ARG;

/* Tries the flags of newer kernels first: each set is refused as a whole, with EINVAL. Returns a
 * descriptor or a negative errno. */
static int set_up(unsigned entries, unsigned completions, int defers,
                  struct io_uring_params *parameters, uint32_t *features) {
    static const unsigned sets[] = {
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN, /* 5.19 */
        IORING_SETUP_SUBMIT_ALL,                             /* 5.18 */
        0,
    };
    int code = -EINVAL;
    for (unsigned i = defers ? 0 : 1; i < sizeof sets / sizeof *sets && code == -EINVAL; i++) {
        *parameters = (struct io_uring_params){
            .flags = sets[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, .cq_entries = completions};
        code = io_uring_setup(entries, parameters);
        if (code >= 0 && i == 0) *features |= TORSION_URING_DEFERRED;
    }
    return code;
}

/* What a ring had counts against the limit of locked memory until some milliseconds after it was
 * closed, some hundreds where the machine is busy, so that one that is opened behind another, or
 * behind a probe, may have to wait for that: a second at most. Waits, and returns whether to try again. */
static int has_waited_for_memory(int code, uint64_t needed, int *rounds) {
    enum { ROUND_LIMIT = 500 };
    uint64_t allowed = torsion_uring_bytes_allowed();
    if (code != -ENOMEM || allowed == UINT64_MAX || allowed < needed || *rounds == ROUND_LIMIT)
        return 0;
    *rounds += 1;
    const struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL);
    return 1;
}

static void *map(int descriptor, size_t size, off_t what) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor,
                        what);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t entries_size(const struct torsion_uring *ring) {
    return ring->entry_capacity * sizeof *ring->entries;
}

/* Returns 0 or a negative errno; release() unmaps what was mapped either way. */
static int map_queues(struct torsion_uring *ring, const struct io_uring_params *parameters) {
    const struct io_sqring_offsets *submissions = &parameters->sq_off;
    const struct io_cqring_offsets *completions = &parameters->cq_off;
    size_t size = submissions->array + parameters->sq_entries * sizeof(uint32_t);
    size_t other = completions->cqes + parameters->cq_entries * sizeof(struct io_uring_cqe);
    ring->queues_size = size > other ? size : other;
    ring->entry_capacity = parameters->sq_entries;
    ring->queues = map(ring->descriptor, ring->queues_size, IORING_OFF_SQ_RING);
    if (ring->queues == NULL) return -errno;
    ring->entries = map(ring->descriptor, entries_size(ring), IORING_OFF_SQES);
    if (ring->entries == NULL) return -errno;

    char *queues = ring->queues;
    ring->entries_tail = (uint32_t *)(queues + submissions->tail);
    ring->entry_mask = *(uint32_t *)(queues + submissions->ring_mask);
    ring->flags = (uint32_t *)(queues + submissions->flags);
    /* The kernel reads entries through a table; ours are used in order, so it never changes. */
    uint32_t *table = (uint32_t *)(queues + submissions->array);
    for (uint32_t i = 0; i < ring->entry_capacity; i++) table[i] = i;
    ring->completions = (struct torsion_uring_completion *)(queues + completions->cqes);
    ring->completions_head = (uint32_t *)(queues + completions->head);
    ring->completions_tail = (uint32_t *)(queues + completions->tail);
    ring->completion_mask = *(uint32_t *)(queues + completions->ring_mask);
    return 0;
}

static uint32_t set_up_buffers(struct torsion_uring *ring, uint32_t count, uint64_t needed,
                               int *rounds) {
    size_t size = count * sizeof(struct io_uring_buf);
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED) return 0;
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)memory,
                                            .ring_entries = count,
                                            .bgid = TORSION_URING_BUFFER_GROUP};
    int code;
    do
        code = io_uring_register((unsigned)ring->descriptor, IORING_REGISTER_PBUF_RING,
                                 &registration, 1);
    while (has_waited_for_memory(code, needed, rounds));
    if (code != 0) {
        munmap(memory, size);
        return 0;
    }
    ring->buffers = memory;
    ring->buffer_capacity = count;
    return TORSION_URING_BUFFERS;
}

/* Saves the kernel the look-up of the descriptor at each call, Linux 5.18. */
static void register_descriptor(struct torsion_uring *ring) {
    struct io_uring_rsrc_update place = {.offset = UINT32_MAX, .data = (uint64_t)ring->descriptor};
    ring->enter_descriptor = ring->descriptor;
    if (io_uring_register((unsigned)ring->descriptor, IORING_REGISTER_RING_FDS, &place, 1) != 1)
        return;
    ring->enter_descriptor = (int32_t)place.offset;
    ring->enter_flags = IORING_ENTER_REGISTERED_RING;
}

static void unregister_descriptor(struct torsion_uring *ring) {
    if (ring->enter_flags == 0) return;
    struct io_uring_rsrc_update place = {.offset = (uint32_t)ring->enter_descriptor};
    io_uring_register((unsigned)ring->descriptor, IORING_UNREGISTER_RING_FDS, &place, 1);
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

static void release(struct torsion_uring *ring) {
    if (ring->entries != NULL) munmap(ring->entries, entries_size(ring));
    if (ring->queues != NULL) munmap(ring->queues, ring->queues_size);
    unregister_descriptor(ring);
    close(ring->descriptor);
    if (ring->buffers != NULL)
        munmap(ring->buffers, ring->buffer_capacity * sizeof(struct io_uring_buf));
    memset(ring, 0, sizeof *ring);
}

int torsion_uring_open(struct torsion_uring *ring, uint32_t entries, uint32_t completions,
                       uint32_t buffers, uint32_t wanted) {
    memset(ring, 0, sizeof *ring);
    struct io_uring_params parameters;
    uint32_t features = 0;
    uint64_t needed = torsion_uring_bytes_needed(entries, completions, buffers);
    int rounds = 0;
    do
        ring->descriptor =
            set_up(entries, completions, wanted & TORSION_URING_DEFERRED, &parameters, &features);
    while (has_waited_for_memory(ring->descriptor, needed, &rounds));
    if (ring->descriptor < 0) return ring->descriptor;
    ring->kernel_features = parameters.features;
    int code = -EOPNOTSUPP;
    if ((parameters.features & needed_features) == needed_features)
        code = map_queues(ring, &parameters);
    if (code != 0) {
        release(ring);
        return code;
    }
    if (features & TORSION_URING_DEFERRED && ring->kernel_features & IORING_FEAT_CQE_SKIP)
        features |= TORSION_URING_BATCHED_SENDS;
    if (wanted & TORSION_URING_BUFFERS) features |= set_up_buffers(ring, buffers, needed, &rounds);
    ring->features = features & wanted;
    register_descriptor(ring);
    if (ring->features & TORSION_URING_BUFFERS && wanted & TORSION_URING_MULTISHOT_RECEIVE)
        ring->features |= limited_receive(ring);
    return 0;
}

/* What the kernel was to close and never saw: a ring that has failed takes nothing any more. */
static void close_left(struct torsion_uring *ring) {
    uint32_t first = ring->submitted;
    if (ring->entry_tail - first > ring->entry_capacity)
        first = ring->entry_tail - ring->entry_capacity;
    for (; first != ring->entry_tail; first++) {
        struct torsion_uring_entry *entry = &ring->entries[first & ring->entry_mask];
        if (entry->opcode == IORING_OP_CLOSE) close(entry->descriptor);
    }
}

void torsion_uring_close(struct torsion_uring *ring) {
    if (ring->entries == NULL) return;
    close_left(ring);
    release(ring);
}

int torsion_uring_probe(uint32_t entries, uint32_t completions, uint32_t buffers) {
    struct torsion_uring ring;
    int code = torsion_uring_open(&ring, entries, completions, buffers, UINT32_MAX);
    if (code == 0) torsion_uring_close(&ring);
    return code;
}

static uint64_t in_pages(uint64_t size) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

uint64_t torsion_uring_bytes_needed(uint32_t entries, uint32_t completions, uint32_t buffers) {
    const uint64_t head = 512; /* and a little to spare */
    uint64_t queues = head + completions * sizeof(struct io_uring_cqe) + entries * sizeof(uint32_t);
    return in_pages(queues) + in_pages(entries * sizeof(struct io_uring_sqe)) +
           in_pages(buffers * sizeof(struct io_uring_buf));
}

uint64_t torsion_uring_bytes_allowed(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

/* Since 2.4. Found by name, since one built with them would not even start with a 2.3. */
static int library_version(const char *function, int otherwise) {
    int (*version)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, function);
    return version == NULL ? otherwise : version();
}

int torsion_uring_library_major(void) { return library_version("io_uring_major_version", 2); }

int torsion_uring_library_minor(void) { return library_version("io_uring_minor_version", 3); }

#endif
