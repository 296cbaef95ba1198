/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Closed loops of datagrams: each socket has a burst of `depth` in flight, and sends the next when all
// of that have come back. One that is lost must not stall its socket, so it is sent again after a
// while; the answer to the first may still come, so each has a number, and an answer with another is
// dropped.
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { EVENTS = 512, LONGEST = 64 * 1024, DEEPEST = 64, RESEND_MS = 100 };

struct flight {
    int fd;
    uint32_t burst;   // its number
    uint64_t missing; // a bit for each datagram of the burst that has not come back
    uint64_t began;   // when the burst was sent first
    uint64_t sent;    // when something of it was sent last
    uint64_t quota;   // datagrams still to begin, when a number of them was asked for
};

// A batch of one call. Each datagram begins with the number of its burst and its place there.
struct batch {
    struct mmsghdr headers[DEEPEST];
    struct iovec vectors[DEEPEST];
    char *bytes[DEEPEST];
};

static struct batch output, input;
static uint64_t sent_again;

static void make_batch(struct batch *batch, int count, size_t size, const char *content) {
    for (int i = 0; i < count; i++) {
        batch->bytes[i] = malloc(size);
        if (!batch->bytes[i]) die("malloc");
        if (content) memcpy(batch->bytes[i], content, size);
        batch->vectors[i] = (struct iovec){batch->bytes[i], size};
        batch->headers[i].msg_hdr = (struct msghdr){
            .msg_iov = &batch->vectors[i], .msg_iovlen = 1};
    }
}

static int open_socket(int port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) die("socket");
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    return fd;
}

// Sends what is missing of the burst.
static int transmit(struct flight *f, uint64_t time) {
    int count = 0;
    for (uint32_t place = 0; place < DEEPEST; place++) {
        if (!(f->missing >> place & 1)) continue;
        uint32_t number[2] = {f->burst, place};
        memcpy(output.bytes[count++], number, sizeof number);
    }
    f->sent = time;
    // Without room they are as good as lost.
    if (count && sendmmsg(f->fd, output.headers, (unsigned)count, 0) < 0 && errno != EAGAIN)
        die("sendmmsg");
    return count;
}

static void begin(const struct request *request, struct flight *f, uint64_t time) {
    uint64_t count = (uint64_t)request->depth;
    if (count > f->quota) count = f->quota;
    f->quota -= count;
    f->burst++;
    f->missing = count ? UINT64_MAX >> (DEEPEST - count) : 0;
    f->began = time;
    transmit(f, time);
}

// Returns whether it was awaited, and not the answer to one that had been given up.
static int take(const struct request *request, struct flight *f, int i) {
    uint32_t number[2];
    size_t head = sizeof number;
    const char *bytes = input.bytes[i];
    if (input.headers[i].msg_len != request->size ||
        memcmp(bytes + head, output.bytes[0] + head, request->size - head))
        die("the answer differs from what was sent");
    memcpy(number, bytes, head);
    if (number[0] != f->burst || number[1] >= DEEPEST || !(f->missing >> number[1] & 1)) return 0;
    f->missing &= ~((uint64_t)1 << number[1]);
    return 1;
}

// Returns how many came back.
static uint64_t receive(const struct request *request, struct flight *f) {
    int awaited = f->missing != 0;
    uint64_t taken = 0;
    int count = recvmmsg(f->fd, input.headers, (unsigned)request->depth, 0, NULL);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count < 0) die("recvmmsg");
    uint64_t time = now();
    for (int i = 0; i < count; i++) {
        if (!take(request, f, i)) continue;
        histogram_add(time - f->began);
        taken++;
    }
    if (awaited && !f->missing) begin(request, f, time);
    return taken;
}

static void send_lost(const struct request *request, struct flight *all, uint64_t time) {
    for (int i = 0; i < request->connections; i++) {
        struct flight *f = &all[i];
        if (!f->missing || time - f->sent < (uint64_t)RESEND_MS * 1000000u) continue;
        sent_again += (uint64_t)transmit(f, time);
    }
}

static struct flight *open_all(const struct request *request, int poller) {
    struct flight *all = calloc((size_t)request->connections, sizeof *all);
    if (!all) die("calloc");
    uint64_t count = (uint64_t)request->connections;
    for (int i = 0; i < request->connections; i++) {
        struct flight *f = &all[i];
        uint64_t extra = (uint64_t)i < request->messages % count;
        f->quota = request->messages ? request->messages / count + extra : UINT64_MAX;
        f->fd = open_socket(request->port);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = f};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, f->fd, &event)) die("epoll_ctl");
    }
    return all;
}

void load_datagrams(const struct request *request, struct result *result) {
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC), measuring = request->messages > 0;
    if (request->size < 8 || request->size > LONGEST) die("a datagram has 8 to 65536 bytes");
    if (request->depth > DEEPEST) die("at most 64 datagrams in flight");
    make_batch(&output, request->depth, request->size, make_message(request->size));
    // A byte more, so that one that is too long is noticed.
    make_batch(&input, request->depth, request->size + 1, NULL);
    struct flight *all = open_all(request, poller);
    if (measuring) mark_begin(request, result);
    uint64_t start = now(), looked = start, warm = (uint64_t)(request->warm * 1e9);
    uint64_t length = (uint64_t)(request->seconds * 1e9);
    for (int i = 0; i < request->connections; i++) begin(request, &all[i], start);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, RESEND_MS);
        for (int i = 0; i < count; i++) result->messages += receive(request, events[i].data.ptr);
        uint64_t time = now();
        if (time - looked >= (uint64_t)RESEND_MS * 1000000u) {
            send_lost(request, all, time);
            looked = time;
        }
        if (request->messages) {
            if (result->messages == request->messages) break;
        } else if (!measuring && time - start >= warm) {
            mark_begin(request, result);
            measuring = 1;
            start = time;
            sent_again = 0;
        } else if (measuring && time - start >= length) {
            break;
        }
    }
    mark_end(request, result);
    // The server's work for them is in its CPU time, and not among the messages.
    if (sent_again > result->messages / 1000) {
        fprintf(stderr, "load: %llu datagrams were sent again\n", (unsigned long long)sent_again);
        errno = 0;
        die("more than one in a thousand was lost");
    }
}
