/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// HTTP/1.1 requests, with or without a body. All answers must have the length of the first; nothing else is
// decoded.
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
    "Host: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n";
static const char ten_fields[] =
    "Host: localhost:8080\r\nConnection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: none\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n";

static struct dialogue hello = {.answer_start = "HTTP/1.1 200"};

static char *make_request(const struct request *request, size_t *bytes) {
    char head[4096], length[64] = "";
    if (request->body) snprintf(length, sizeof length, "Content-Length: %zu\r\n", request->body);
    int count = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\n%s%s\r\n", request->body ? "POST" : "GET",
                         request->target, request->fields > 3 ? ten_fields : three_fields, length);
    if (count < 0 || (size_t)count >= sizeof head) die("a head of 4 KiB and more");
    *bytes = (size_t)count + request->body;
    char *text = malloc(*bytes);
    if (!text) die("malloc");
    memcpy(text, head, (size_t)count);
    memset(text + count, 'x', request->body);
    return text;
}

static void make_requests(const struct request *request) {
    char *text = make_request(request, &hello.request_bytes);
    hello.request_count = (size_t)request->depth;
    hello.requests = malloc(hello.request_bytes * hello.request_count);
    if (!hello.requests) die("malloc");
    for (size_t i = 0; i < hello.request_count; i++) {
        memcpy(hello.requests + i * hello.request_bytes, text, hello.request_bytes);
    }
    free(text);
}

static size_t receive(int fd, char *to, size_t room) {
    ssize_t n = recv(fd, to, room, 0);
    if (n <= 0) die(n ? "recv" : "the server closed a connection");
    return (size_t)n;
}

// Sends one request, and takes its answer, which may be longer than what is kept of it.
static int open_and_ask(const struct request *request, unsigned source) {
    int fd = open_connection(request->port, source), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (send(fd, hello.requests, hello.request_bytes, MSG_NOSIGNAL) < 0) die("send");
    char input[16 * 1024], *end = NULL;
    size_t got = 0;
    while (!end) {
        got += receive(fd, input + got, sizeof input - 1 - got);
        input[got] = 0;
        end = strstr(input, "\r\n\r\n");
    }
    const char *length = strcasestr(input, "Content-Length:");
    if (!length || length > end) die("the answer has no length");
    size_t whole = (size_t)(end - input) + 4 + strtoul(length + 15, NULL, 10);
    if (strncmp(input, hello.answer_start, strlen(hello.answer_start))) die("another answer");
    if (hello.answer_bytes && hello.answer_bytes != whole) die("an answer of another length");
    hello.answer_bytes = whole;
    while (got < whole) got += receive(fd, input, sizeof input);
    if (got != whole) die("more than an answer");
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
