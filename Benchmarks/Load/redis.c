/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// SET and GET of values of `size` bytes under 10,000 keys, in an order that looks like chance.
#include "dialogue.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEYS = 10000, STEP = 7919 /* no divisor of KEYS, so that every key has its turn */ };

static struct dialogue dialogue_of(const char *format, const char *value, size_t answer_bytes,
                                   const char *answer_start) {
    struct dialogue d = {.request_count = KEYS, .answer_bytes = answer_bytes};
    d.answer_start = answer_start;
    d.request_bytes = (size_t)snprintf(NULL, 0, format, 0, value);
    d.requests = malloc(d.request_bytes * KEYS + 1);
    if (!d.requests) die("malloc");
    for (int i = 0; i < KEYS; i++) {
        sprintf(d.requests + (size_t)i * d.request_bytes, format, (int)((long)i * STEP % KEYS), value);
    }
    return d;
}

static int open_quietly(const struct request *request, unsigned source) {
    int fd = open_connection(request->port, source), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Sets every key once. */
static void fill(const struct request *request, const struct dialogue *set) {
    int fd = open_quietly(request, 0);
    for (size_t i = 0; i < set->request_count; i++) {
        char answer[16];
        const char *text = set->requests + i * set->request_bytes;
        if (send(fd, text, set->request_bytes, MSG_NOSIGNAL) < 0) die("send");
        size_t got = 0;
        while (got < set->answer_bytes) {
            ssize_t n = recv(fd, answer + got, set->answer_bytes - got, 0);
            if (n <= 0) die(n ? "recv" : "the server closed a connection");
            got += (size_t)n;
        }
        if (memcmp(answer, set->answer_start, 3)) die("another answer");
    }
    close(fd);
}

static void load_redis(const struct request *request, struct result *result, int gets) {
    char *value = malloc(request->size + 1), format[128], length[32];
    if (!value) die("malloc");
    memset(value, 'x', request->size);
    value[request->size] = 0;
    snprintf(format, sizeof format, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%%012d\r\n$%zu\r\n%%s\r\n",
             request->size);
    struct dialogue set = dialogue_of(format, value, 5, "+OK");
    fill(request, &set);
    size_t answer_bytes = (size_t)snprintf(length, sizeof length, "$%zu\r\n", request->size);
    struct dialogue get = dialogue_of("*2\r\n$3\r\nGET\r\n$16\r\nkey:%012d\r\n", value,
                                      answer_bytes + request->size + 2, length);
    run_loops(request, gets ? &get : &set, result, open_quietly);
}

void load_redis_set(const struct request *request, struct result *result) {
    load_redis(request, result, 0);
}

void load_redis_get(const struct request *request, struct result *result) {
    load_redis(request, result, 1);
}
