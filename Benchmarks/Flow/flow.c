/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Moves bytes through a program, and reads what that costs it.
//
//   flow proxy BYTES -- COMMAND...   through a proxy, from one connection to another
//   flow send -- COMMAND...          what the program sends to a server here, to its end
//   flow sendfile FILE PORT          the C twin of a sender: a loop over sendfile(2)
//
// In a command @LISTEN is where a proxy has to listen and @TARGET where it, or a sender, has to
// connect to; both are in the environment too, as LISTEN and TARGET. The program runs on core 0, the
// rest on core 1. The last line of the output: bytes, and the program's nanoseconds of CPU for them.
// Starting is not counted: the CPU clock is read when the connection is there and again at the end.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 * 1024 };
static const uint64_t warm_bytes = 32u << 20;

__attribute__((noreturn)) static void die(const char *what) {
    perror(what);
    exit(1);
}

/* A program that ends before its time would be waited for without end. */
static volatile sig_atomic_t may_end;

static void child_ended(int number) {
    (void)number;
    static const char text[] = "flow: the program ended early\n";
    if (may_end) return;
    if (write(2, text, sizeof text - 1) < 0) _exit(2);
    _exit(1);
}

static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set); /* a machine with one core measures all the same */
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

/* Listens, or only takes a port that is then free again. */
static int take_port(int *descriptor) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = loopback(0);
    socklen_t size = sizeof a;
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a)) die("bind");
    if (getsockname(fd, (struct sockaddr *)&a, &size)) die("getsockname");
    if (descriptor == NULL) {
        close(fd);
    } else {
        if (listen(fd, 16)) die("listen");
        *descriptor = fd;
    }
    return ntohs(a.sin_port);
}

/* Tries for ten seconds: a program needs a moment until it listens. */
static int connect_to(int port) {
    for (int tries = 0; tries < 5000; tries++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = loopback(port);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
        close(fd);
        usleep(2000);
    }
    die("connect");
}

static uint64_t cpu_of(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) die("clock_gettime");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Starts the command with its ports filled in. */
static pid_t start(char **command, int listen_port, int target_port) {
    char numbers[2][16];
    snprintf(numbers[0], sizeof numbers[0], "%d", listen_port);
    snprintf(numbers[1], sizeof numbers[1], "%d", target_port);
    setenv("LISTEN", numbers[0], 1);
    setenv("TARGET", numbers[1], 1);
    static const char *const marks[2] = {"@LISTEN", "@TARGET"};
    for (char **word = command; *word != NULL; word++) {
        for (int i = 0; i < 2; i++) {
            char *found = strstr(*word, marks[i]);
            if (found == NULL) continue;
            char *made;
            if (asprintf(&made, "%.*s%s%s", (int)(found - *word), *word, numbers[i],
                         found + strlen(marks[i])) < 0)
                die("asprintf");
            *word = made;
        }
    }
    signal(SIGCHLD, child_ended);
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid > 0) return pid;
    signal(SIGCHLD, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(0);
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    execvp(command[0], command);
    die(command[0]);
}

static void end(pid_t pid) {
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static void receive(int fd, uint64_t count) {
    while (count > 0) {
        /* MSG_TRUNC drops what arrives without a copy: tcp(7). */
        ssize_t got = recv(fd, NULL, count < PIECE ? count : PIECE, MSG_TRUNC);
        if (got <= 0) die("recv");
        count -= (uint64_t)got;
    }
}

struct writing {
    int fd;
    uint64_t count;
};

static void *write_all(void *argument) {
    struct writing *work = argument;
    static char bytes[PIECE];
    uint64_t count = work->count;
    while (count > 0) {
        ssize_t sent = send(work->fd, bytes, count < PIECE ? count : PIECE, MSG_NOSIGNAL);
        if (sent <= 0) die("send");
        count -= (uint64_t)sent;
    }
    return NULL;
}

static void move_bytes(int from, int to, uint64_t count) {
    struct writing work = {from, count};
    pthread_t thread;
    if (pthread_create(&thread, NULL, write_all, &work)) die("pthread_create");
    receive(to, count);
    pthread_join(thread, NULL);
}

static int measure_proxy(uint64_t count, char **command) {
    int listener, target = take_port(&listener), port = take_port(NULL);
    pid_t pid = start(command, port, target);
    pin(1);
    int from = connect_to(port), to = accept(listener, NULL, NULL);
    if (to < 0) die("accept");
    move_bytes(from, to, warm_bytes);
    uint64_t before = cpu_of(pid);
    move_bytes(from, to, count);
    printf("%llu %llu\n", (unsigned long long)count, (unsigned long long)(cpu_of(pid) - before));
    may_end = 1;
    close(from);
    close(to);
    end(pid);
    return 0;
}

static int measure_send(char **command) {
    int listener, target = take_port(&listener);
    pid_t pid = start(command, 0, target);
    pin(1);
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) die("accept");
    uint64_t before = cpu_of(pid), count = 0;
    ssize_t got;
    while ((got = recv(fd, NULL, PIECE, MSG_TRUNC)) > 0) count += (uint64_t)got;
    if (got < 0) die("recv");
    /* It waits for our end. */
    printf("%llu %llu\n", (unsigned long long)count, (unsigned long long)(cpu_of(pid) - before));
    may_end = 1;
    close(fd);
    waitpid(pid, NULL, 0);
    return 0;
}

static int send_file(const char *path, int port) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status)) die(path);
    int fd = connect_to(port);
    off_t offset = 0;
    while (offset < status.st_size) {
        if (sendfile(fd, file, &offset, (size_t)(status.st_size - offset)) <= 0) die("sendfile");
    }
    shutdown(fd, SHUT_WR);
    char byte;
    return read(fd, &byte, 1) == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc > 4 && !strcmp(argv[1], "proxy") && !strcmp(argv[3], "--"))
        return measure_proxy(strtoull(argv[2], NULL, 10), argv + 4);
    if (argc > 3 && !strcmp(argv[1], "send") && !strcmp(argv[2], "--"))
        return measure_send(argv + 3);
    if (argc == 4 && !strcmp(argv[1], "sendfile")) return send_file(argv[2], atoi(argv[3]));
    fprintf(stderr, "usage: flow proxy BYTES -- COMMAND... | send -- COMMAND... | sendfile FILE PORT\n");
    return 2;
}
