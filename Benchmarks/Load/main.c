/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// The load generator: one thread, epoll, no allocation while it measures, nothing decoded. It reads
// the server's CPU clock itself at both ends of the measured time, so that neither the start of a
// process nor connecting is counted, and it says what share of a core it needed: near 100 %, the
// messages a second are its own limit, and only the server's CPU for a message means anything.
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static uint64_t read_clock(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) die("clock_gettime");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now(void) { return read_clock(CLOCK_MONOTONIC); }

char *make_message(size_t size) {
    char *message = malloc(size);
    if (!message) die("malloc");
    for (size_t i = 0; i < size; i++) message[i] = (char)('a' + i % 26);
    memcpy(message + size - 2, "\r\n", 2);
    return message;
}

int open_connection(int port, unsigned source) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    // Without it bind() would take a port that no other connection may share.
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + source % 250);
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    return fd;
}

int open_and_greet(const struct request *request, unsigned source, char *message) {
    int fd = open_connection(request->port, source);
    if (send(fd, message, request->size, MSG_NOSIGNAL) != (ssize_t)request->size) die("send");
    if (recv(fd, message, request->size, MSG_WAITALL) != (ssize_t)request->size) die("recv");
    return fd;
}

// The CPU clock of another process, in nanoseconds; /proc/PID/stat counts in hundredths.
static uint64_t server_cpu(pid_t server) {
    clockid_t clock;
    if (!server) return 0;
    if (clock_getcpuclockid(server, &clock)) die("clock_getcpuclockid");
    return read_clock(clock);
}

void mark_begin(const struct request *request, struct result *result) {
    histogram_reset();
    result->messages = 0;
    result->server_cpu = server_cpu(request->server);
    result->load_cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    result->elapsed = now();
}

void mark_end(const struct request *request, struct result *result) {
    result->elapsed = now() - result->elapsed;
    result->load_cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID) - result->load_cpu;
    result->server_cpu = server_cpu(request->server) - result->server_cpu;
}

static void give_up(int signal) {
    static const char text[] = "load: the server did not keep up with the time allowed\n";
    (void)signal;
    if (write(2, text, sizeof text - 1) < 0) _exit(2);
    _exit(1);
}

static const char usage[] =
    "usage: load echo|paced|connect|idle|datagrams|websocket|http|hello|hello-idle|secure|secure-idle|\n"
    "            secure-connect|secure-resume|redis-set|redis-get --port N\n"
    "            [--connections N] [--idle N] [--size BYTES] [--depth N] [--burst]\n"
    "            [--fields 3|10] [--target /PATH] [--body BYTES]\n"
    "            [--rate MESSAGES_A_SECOND] [--server PID]\n"
    "            [--messages N | --warm SECONDS --seconds SECONDS]\n"
    "Prints one line of JSON.\n";

static int parse(int argc, char **argv, struct request *r) {
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--burst")) {
            r->burst = 1;
            continue;
        }
        if (++i == argc) return 0;
        const char *value = argv[i];
        if (!strcmp(name, "--port")) r->port = atoi(value);
        else if (!strcmp(name, "--connections")) r->connections = atoi(value);
        else if (!strcmp(name, "--idle")) r->idle = atoi(value);
        else if (!strcmp(name, "--size")) r->size = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--depth")) r->depth = atoi(value);
        else if (!strcmp(name, "--fields")) r->fields = atoi(value);
        else if (!strcmp(name, "--target")) r->target = value;
        else if (!strcmp(name, "--body")) r->body = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--messages")) r->messages = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--rate")) r->rate = atof(value);
        else if (!strcmp(name, "--warm")) r->warm = atof(value);
        else if (!strcmp(name, "--seconds")) r->seconds = atof(value);
        else if (!strcmp(name, "--server")) r->server = atoi(value);
        else return 0;
    }
    return r->port > 0 && r->connections > 0 && r->size >= 2 && r->depth > 0 && r->seconds > 0;
}

int main(int argc, char **argv) {
    struct request request = {.connections = 1, .size = 64, .depth = 1, .fields = 3, .target = "/",
                              .warm = 0.1, .seconds = 1};
    struct result result = {0};
    void (*load)(const struct request *, struct result *) = NULL;
    const char *kind = argc > 1 ? argv[1] : "";
    if (!strcmp(kind, "echo")) load = load_echo;
    if (!strcmp(kind, "connect")) load = load_connect;
    if (!strcmp(kind, "idle")) load = load_idle;
    if (!strcmp(kind, "datagrams")) load = load_datagrams;
    if (!strcmp(kind, "websocket")) load = load_web_socket;
    if (!strcmp(kind, "http")) load = load_http;
    if (!strcmp(kind, "secure")) load = load_secure;
    if (!strcmp(kind, "secure-idle")) load = load_secure_idle;
    if (!strcmp(kind, "secure-connect")) load = load_secure_connect;
    if (!strcmp(kind, "secure-resume")) load = load_secure_resume;
    if (!strcmp(kind, "hello")) load = load_hello;
    if (!strcmp(kind, "hello-idle")) load = load_hello_idle;
    if (!strcmp(kind, "redis-set")) load = load_redis_set;
    if (!strcmp(kind, "redis-get")) load = load_redis_get;
    if (!strcmp(kind, "paced")) load = load_paced;
    if (!load || !parse(argc, argv, &request) || (load == load_paced && request.rate <= 0)) {
        fputs(usage, stderr);
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGPIPE, SIG_IGN);
    // A server that stops answering must not hang whoever measures it.
    signal(SIGALRM, give_up);
    alarm(request.messages ? 300 : (unsigned)(request.warm + request.seconds) + 30);
    load(&request, &result);
    printf("{\"messages\":%" PRIu64 ",\"seconds\":%.6f,\"serverSeconds\":%.6f,"
           "\"loadSeconds\":%.6f,\"p50Microseconds\":%.2f,\"p99Microseconds\":%.2f,"
           "\"memoryPerConnection\":%.1f}\n",
           result.messages, (double)result.elapsed / 1e9, (double)result.server_cpu / 1e9,
           (double)result.load_cpu / 1e9, (double)histogram_percentile(0.5) / 1e3,
           (double)histogram_percentile(0.99) / 1e3, result.memory_per_connection);
    return 0;
}
