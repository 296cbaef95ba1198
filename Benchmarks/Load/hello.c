/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// HTTP/1.1 requests. All answers must have the length of the first; nothing else is decoded.
#include "dialogue.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static struct dialogue hello = {.answer_start = "HTTP/1.1 200"};

static void make_requests(const struct request *request) {
    const char *text = request->fields > 3 ? ten_fields : three_fields;
    hello.request_bytes = strlen(text);
    hello.request_count = (size_t)request->depth;
    hello.requests = malloc(hello.request_bytes * hello.request_count);
    if (!hello.requests) die("malloc");
    for (size_t i = 0; i < hello.request_count; i++) {
        memcpy(hello.requests + i * hello.request_bytes, text, hello.request_bytes);
    }
}

// Sends one request, and takes its answer.
static int open_and_ask(const struct request *request, unsigned source) {
    int fd = open_connection(request->port, source), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (send(fd, hello.requests, hello.request_bytes, MSG_NOSIGNAL) < 0) die("send");
    char input[16 * 1024];
    size_t got = 0;
    while (!hello.answer_bytes || got < hello.answer_bytes) {
        ssize_t n = recv(fd, input + got, sizeof input - 1 - got, 0);
        if (n <= 0) die(n ? "recv" : "the server closed a connection");
        got += (size_t)n;
        input[got] = 0;
        const char *end = strstr(input, "\r\n\r\n"), *length = strcasestr(input, "Content-Length:");
        if (!end || hello.answer_bytes) continue;
        if (!length) die("the answer has no length");
        hello.answer_bytes = (size_t)(end - input) + 4 + strtoul(length + 15, NULL, 10);
    }
    if (got != hello.answer_bytes || strncmp(input, hello.answer_start, 12)) die("another answer");
    return fd;
}

void load_hello(const struct request *request, struct result *result) {
    make_requests(request);
    close(open_and_ask(request, 0)); // it tells how long an answer is
    run_loops(request, &hello, result, open_and_ask);
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
