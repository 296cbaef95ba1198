/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// HTTP/1.1 in closed loops over kept connections: each sends `depth` requests in one call, and again when
// as many answers are back. All answers must have the length of the first; nothing else is decoded.
#include "load.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { READ_BYTES = 256 * 1024, EVENTS = 512 };

struct connection {
    int fd;
    size_t got;     // bytes of the present answers
    int in_flight;  // requests
    uint64_t quota; // requests still to send, when a number of them was asked for
    uint64_t began;
};

// What curl sends, and what a browser does.
static const char three_fields[] =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
static const char ten_fields[] =
    "GET / HTTP/1.1\r\nHost: localhost:8080\r\nConnection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: none\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n";

static char *requests; // `depth` of them
static size_t request_bytes, answer_bytes;
static char input[READ_BYTES];

static void make_requests(const struct request *request) {
    const char *text = request->fields > 3 ? ten_fields : three_fields;
    request_bytes = strlen(text);
    requests = malloc(request_bytes * (size_t)request->depth);
    if (!requests) die("malloc");
    for (int i = 0; i < request->depth; i++) {
        memcpy(requests + (size_t)i * request_bytes, text, request_bytes);
    }
}

// Sends one request, and takes its answer.
static int open_and_ask(const struct request *request, unsigned source) {
    int fd = open_connection(request->port, source), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (send(fd, requests, request_bytes, MSG_NOSIGNAL) < 0) die("send");
    size_t got = 0;
    while (!answer_bytes || got < answer_bytes) {
        ssize_t n = recv(fd, input + got, READ_BYTES - 1 - got, 0);
        if (n <= 0) die(n ? "recv" : "the server closed a connection");
        got += (size_t)n;
        input[got] = 0;
        const char *end = strstr(input, "\r\n\r\n"), *length = strcasestr(input, "Content-Length:");
        if (!end || answer_bytes) continue;
        if (!length) die("the answer has no length");
        answer_bytes = (size_t)(end - input) + 4 + strtoul(length + 15, NULL, 10);
    }
    if (got != answer_bytes || strncmp(input, "HTTP/1.1 200", 12)) die("another answer");
    return fd;
}

static void begin(const struct request *request, struct connection *c, uint64_t time) {
    uint64_t count = c->quota < (uint64_t)request->depth ? c->quota : (uint64_t)request->depth;
    c->in_flight = (int)count;
    c->quota -= count;
    c->got = 0;
    c->began = time;
    if (count && send(c->fd, requests, request_bytes * count, MSG_NOSIGNAL) < 0) die("send");
}

// Returns how many answers came back whole.
static uint64_t receive(const struct request *request, struct connection *c) {
    ssize_t n = recv(c->fd, input, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) die(n ? "recv" : "the server closed a connection");
    if (c->got == 0 && n > 12 && memcmp(input, "HTTP/1.1 200", 12)) die("another status");
    c->got += (size_t)n;
    uint64_t count = (uint64_t)c->in_flight;
    if (c->got > answer_bytes * count) die("a longer answer");
    if (c->got < answer_bytes * count) return 0;
    uint64_t time = now();
    for (uint64_t i = 0; i < count; i++) histogram_add(time - c->began);
    begin(request, c, time);
    return count;
}

void load_hello(const struct request *request, struct result *result) {
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC), measuring = request->messages > 0;
    make_requests(request);
    struct connection *all = calloc((size_t)request->connections, sizeof *all);
    if (!all) die("calloc");
    for (int i = 0; i < request->connections; i++) {
        uint64_t count = (uint64_t)request->connections;
        uint64_t extra = (uint64_t)i < request->messages % count;
        all[i].quota = request->messages ? request->messages / count + extra : UINT64_MAX;
        all[i].fd = open_and_ask(request, (unsigned)i);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &event)) die("epoll_ctl");
    }
    if (measuring) mark_begin(request, result);
    uint64_t start = now(), warm = (uint64_t)(request->warm * 1e9);
    uint64_t length = (uint64_t)(request->seconds * 1e9);
    for (int i = 0; i < request->connections; i++) begin(request, &all[i], start);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, 20000);
        if (count == 0) die("the server answered nothing for 20 seconds");
        for (int i = 0; i < count; i++) result->messages += receive(request, events[i].data.ptr);
        if (request->messages) {
            if (result->messages == request->messages) break;
            continue;
        }
        uint64_t time = now();
        if (!measuring && time - start >= warm) {
            mark_begin(request, result);
            measuring = 1;
            start = time;
        } else if (measuring && time - start >= length) {
            break;
        }
    }
    mark_end(request, result);
}

void load_hello_idle(const struct request *request, struct result *result) {
    enum { BEFORE = 16 };  // what the first connections set up once is not an idle one's price
    if (!request->server) die("hello-idle needs --server");
    make_requests(request);
    unsigned index = 0;
    while (index < BEFORE) open_and_ask(request, index++);
    long before = anonymous_bytes(request->server);
    mark_begin(request, result);
    while (index < BEFORE + (unsigned)request->connections) open_and_ask(request, index++);
    mark_end(request, result);
    result->messages = (uint64_t)request->connections;
    result->memory_per_connection =
        (double)(anonymous_bytes(request->server) - before) / request->connections;
}
