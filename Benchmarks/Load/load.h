/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// What the kinds of load share: the request, the result, clocks and the latency histogram.
#ifndef TORSION_LOAD_H
#define TORSION_LOAD_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the command line asked for. */
struct request {
    int port;
    int connections;   /* open at the same time */
    int idle;          /* further ones that said one thing and then wait */
    size_t size;       /* bytes of a message */
    int depth;         /* messages in flight on each connection */
    int fields;        /* of an HTTP request: 3 or 10 */
    const char *target; /* of it */
    size_t body;       /* bytes of its body; 0: a GET, else a POST */
    int burst;         /* send again only when nothing is in flight */
    uint64_t messages; /* end after so many in all; 0: after warm + seconds */
    double warm, seconds;
    double rate;       /* messages a second; `paced` only */
    pid_t server;      /* whose CPU and memory are read; 0: nobody's */
};

/* What was measured between the two marks. */
struct result {
    uint64_t messages;
    uint64_t elapsed, server_cpu, load_cpu; /* nanoseconds */
    double memory_per_connection;           /* bytes; `idle` only */
};

void load_echo(const struct request *request, struct result *result);
void load_connect(const struct request *request, struct result *result);
void load_idle(const struct request *request, struct result *result);
void load_datagrams(const struct request *request, struct result *result);
void load_web_socket(const struct request *request, struct result *result);
void load_http(const struct request *request, struct result *result);
void load_secure(const struct request *request, struct result *result);
void load_hello(const struct request *request, struct result *result);
void load_hello_idle(const struct request *request, struct result *result);
void load_redis_set(const struct request *request, struct result *result);
void load_redis_get(const struct request *request, struct result *result);
void load_paced(const struct request *request, struct result *result);
void load_secure_idle(const struct request *request, struct result *result);
void load_secure_connect(const struct request *request, struct result *result);
void load_secure_resume(const struct request *request, struct result *result);

/* What a process has of memory that is no file's. */
long anonymous_bytes(pid_t server);

__attribute__((noreturn)) void die(const char *what);

uint64_t now(void);

/* Returns one message: a line of `size` bytes, its end included, so that a server of lines can
 * answer it as well. */
char *make_message(size_t size);

/* Opens a blocking connection. `source` chooses one of 250 local addresses: a
 * closed connection keeps its pair of addresses and ports for a minute (TIME_WAIT). */
int open_connection(int port, unsigned source);

/* The same, and sends `message` and takes its answer, so that the server has made everything that it
 * makes for a connection. */
int open_and_greet(const struct request *request, unsigned source, char *message);

/* Marks the begin of what is measured, and takes the difference at its end. */
void mark_begin(const struct request *request, struct result *result);
void mark_end(const struct request *request, struct result *result);

/* Latencies, exact to 1/64. */
void histogram_reset(void);
void histogram_add(uint64_t nanoseconds);
uint64_t histogram_percentile(double fraction);

#endif
