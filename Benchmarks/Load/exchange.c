/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Closed loops of what has other bytes as its answer: messages of a WebSocket, and requests of HTTP. Each
// connection has `depth` in flight, and each answer is as long as the first one.
#include "load.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, EVENTS = 512 };

struct connection {
    int fd;
    size_t got;       // of the present answer
    uint64_t quota;   // still to ask, when a number of messages was asked for
    uint64_t began;   // when the latest was asked
    int in_flight;
};

// What is asked, and what the answer to one of them is.
static char *asked;
static size_t asked_bytes, answer_bytes;
static char first[64];
static size_t first_bytes;
static char input[READ_BYTES];

static void send_all(int fd, const char *bytes, size_t count) {
    while (count) {
        ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);
        if (n < 0) die("send");
        bytes += n;
        count -= (size_t)n;
    }
}

// Reads the head of an answer; returns what has come behind it, which is moved to the begin.
static size_t read_head(int fd, char *head, size_t room, char **end) {
    size_t count = 0;
    for (;;) {
        ssize_t n = recv(fd, head + count, room - 1 - count, 0);
        if (n <= 0) die("the server closed a connection before it had answered");
        count += (size_t)n;
        head[count] = 0;
        *end = strstr(head, "\r\n\r\n");
        if (*end) {
            *end += 4;
            return count - (size_t)(*end - head);
        }
    }
}

static void shake_hands(int fd) {
    static const char request[] =
        "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    char head[4096], *end;
    send_all(fd, request, sizeof request - 1);
    if (read_head(fd, head, sizeof head, &end) || strncmp(head, "HTTP/1.1 101", 12))
        die("the server agreed on no WebSocket");
}

// A binary message, masked; its answer is the same without a mask.
static void make_frame(size_t size) {
    if (size > 125) die("a message of a WebSocket has at most 125 bytes here");
    asked_bytes = size + 6;
    asked = malloc(asked_bytes);
    char *message = make_message(size);
    if (!asked) die("malloc");
    memcpy(asked, (char[]){(char)0x82, (char)(0x80 | size), 0x12, 0x34, 0x56, 0x78}, 6);
    for (size_t i = 0; i < size; i++) asked[6 + i] = message[i] ^ asked[2 + i % 4];
    first[0] = (char)0x82;
    first[1] = (char)size;
    memcpy(first + 2, message, 60);
    first_bytes = 2 + (size < 60 ? size : 60);
    answer_bytes = size + 2;
    free(message);
}

// Asks once, to see how long an answer is.
static void make_request(const struct request *request) {
    static const char text[] = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
    asked = strdup(text);
    if (!asked) die("strdup");
    asked_bytes = sizeof text - 1;
    char head[65536], *end;
    int fd = open_connection(request->port, 0);
    send_all(fd, asked, asked_bytes);
    read_head(fd, head, sizeof head, &end);
    char *length = strcasestr(head, "\r\ncontent-length:");
    if (!length || length > end || strncmp(head, "HTTP/1.1 200", 12))
        die("the server's answer is not 200 with a length");
    answer_bytes = (size_t)(end - head) + strtoul(length + 17, NULL, 10);
    memcpy(first, head, first_bytes = 12);
    close(fd);
}

static void ask(const struct request *request, struct connection *c) {
    uint64_t time = now();
    while (c->in_flight < request->depth && c->quota) {
        send_all(c->fd, asked, asked_bytes);
        c->began = time;
        c->in_flight++;
        c->quota--;
    }
}

static uint64_t receive(const struct request *request, struct connection *c) {
    ssize_t n = recv(c->fd, input, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) die(n ? "recv" : "the server closed a connection");
    if (!c->got && memcmp(input, first, first_bytes < (size_t)n ? first_bytes : (size_t)n))
        die("the answer differs from what it should be");
    uint64_t whole = (c->got + (size_t)n) / answer_bytes;
    c->got = (c->got + (size_t)n) % answer_bytes;
    for (uint64_t i = 0; i < whole; i++) histogram_add(now() - c->began);
    c->in_flight -= (int)whole;
    ask(request, c);
    return whole;
}

static void load_exchange(const struct request *request, struct result *result, int is_web_socket) {
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC), measuring = request->messages > 0;
    struct connection *all = calloc((size_t)request->connections, sizeof *all);
    if (!all) die("calloc");
    for (int i = 0; i < request->connections; i++) {
        struct connection *c = &all[i];
        uint64_t count = (uint64_t)request->connections;
        uint64_t extra = (uint64_t)i < request->messages % count;
        c->quota = request->messages ? request->messages / count + extra : UINT64_MAX;
        c->fd = open_connection(request->port, (unsigned)i);
        int one = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (is_web_socket) shake_hands(c->fd);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    }
    if (measuring) mark_begin(request, result);
    uint64_t start = now();
    for (int i = 0; i < request->connections; i++) ask(request, &all[i]);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, 20000);
        if (count == 0) die("the server answered nothing for 20 seconds");
        for (int i = 0; i < count; i++) result->messages += receive(request, events[i].data.ptr);
        if (request->messages) {
            if (result->messages == request->messages) break;
            continue;
        }
        uint64_t time = now();
        if (!measuring && time - start >= (uint64_t)(request->warm * 1e9)) {
            mark_begin(request, result);
            measuring = 1;
            start = time;
        } else if (measuring && time - start >= (uint64_t)(request->seconds * 1e9)) {
            break;
        }
    }
    mark_end(request, result);
}

void load_web_socket(const struct request *request, struct result *result) {
    make_frame(request->size);
    load_exchange(request, result, 1);
}

void load_http(const struct request *request, struct result *result) {
    make_request(request);
    load_exchange(request, result, 0);
}
