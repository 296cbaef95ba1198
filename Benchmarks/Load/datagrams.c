/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Closed loops of datagrams: each socket has one in flight, and sends the next when that has come
// back. One that is lost must not stall its socket, so it is sent again after a while; the answer to
// the first may still come, so each has a number, and an answer with another is dropped.
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { EVENTS = 512, LONGEST = 64 * 1024, RESEND_MS = 100 };

struct flight {
    int fd;
    int is_out;      // whether a datagram is in flight
    uint32_t number; // its number, which it begins with
    uint64_t began;  // when it was sent first
    uint64_t sent;   // when it was sent last
    uint64_t quota;  // datagrams still to begin, when a number of them was asked for
};

static char *message;
static char input[LONGEST];
static uint64_t sent_again;

static int open_socket(int port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) die("socket");
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    return fd;
}

static void transmit(const struct request *request, struct flight *f, uint64_t time) {
    memcpy(message, &f->number, sizeof f->number);
    f->sent = time;
    // Without room it is as good as lost.
    if (send(f->fd, message, request->size, 0) < 0 && errno != EAGAIN) die("send");
}

static void begin(const struct request *request, struct flight *f, uint64_t time) {
    f->is_out = f->quota > 0;
    if (!f->is_out) return;
    f->quota--;
    f->number++;
    f->began = time;
    transmit(request, f, time);
}

// Returns how many came back: one, or none if it was an answer to what had been given up.
static uint64_t receive(const struct request *request, struct flight *f) {
    uint32_t number;
    ssize_t n = recv(f->fd, input, sizeof input, 0);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) die("recv");
    size_t head = sizeof number;
    if ((size_t)n != request->size || memcmp(input + head, message + head, request->size - head))
        die("the answer differs from what was sent");
    memcpy(&number, input, sizeof number);
    if (!f->is_out || number != f->number) return 0;
    uint64_t time = now();
    histogram_add(time - f->began);
    begin(request, f, time);
    return 1;
}

static void send_lost(const struct request *request, struct flight *all, uint64_t time) {
    for (int i = 0; i < request->connections; i++) {
        struct flight *f = &all[i];
        if (!f->is_out || time - f->sent < (uint64_t)RESEND_MS * 1000000u) continue;
        sent_again++;
        transmit(request, f, time);
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
    message = make_message(request->size);
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
