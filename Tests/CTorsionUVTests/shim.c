/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* The libuv shim by itself, for the sanitizers: see scripts/test-shim. Prints the checks that fail;
 * status 0 if none did. */
#include "shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;
#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            failures += 1;                                                     \
            printf("line %d in %s: %s\n", __LINE__, __func__, #condition);     \
        }                                                                      \
    } while (0)

static torsion_uv_loop *loop;

static void turn(uint64_t milliseconds) {
    torsion_uv_loop_turn(loop, torsion_uv_now_ns() + milliseconds * 1000000);
}

typedef struct {
    int count, events;
    torsion_uv_watch *watch, *victim;
} seen;

static void note(void *context, int events) {
    seen *it = context;
    it->count += 1;
    it->events = events;
    if (it->victim != NULL) {
        torsion_uv_watch_close(it->victim);
        it->victim = NULL;
    }
}

static void tcp_pair(int fds[2]) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    CHECK(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 1) == 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fds[0], (struct sockaddr *)&address, length) == 0);
    fds[1] = accept(listener, NULL, NULL);
    close(listener);
}

static void send_reset(int fd) {
    struct linger zero = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &zero, sizeof zero);
    close(fd);
}

static void watch_is_level_triggered_and_changes(void) {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    seen it = {0};
    CHECK(torsion_uv_watch_open(loop, fds[0], TORSION_UV_READABLE, &it, note, &it.watch) == 0);
    turn(0);
    CHECK(it.count == 0);
    CHECK(write(fds[1], "x", 1) == 1);
    turn(1000);
    turn(1000);
    CHECK(it.count == 2 && it.events == TORSION_UV_READABLE);
    CHECK((fcntl(fds[0], F_GETFL) & O_NONBLOCK) == 0);
    torsion_uv_watch_change(it.watch, TORSION_UV_WRITABLE);
    turn(1000);
    CHECK(it.count == 3 && it.events == TORSION_UV_WRITABLE);
    torsion_uv_watch_change(it.watch, 0);
    turn(5);
    CHECK(it.count == 3);
    torsion_uv_watch_change(it.watch, TORSION_UV_READABLE | TORSION_UV_WRITABLE);
    turn(1000);
    CHECK(it.count == 4 && it.events == (TORSION_UV_READABLE | TORSION_UV_WRITABLE));
    seen other = {0};
    int code =
        torsion_uv_watch_open(loop, fds[0], TORSION_UV_READABLE, &other, note, &other.watch);
    CHECK(code == -EEXIST);
    torsion_uv_watch_close(it.watch);
    turn(5);
    CHECK(it.count == 4);
    close(fds[0]);
    close(fds[1]);
}

static void closing_in_a_batch_silences_the_others(void) {
    int a[2], b[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, b) == 0);
    seen first = {0}, second = {0}, third = {0};
    torsion_uv_watch_open(loop, a[0], TORSION_UV_READABLE, &first, note, &first.watch);
    torsion_uv_watch_open(loop, b[0], TORSION_UV_READABLE, &second, note, &second.watch);
    first.victim = second.watch;
    second.victim = first.watch;
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    turn(1000);
    CHECK(first.count + second.count == 1);
    seen *left = first.count ? &first : &second, *gone = first.count ? &second : &first;
    /* The number's handle is used again. */
    int number = first.count ? b[0] : a[0];
    torsion_uv_watch_open(loop, number, TORSION_UV_WRITABLE, &third, note, &third.watch);
    CHECK(third.watch == gone->watch);
    turn(1000);
    CHECK(gone->count == 0 && third.count == 1 && third.events == TORSION_UV_WRITABLE);
    torsion_uv_watch_close(left->watch);
    torsion_uv_watch_close(third.watch);
    close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

static void resets_are_told(int asked, int expected) {
    int fds[2];
    tcp_pair(fds);
    seen it = {0};
    CHECK(torsion_uv_watch_open(loop, fds[0], asked, &it, note, &it.watch) == 0);
    turn(0);
    it.count = 0;
    send_reset(fds[1]);
    turn(1000);
    CHECK(it.count == 1 && it.events == expected);
    turn(1000); /* level-triggered, although libuv stops its handle */
    CHECK(it.count == 2);
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fds[0], SOL_SOCKET, SO_ERROR, &error, &length);
    CHECK(error == ECONNRESET);
    torsion_uv_watch_close(it.watch);
    close(fds[0]);
}

static void an_urgent_byte_does_not_spin(void) {
    int fds[2];
    tcp_pair(fds);
    seen it = {0};
    CHECK(torsion_uv_watch_open(loop, fds[0], 0, &it, note, &it.watch) == 0);
    CHECK(send(fds[1], "!", 1, MSG_OOB) == 1);
    turn(20);
    uint64_t start = torsion_uv_now_ns();
    turn(20);
    CHECK(torsion_uv_now_ns() - start >= 20000000);
    CHECK(it.count == 0);
    torsion_uv_watch_change(it.watch, TORSION_UV_WRITABLE);
    turn(1000);
    CHECK(it.count == 1);
    torsion_uv_watch_close(it.watch);
    close(fds[0]), close(fds[1]);
}

/* A pipe whose end to read from has a number that nobody is given when it is closed. */
static void pipe_with_high_number(int fds[2]) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    fds[0] = fcntl(ends[0], F_DUPFD_CLOEXEC, 400);
    fds[1] = ends[1];
    close(ends[0]);
}

static void descriptors_that_cannot_be_watched(void) {
    seen it = {0};
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK(torsion_uv_watch_open(loop, file, TORSION_UV_READABLE, &it, note, &it.watch) == -EPERM);
    close(file);
    CHECK(torsion_uv_watch_open(loop, file, TORSION_UV_READABLE, &it, note, &it.watch) == -EBADF);
    int fds[2];
    pipe_with_high_number(fds);
    CHECK(torsion_uv_watch_open(loop, fds[0], TORSION_UV_READABLE, &it, note, &it.watch) == 0);
    turn(0);
    close(fds[0]);
    torsion_uv_watch_change(it.watch, TORSION_UV_READABLE | TORSION_UV_WRITABLE);
    turn(1000);
    CHECK(it.count == 1 && it.events == TORSION_UV_ERROR);
    turn(5);
    CHECK(it.count == 1);
    torsion_uv_watch_close(it.watch);
    close(fds[1]);
    /* It is found when epoll is told of it, and each time. */
    pipe_with_high_number(fds);
    CHECK(torsion_uv_watch_open(loop, fds[0], TORSION_UV_READABLE, &it, note, &it.watch) == 0);
    close(fds[0]);
    turn(5);
    CHECK(it.count == 1);
    for (int count = 2; count <= 3; count++) {
        torsion_uv_watch_change(it.watch, TORSION_UV_READABLE);
        turn(1000);
        CHECK(it.count == count && it.events == TORSION_UV_ERROR);
    }
    /* The number is another descriptor's by then. */
    CHECK(dup2(fds[1], fds[0]) == fds[0]);
    seen other = {0};
    CHECK(torsion_uv_watch_open(loop, fds[0], TORSION_UV_WRITABLE, &other, note, &other.watch) ==
          0);
    torsion_uv_watch_close(it.watch);
    turn(1000);
    CHECK(it.count == 3 && other.events == (TORSION_UV_WRITABLE | TORSION_UV_ERROR));
    torsion_uv_watch_close(other.watch);
    close(fds[0]), close(fds[1]);
}

typedef struct {
    int numbers[2], spare, count;
    torsion_uv_watch *watches[2];
    seen late;
} replacing;

/* Closes the watch of the other descriptor, which the batch still holds, and gives its number to a
 * file that has nothing to read. */
static void replace_other(void *context, int events) {
    replacing *it = context;
    (void)events;
    it->count += 1;
    char byte;
    int mine = recv(it->numbers[0], &byte, 1, MSG_DONTWAIT) == 1 ? 0 : 1, other = 1 - mine;
    if (it->watches[other] == NULL) return;
    torsion_uv_watch_close(it->watches[other]);
    it->watches[other] = NULL;
    CHECK(dup2(it->spare, it->numbers[other]) == it->numbers[other]);
    CHECK(torsion_uv_watch_open(loop, it->numbers[other], TORSION_UV_READABLE, &it->late, note,
                                &it->late.watch) == 0);
}

static void a_batch_tells_nobody_of_what_had_its_number_before(void) {
    int a[2], b[2], c[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, b) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, c) == 0);
    replacing it = {.numbers = {a[0], b[0]}, .spare = c[0]};
    for (int i = 0; i < 2; i++)
        torsion_uv_watch_open(loop, it.numbers[i], TORSION_UV_READABLE, &it, replace_other,
                              &it.watches[i]);
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    turn(1000);
    CHECK(it.count == 1 && it.late.watch != NULL && it.late.count == 0);
    turn(5);
    CHECK(it.late.count == 0);
    CHECK(write(c[1], "x", 1) == 1);
    turn(1000);
    CHECK(it.late.count == 1 && it.late.events == TORSION_UV_READABLE);
    torsion_uv_watch_close(it.late.watch);
    for (int i = 0; i < 2; i++)
        if (it.watches[i] != NULL) torsion_uv_watch_close(it.watches[i]);
    close(a[0]), close(a[1]), close(b[0]), close(b[1]), close(c[0]), close(c[1]);
}

typedef struct {
    int fd;
    seen first, late;
} opening;

static void open_another(void *context, int events) {
    opening *it = context;
    note(&it->first, events);
    torsion_uv_watch_close(it->first.watch);
    CHECK(torsion_uv_watch_open(loop, it->fd, TORSION_UV_READABLE, &it->late, note,
                                &it->late.watch) == 0);
}

/* libuv 1.45 to 1.48 removes from epoll behind the batch what it was asked to within. */
static void a_watch_opened_in_a_batch_is_told_of_what_comes(void) {
    int a[2], b[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, b) == 0);
    /* A number that had no watch yet. */
    opening it = {.fd = fcntl(b[0], F_DUPFD_CLOEXEC, 500)};
    CHECK(torsion_uv_watch_open(loop, a[0], TORSION_UV_READABLE, &it, open_another,
                                &it.first.watch) == 0);
    CHECK(write(a[1], "x", 1) == 1);
    turn(1000);
    CHECK(it.first.count == 1 && it.late.watch != NULL);
    CHECK(write(b[1], "x", 1) == 1);
    turn(1000);
    turn(1000);
    CHECK(it.late.count == 2 && it.late.events == TORSION_UV_READABLE);
    torsion_uv_watch_close(it.late.watch);
    close(a[0]), close(a[1]), close(b[0]), close(b[1]), close(it.fd);
}

static uint64_t cpu_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void what_was_closed_while_its_file_lives_on_is_let_go(void) {
    int a[2], b[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, b) == 0);
    int stray = fcntl(a[0], F_DUPFD_CLOEXEC, 600);
    seen gone = {0}, other = {0};
    torsion_uv_watch_open(loop, stray, TORSION_UV_READABLE, &gone, note, &gone.watch);
    torsion_uv_watch_open(loop, b[0], TORSION_UV_READABLE, &other, note, &other.watch);
    CHECK(write(a[1], "x", 1) == 1);
    turn(1000);
    CHECK(gone.count == 1);
    close(stray);
    torsion_uv_watch_close(gone.watch);
    turn(0);
    uint64_t before = cpu_ns();
    turn(40);
    CHECK(cpu_ns() - before < 10000000);
    CHECK(gone.count == 1 && other.count == 0);
    CHECK(write(b[1], "x", 1) == 1);
    turn(1000);
    CHECK(other.count == 1);
    torsion_uv_watch_close(other.watch);
    close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

/* More than one call of epoll_wait(2) takes. */
static void many_are_told_in_time(void) {
    enum { PAIRS = 700 };
    static int fds[PAIRS][2];
    static seen all[PAIRS];
    struct rlimit before, wide;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    wide = before;
    if (wide.rlim_cur < 4096) wide.rlim_cur = wide.rlim_max < 4096 ? wide.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &wide);
    memset(all, 0, sizeof all);
    for (int i = 0; i < PAIRS; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]) == 0);
        torsion_uv_watch_open(loop, fds[i][0], TORSION_UV_READABLE, &all[i], note, &all[i].watch);
        CHECK(write(fds[i][1], "x", 1) == 1);
    }
    for (int i = 0; i < 4; i++) turn(1000);
    int told = 0;
    for (int i = 0; i < PAIRS; i++) {
        told += all[i].count > 0;
        torsion_uv_watch_close(all[i].watch);
        close(fds[i][0]), close(fds[i][1]);
    }
    CHECK(told == PAIRS);
    setrlimit(RLIMIT_NOFILE, &before);
}

static void a_pipe_without_writer_or_reader_ends(void) {
    int fds[2];
    seen it = {0};
    CHECK(pipe(fds) == 0);
    CHECK(torsion_uv_watch_open(loop, fds[0], TORSION_UV_READABLE, &it, note, &it.watch) == 0);
    close(fds[1]);
    turn(1000);
    CHECK(it.count == 1 && (it.events & (TORSION_UV_READABLE | TORSION_UV_HANG_UP)));
    torsion_uv_watch_close(it.watch);
    close(fds[0]);
    CHECK(pipe(fds) == 0);
    CHECK(torsion_uv_watch_open(loop, fds[1], TORSION_UV_WRITABLE, &it, note, &it.watch) == 0);
    close(fds[0]);
    turn(1000);
    CHECK(it.count == 2 && it.events == (TORSION_UV_WRITABLE | TORSION_UV_ERROR));
    torsion_uv_watch_close(it.watch);
    close(fds[1]);
}

static void deadlines_are_kept(void) {
    torsion_uv_wake *wake;
    CHECK(torsion_uv_wake_new(loop, &wake) == 0);
    for (int round = 0; round < 40; round++) {
        uint64_t start = torsion_uv_now_ns(), deadline = start + (uint64_t)round * 100000;
        while (torsion_uv_now_ns() < deadline) torsion_uv_loop_turn(loop, deadline);
        CHECK(torsion_uv_now_ns() - deadline < 1000000000);
    }
    uint64_t far = torsion_uv_now_ns() + 3600000000000;
    for (int round = 0; round < 3; round++) {
        torsion_uv_wake_send(wake);
        torsion_uv_wake_send(wake);
        torsion_uv_loop_turn(loop, round == 1 ? TORSION_UV_NO_DEADLINE : far);
    }
    uint64_t start = torsion_uv_now_ns();
    turn(10); /* one wake-up for two sends */
    CHECK(torsion_uv_now_ns() - start >= 10000000);
    torsion_uv_loop_turn(loop, 0);
    CHECK(torsion_uv_loop_deadline_ns(loop) == TORSION_UV_NO_DEADLINE);
    torsion_uv_wake_close(wake);
}

static int resolved_code, resolved_count;
static torsion_uv_address resolved_first;

static void resolved(void *context, int code, const torsion_uv_address *addresses, size_t count) {
    CHECK(context == &resolved_count);
    resolved_code = code;
    resolved_count = (int)count;
    if (count > 0) resolved_first = addresses[0];
}

static void names_are_resolved_or_given_up(void) {
    torsion_uv_resolve *lookup;
    resolved_count = -1;
    CHECK(torsion_uv_resolve_start(loop, "127.0.0.1", &resolved_count, resolved, &lookup) == 0);
    while (resolved_count < 0) turn(1000);
    CHECK(resolved_code == 0 && resolved_count == 1 && !resolved_first.is_ipv6);
    CHECK(resolved_first.bytes[0] == 127 && resolved_first.bytes[3] == 1);
    resolved_count = -1;
    CHECK(torsion_uv_resolve_start(loop, "::1", &resolved_count, resolved, &lookup) == 0);
    torsion_uv_resolve_cancel(lookup);
    turn(20);
    CHECK(resolved_count == -1);
    /* Under way when the loop is freed. */
    CHECK(torsion_uv_resolve_start(loop, "localhost", &resolved_count, resolved, &lookup) == 0);
    torsion_uv_resolve_cancel(lookup);
}

static int signalled;
static void note_signal(void *context, int number) {
    CHECK(context == &loop);
    signalled = number;
}
static void earlier(int number) { signalled = -number; }

static void signals_come_and_the_handler_comes_back(void) {
    torsion_uv_signal *one, *two;
    signal(SIGUSR1, earlier);
    CHECK(torsion_uv_signal_open(loop, SIGUSR1, &loop, note_signal, &one) == 0);
    CHECK(torsion_uv_signal_open(loop, SIGUSR1, &loop, note_signal, &two) == 0);
    torsion_uv_signal_close(one);
    raise(SIGUSR1);
    CHECK(signalled == 0);
    turn(1000);
    CHECK(signalled == SIGUSR1);
    torsion_uv_signal_close(two);
    raise(SIGUSR1);
    CHECK(signalled == -SIGUSR1);
    CHECK(torsion_uv_signal_open(loop, SIGKILL, &loop, note_signal, &one) == -EINVAL);
    CHECK(torsion_uv_signal_open(loop, SIGSEGV, &loop, note_signal, &one) == -EINVAL);
    CHECK(torsion_uv_signal_open(loop, 1000, &loop, note_signal, &one) == -EINVAL);
}

static void the_process_dies_by_the_signal(void) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGTERM, SIG_IGN);
        torsion_uv_die_by_signal(SIGTERM);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static int lowest_free_descriptor(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

static void a_loop_without_descriptors_is_an_error(void) {
    struct rlimit before, tight;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    tight = before;
    int used = lowest_free_descriptor(), spare = 0, code = -EMFILE;
    for (; code != 0 && spare <= 12; spare++) {
        tight.rlim_cur = (rlim_t)(used + spare);
        CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
        torsion_uv_loop *other;
        code = torsion_uv_loop_new(&other);
        if (code == 0)
            torsion_uv_loop_free(other);
        else
            CHECK(code == -EMFILE && other == NULL);
        CHECK(lowest_free_descriptor() == used || spare == 0);
    }
    CHECK(code == 0); /* four with libuv 1.44, as UVServices.init says */
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

static void set_flag(void *context) { *(int *)context = 1; }

static void post_semaphore(void *context) { torsion_uv_semaphore_post(context); }

static void a_semaphore_is_waited_for(void) {
    torsion_uv_semaphore *semaphore;
    torsion_uv_thread *thread;
    CHECK(torsion_uv_semaphore_new(&semaphore) == 0);
    torsion_uv_semaphore_post(semaphore);
    torsion_uv_semaphore_wait(semaphore);
    CHECK(torsion_uv_thread_start(post_semaphore, semaphore, &thread) == 0);
    torsion_uv_semaphore_wait(semaphore);
    torsion_uv_thread_join(thread);
    torsion_uv_semaphore_free(semaphore);
}

static void threads_run_and_join(void) {
    int flag = 0;
    torsion_uv_thread *thread;
    CHECK(torsion_uv_thread_start(set_flag, &flag, &thread) == 0);
    torsion_uv_thread_join(thread);
    CHECK(flag == 1);
}

#define VERSION(minor) ((1u << 16) | ((unsigned)(minor) << 8))

static void the_way_is_chosen_by_both_versions(void) {
    const int direct[] = {44, 49, 50, 51, 52}, plain[] = {42, 43, 45, 46, 47, 48, 53, 60};
    for (size_t i = 0; i < sizeof direct / sizeof *direct; i++) {
        CHECK(torsion_uv_knows_fields(VERSION(direct[i]) + 2, VERSION(44)));
        CHECK(torsion_uv_knows_fields(VERSION(44), VERSION(direct[i])));
        CHECK(torsion_uv_knows_fields(VERSION(direct[i]), VERSION(48)));
        CHECK(!torsion_uv_knows_fields(VERSION(direct[i]), VERSION(53)));
        CHECK(!torsion_uv_knows_fields(VERSION(direct[i]), VERSION(43)));
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        CHECK(!torsion_uv_knows_fields(VERSION(plain[i]), VERSION(44)));
    CHECK(torsion_uv_is_watched_directly() ==
          torsion_uv_knows_fields(uv_version(), UV_VERSION_HEX));
    CHECK(strcmp(torsion_uv_version(), uv_version_string()) == 0);
    CHECK(strncmp(torsion_uv_built_version(), "1.", 2) == 0);
}

static void watches_do_as_they_promise(void) {
    watch_is_level_triggered_and_changes();
    closing_in_a_batch_silences_the_others();
    resets_are_told(TORSION_UV_READABLE,
                    TORSION_UV_READABLE | TORSION_UV_ERROR | TORSION_UV_HANG_UP);
    resets_are_told(TORSION_UV_DISCONNECTED,
                    TORSION_UV_DISCONNECTED | TORSION_UV_ERROR | TORSION_UV_HANG_UP);
    resets_are_told(0, TORSION_UV_ERROR | TORSION_UV_HANG_UP);
    an_urgent_byte_does_not_spin();
    descriptors_that_cannot_be_watched();
    a_batch_tells_nobody_of_what_had_its_number_before();
    a_watch_opened_in_a_batch_is_told_of_what_comes();
    what_was_closed_while_its_file_lives_on_is_let_go();
    many_are_told_in_time();
    a_pipe_without_writer_or_reader_ends();
    deadlines_are_kept();
}

typedef struct {
    int kinds[8], count, last_number;
    uint32_t moves[8];
    char name[64];
} notices;

static void note_file(void *context, int kind, int number, const char *name, int is_folder,
                      uint32_t move) {
    notices *it = context;
    if (it->count == 8) return;
    it->last_number = number;
    it->moves[it->count] = move;
    it->kinds[it->count++] = kind;
    CHECK(!is_folder);
    snprintf(it->name, sizeof it->name, "%s", name);
}

static void count_name(void *context, const char *name) {
    CHECK(strcmp(name, "b") == 0);
    *(int *)context += 1;
}

static void files_are_told_and_looked_at(void) {
    char folder[] = "/tmp/torsion-shim-XXXXXX", one[64], two[64], loose[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(one, sizeof one, "%s/a", folder);
    snprintf(two, sizeof two, "%s/b", folder);
    snprintf(loose, sizeof loose, "%s/link", folder);
    int notify = torsion_uv_notify_open();
    CHECK(notify >= 0);
    int number = torsion_uv_notify_add(notify, folder, TORSION_UV_NOTIFY_WRITTEN);
    CHECK(number > 0 && torsion_uv_notify_add(notify, folder, 0) == number);
    CHECK(torsion_uv_notify_add(notify, "/dev/null", 0) == UV_ENOTDIR);
    close(open(one, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK(rename(one, two) == 0);
    notices told = {0};
    CHECK(torsion_uv_notify_read(notify, note_file, &told) == 0);
    CHECK(told.count == 4 && told.kinds[0] == TORSION_UV_NOTIFY_CREATED);
    CHECK(told.kinds[1] == TORSION_UV_NOTIFY_WRITTEN && told.last_number == number);
    CHECK(told.kinds[2] == TORSION_UV_NOTIFY_DEPARTED && told.kinds[3] == TORSION_UV_NOTIFY_ARRIVED);
    CHECK(told.moves[2] != 0 && told.moves[2] == told.moves[3] && strcmp(told.name, "b") == 0);
    CHECK(torsion_uv_notify_read(notify, note_file, &told) == 0 && told.count == 4);
    struct torsion_uv_entry entry;
    int names = 0;
    torsion_uv_names(folder, count_name, &names);
    torsion_uv_names("/no/such/folder", count_name, &names);
    CHECK(names == 1);
    CHECK(torsion_uv_entry(one, &entry) == TORSION_UV_ENTRY_NONE);
    CHECK(torsion_uv_entry(two, &entry) == TORSION_UV_ENTRY_FILE && entry.inode != 0);
    CHECK(torsion_uv_entry(folder, &entry) == TORSION_UV_ENTRY_FOLDER);
    CHECK(symlink("nowhere", loose) == 0);
    CHECK(torsion_uv_entry(loose, &entry) == TORSION_UV_ENTRY_LINK);
    CHECK(strcmp(entry.link, "nowhere") == 0);
    torsion_uv_notify_remove(notify, number);
    torsion_uv_notify_remove(notify, number);
    torsion_uv_notify_close(notify);
    CHECK(unlink(two) == 0 && unlink(loose) == 0 && rmdir(folder) == 0);
}

int main(void) {
    torsion_uv_ignore_sigpipe();
    the_process_dies_by_the_signal();
    the_way_is_chosen_by_both_versions();
    files_are_told_and_looked_at();
    for (int is_plain = 0; is_plain <= 1; is_plain++) {
        CHECK(torsion_uv_loop_new(&loop) == 0);
        CHECK(torsion_uv_watch_prepare(loop, is_plain) == 0);
        watches_do_as_they_promise();
        torsion_uv_loop_free(loop);
        if (failures > 0) printf("in the %s way\n", is_plain ? "plain" : "usual");
    }
    CHECK(torsion_uv_loop_new(&loop) == 0);
    signals_come_and_the_handler_comes_back();
    a_loop_without_descriptors_is_an_error();
    threads_run_and_join();
    a_semaphore_is_waited_for();
    names_are_resolved_or_given_up();
    torsion_uv_loop_free(loop);
    printf("libuv %s, built with %s, %s: %s\n", torsion_uv_version(), torsion_uv_built_version(),
           torsion_uv_is_watched_directly() ? "watched directly" : "watched plainly",
           failures == 0 ? "all checks passed" : "failed");
    return failures != 0;
}
