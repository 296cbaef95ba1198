/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* The io_uring shim by itself, for the sanitizers and for each liburing: see scripts/test-shim.
 * Prints the checks that fail; status 0 if none did, or if the machine has no io_uring. */
#include "torsion_uring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int failures;
#define CHECK(condition)                                                   \
    do {                                                                   \
        if (!(condition)) {                                                \
            failures += 1;                                                 \
            printf("line %d in %s: %s\n", __LINE__, __func__, #condition); \
        }                                                                  \
    } while (0)

enum { BUFFERS = 8, BUFFER_SIZE = 64 };

static struct torsion_uring ring;
static char buffers[BUFFERS][BUFFER_SIZE];

/* Waits for one completion and takes it. */
static struct torsion_uring_completion next(void) {
    uint32_t failed = 0;
    for (int i = 0; i < 100 && torsion_uring_completions_end(&ring) == ring.head; i++)
        CHECK(torsion_uring_wait(&ring, 1000000000, &failed) == 0);
    struct torsion_uring_completion result = {.user_data = UINT64_MAX};
    if (torsion_uring_completions_end(&ring) == ring.head) return result;
    result = *torsion_uring_completion_at(&ring, ring.head++);
    torsion_uring_give_room(&ring);
    return result;
}

/* More than there are entries, so that the table of them is gone round. */
static void operations_complete(void) {
    for (uint64_t i = 1; i <= 3 * ring.entry_capacity; i++) {
        /* There is nothing to cancel, which is told at once. */
        torsion_uring_prepare_cancel(torsion_uring_next_entry(&ring), 8, i * 16);
        struct torsion_uring_completion end = next();
        CHECK(end.user_data == i * 16 && end.result == -ENOENT);
    }
}

static void bytes_are_sent_and_received(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    for (uint16_t i = 0; i < BUFFERS; i++)
        torsion_uring_give_buffer(&ring, i, buffers[i], BUFFER_SIZE);
    torsion_uring_prepare_receive(torsion_uring_next_entry(&ring), ends[0], 0, 16);
    torsion_uring_prepare_send_all(torsion_uring_next_entry(&ring), ends[1], "hello", 5, 32);
    for (int i = 0; i < 2; i++) {
        struct torsion_uring_completion end = next();
        CHECK(end.result == 5 && (end.user_data == 16 || end.user_data == 32));
        if (end.user_data != 16) continue;
        CHECK(end.flags & TORSION_URING_HAS_BUFFER);
        CHECK(memcmp(buffers[end.flags >> TORSION_URING_BUFFER_SHIFT], "hello", 5) == 0);
    }
    close(ends[0]), close(ends[1]);
}

static void a_poll_is_told_and_cancelled(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    torsion_uring_prepare_poll(torsion_uring_next_entry(&ring), ends[0], TORSION_URING_READABLE, 0,
                               48);
    CHECK(write(ends[1], "x", 1) == 1);
    struct torsion_uring_completion end = next();
    CHECK(end.user_data == 48 && end.result & TORSION_URING_READABLE);
    torsion_uring_prepare_poll(torsion_uring_next_entry(&ring), ends[1], TORSION_URING_READABLE, 0,
                               64);
    torsion_uring_prepare_cancel(torsion_uring_next_entry(&ring), 64, 80);
    for (int i = 0; i < 2; i++) {
        end = next();
        CHECK((end.user_data == 64 && end.result == -ECANCELED) ||
              (end.user_data == 80 && end.result == 0));
    }
    close(ends[0]), close(ends[1]);
}

static void a_ring_of_some_size(uint32_t entries, uint32_t completions, uint32_t wanted) {
    CHECK(torsion_uring_open(&ring, entries, completions, BUFFERS, wanted) == 0);
    operations_complete();
    if (ring.features & TORSION_URING_BUFFERS) bytes_are_sent_and_received();
    a_poll_is_told_and_cancelled();
    torsion_uring_close(&ring);
    torsion_uring_close(&ring);
}

int main(void) {
    int code = torsion_uring_probe(1024, 8192, 512);
    if (code == 0) {
        /* As many as a thread may register, and more. */
        for (int i = 0; i < 20; i++) a_ring_of_some_size(4, 8, UINT32_MAX);
        a_ring_of_some_size(1024, 8192, UINT32_MAX);
        a_ring_of_some_size(4, 8, 0);
    }
    printf("liburing %d.%d: %s\n", torsion_uring_library_major(), torsion_uring_library_minor(),
           failures > 0 ? "failed" : code == 0 ? "all checks passed" : strerror(-code));
    return failures != 0;
}
