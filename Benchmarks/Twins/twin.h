/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// What the C servers share: [PORT] [--threads N], the listening socket, threads, the line that
// says where they listen. They are the bound that a backend is measured against: one may be made
// faster here, with a measurement, and never slower.
#ifndef TORSION_TWIN_H
#define TORSION_TWIN_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int twin_port, twin_threads = 1, twin_first_listener = -1;
static int twin_type = SOCK_STREAM; // or SOCK_DGRAM

static void twin_die(const char *what) {
    perror(what);
    exit(1);
}

static int twin_bind(void) {
    int one = 1, fd = socket(AF_INET, twin_type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) twin_die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (twin_threads > 1) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    // Accepted sockets inherit TCP_NODELAY from the listener on Linux: one
    // system call less for each connection.
    if (twin_type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)twin_port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&a, sizeof a)) twin_die("bind");
    if (twin_type == SOCK_STREAM && listen(fd, 4096)) twin_die("listen");
    return fd;
}

// Every thread listens on its own socket (SO_REUSEPORT); the kernel spreads
// new connections over them. The first is bound before the threads start, so
// that port 0 becomes one number for all.
static int twin_listen(void) {
    int fd = __atomic_exchange_n(&twin_first_listener, -1, __ATOMIC_SEQ_CST);
    return fd >= 0 ? fd : twin_bind();
}

static int twin_main(int argc, char **argv, const char *backend, void *(*worker)(void *)) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--threads") && i + 1 < argc) twin_threads = atoi(argv[++i]);
        else twin_port = atoi(argv[i]);
    }
    if (twin_port < 0 || twin_port > 65535 || twin_threads < 1) {
        fprintf(stderr, "usage: %s [PORT] [--threads N]\n", argv[0]);
        return 2;
    }
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    signal(SIGPIPE, SIG_IGN);
    twin_first_listener = twin_bind();
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    if (getsockname(twin_first_listener, (struct sockaddr *)&a, &length)) twin_die("getsockname");
    twin_port = ntohs(a.sin_port);
    printf("listening on 127.0.0.1:%d backend=%s threads=%d\n", twin_port, backend, twin_threads);
    fflush(stdout);
    for (int i = 1; i < twin_threads; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, worker, NULL)) twin_die("pthread_create");
    }
    worker(NULL);
    return 0;
}
#endif
