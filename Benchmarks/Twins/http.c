/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// HTTP/1.1 on bare epoll, level-triggered: the answer of the example HTTPHello, byte for byte, or with
// `--files FOLDER` the files of a folder by sendfile. The parser reads each byte of a head once and refuses what a
// strict server refuses: a bare CR or LF, a control character, a name that is no token, space before a colon, a
// missing or second Host, a length that is no number or comes twice. It knows no transfer coding (501). All
// requests of a read are answered by one send. A connection owns memory only while a head is incomplete or
// its peer does not drain.
#include "twin.h"
#include <fcntl.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { SLAB = 65536, OUT = 65536, HEAD_MAX = 16384, ANSWER_MAX = 512, EVENTS = 512 };

struct conn {
    int fd, file;        // the file that is being sent, else -1
    int closes, is_dead; // behind what is still to be sent; at once
    uint32_t watched;
    uint64_t body_left; // of a request's body, which is dropped
    char *kept;         // bytes that were received and not used
    size_t kept_len;
    char *held; // bytes that the socket has not taken
    size_t off, len;
    off_t file_off;
    size_t file_left;
};

struct request {
    const char *method, *target;
    size_t method_len, target_len;
    uint64_t length;
    int keeps;
};

struct worker {
    int ep, lfd;
    size_t out_len, hello_len;
    time_t second;
    char date[40], hello[256], slab[SLAB], out[OUT];
};

static int folder = -1;
static const char is_token[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1,
    ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

// Returns where the text ends: at a control character that is no tab, or at `end`.
static const char *text_end(const char *p, const char *end) {
#ifdef __SSE2__
    const __m128i most = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), delete = _mm_set1_epi8(0x7f);
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i control = _mm_andnot_si128(_mm_cmpeq_epi8(v, tab), _mm_cmpeq_epi8(_mm_min_epu8(v, most), v));
        int found = _mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(v, delete)));
        if (found) return p + __builtin_ctz((unsigned)found);
    }
#endif
    while (p < end && ((unsigned char)*p >= 0x20 || *p == '\t') && *p != 0x7f) p++;
    return p;
}

static int is_named(const char *name, size_t length, const char *other) {
    return strlen(other) == length && !strncasecmp(name, other, length);
}

// Returns whether it is a number that fits.
static int read_length(const char *p, const char *end, uint64_t *length) {
    if (p == end || end - p > 18) return 0;
    for (*length = 0; p < end; p++) {
        if (*p < '0' || *p > '9') return 0;
        *length = *length * 10 + (uint64_t)(*p - '0');
    }
    return 1;
}

// Each of these returns the bytes of a whole line, 0 if more are needed, else the status to refuse it with,
// as a negative number.
static long parse_request_line(const char *p, const char *end, struct request *r) {
    const char *start = p;
    while (p < end && is_token[(unsigned char)*p]) p++;
    if (p == end) return 0;
    r->method = start;
    r->method_len = (size_t)(p - start);
    if (*p != ' ' || p == start) return -400;
    r->target = ++p;
    while (p < end && (unsigned char)*p > 0x20 && *p != 0x7f) p++;
    if (p == end) return 0;
    r->target_len = (size_t)(p - r->target);
    if (*p != ' ' || !r->target_len) return -400;
    if (end - p < 11) return 0;
    if (memcmp(p, " HTTP/1.", 8) || (p[8] != '0' && p[8] != '1') || p[9] != '\r' || p[10] != '\n') return -400;
    r->keeps = p[8] == '1';
    return p + 11 - start;
}

static long parse_field(const char *p, const char *end, struct request *r, int *hosts, int *lengths) {
    const char *name = p;
    while (p < end && is_token[(unsigned char)*p]) p++;
    if (p == end) return 0;
    size_t name_len = (size_t)(p - name);
    if (*p++ != ':' || !name_len) return -400;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    const char *value = p;
    p = text_end(p, end);
    if (end - p < 2) return 0;
    if (p[0] != '\r' || p[1] != '\n') return -400;
    const char *value_end = p;
    while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t')) value_end--;
    size_t value_len = (size_t)(value_end - value);
    switch (name_len) {
    case 4: *hosts += is_named(name, name_len, "host"); break;
    case 10:
        if (!is_named(name, name_len, "connection")) break;
        if (is_named(value, value_len, "close")) r->keeps = 0;
        break;
    case 14:
        if (!is_named(name, name_len, "content-length")) break;
        if ((*lengths)++ || !read_length(value, value_end, &r->length)) return -400;
        break;
    case 17:
        if (is_named(name, name_len, "transfer-encoding")) return -501;
        break;
    default: break;
    }
    return p + 2 - name;
}

static long parse_head(const char *bytes, size_t count, struct request *r) {
    const char *p = bytes, *end = bytes + count;
    int hosts = 0, lengths = 0;
    r->length = 0;
    long used = parse_request_line(p, end, r);
    if (used <= 0) return used;
    int is_newest = r->keeps;
    for (p += used;; p += used) {
        if (p < end && *p == '\r') {
            if (end - p < 2) return 0;
            if (p[1] != '\n' || hosts > 1 || (is_newest && !hosts)) return -400;
            return p + 2 - bytes;
        }
        used = parse_field(p, end, r, &hosts, &lengths);
        if (used <= 0) return used;
    }
}

static void renew_date(struct worker *w) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    if (t.tv_sec == w->second) return;
    w->second = t.tv_sec;
    struct tm utc;
    gmtime_r(&t.tv_sec, &utc);
    strftime(w->date, sizeof w->date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    w->hello_len = (size_t)snprintf(w->hello, sizeof w->hello,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nDate: %s\r\n\r\nHello, World!", w->date);
}

static void conn_watch(struct worker *w, struct conn *c, uint32_t events) {
    if (c->watched == events) return;
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(w->ep, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e)) twin_die("epoll_ctl");
    c->watched = events;
}

static int is_waiting(const struct conn *c) { return c->held || c->file >= 0; }

// Sends what has been gathered; `flags` may say that more follows.
static void flush(struct worker *w, struct conn *c, int flags) {
    size_t count = w->out_len;
    w->out_len = 0;
    if (!count || c->is_dead) return;
    ssize_t s = send(c->fd, w->out, count, MSG_NOSIGNAL | flags);
    if (s < 0 && errno != EAGAIN) {
        c->is_dead = 1;
        return;
    }
    if (s < 0) s = 0;
    if ((size_t)s == count) return;
    c->len = count - (size_t)s;
    c->off = 0;
    c->held = malloc(c->len);
    if (!c->held) twin_die("malloc");
    memcpy(c->held, w->out + s, c->len);
}

static void send_file(struct conn *c) {
    while (c->file_left) {
        ssize_t s = sendfile(c->fd, c->file, &c->file_off, c->file_left);
        if (s < 0 && errno == EAGAIN) return;
        if (s <= 0) {
            c->is_dead = 1; // the peer has gone, or the file has shrunk
            break;
        }
        c->file_left -= (size_t)s;
    }
    close(c->file);
    c->file = -1;
}

static void put_status(struct worker *w, struct conn *c, int status, const char *reason) {
    c->closes |= status != 404;
    w->out_len += (size_t)snprintf(w->out + w->out_len, ANSWER_MAX,
        "HTTP/1.1 %d %s\r\n%sContent-Length: 0\r\nDate: %s\r\n\r\n", status, reason,
        c->closes ? "Connection: close\r\n" : "", w->date);
}

static void answer_file(struct worker *w, struct conn *c, const struct request *r) {
    char path[1024], modified[40];
    struct stat status;
    struct tm utc;
    if (r->target_len < 2 || r->target_len > sizeof path || *r->target != '/')
        return put_status(w, c, 404, "Not Found");
    memcpy(path, r->target + 1, r->target_len - 1);
    path[r->target_len - 1] = 0;
    // One folder, and nothing hidden.
    int file = strchr(path, '/') || *path == '.' ? -1 : openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0 || fstat(file, &status) || !S_ISREG(status.st_mode)) {
        if (file >= 0) close(file);
        return put_status(w, c, 404, "Not Found");
    }
    gmtime_r(&status.st_mtime, &utc);
    strftime(modified, sizeof modified, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    w->out_len += (size_t)snprintf(w->out + w->out_len, ANSWER_MAX,
        "HTTP/1.1 200 OK\r\nLast-Modified: %s\r\nContent-Type: application/octet-stream\r\n"
        "Content-Length: %lld\r\nDate: %s\r\n\r\n", modified, (long long)status.st_size, w->date);
    c->file = file;
    c->file_off = 0;
    c->file_left = (size_t)status.st_size;
    flush(w, c, MSG_MORE);
    if (!c->held && !c->is_dead) send_file(c);
}

static void answer(struct worker *w, struct conn *c, const struct request *r) {
    c->closes |= !r->keeps;
    if (folder >= 0) return answer_file(w, c, r);
    int is_head = r->method_len == 4 && !memcmp(r->method, "HEAD", 4);
    size_t count = w->hello_len - (is_head ? 13 : 0);
    memcpy(w->out + w->out_len, w->hello, count);
    w->out_len += count;
}

static void conn_close(struct conn *c) {
    if (c->file >= 0) close(c->file);
    close(c->fd);
    free(c->kept);
    free(c->held);
    free(c);
}

// Uses `count` bytes, which include those that were kept, and keeps what it cannot use yet.
static void process(struct worker *w, struct conn *c, const char *bytes, size_t count) {
    size_t used = 0;
    struct request r;
    renew_date(w);
    while (used < count && !c->closes && !c->is_dead && !is_waiting(c)) {
        if (c->body_left) {
            size_t part = count - used < c->body_left ? count - used : c->body_left;
            c->body_left -= part;
            used += part;
            continue;
        }
        long length = parse_head(bytes + used, count - used, &r);
        if (length == 0 && count - used > HEAD_MAX) length = -431;
        if (length == 0) break;
        if (length < 0) {
            put_status(w, c, (int)-length, "Refused");
            break;
        }
        used += (size_t)length;
        c->body_left = r.length;
        answer(w, c, &r);
        if (OUT - w->out_len < ANSWER_MAX) flush(w, c, 0);
    }
    flush(w, c, 0);
    free(c->kept);
    c->kept = NULL;
    c->kept_len = count - used;
    if (c->kept_len && !c->closes) {
        c->kept = malloc(c->kept_len);
        if (!c->kept) twin_die("malloc");
        memcpy(c->kept, bytes + used, c->kept_len);
    }
    if (c->is_dead || (c->closes && !is_waiting(c))) return conn_close(c);
    conn_watch(w, c, is_waiting(c) ? EPOLLOUT : EPOLLIN);
}

static void conn_readable(struct worker *w, struct conn *c) {
    // What is kept here is an incomplete head: room is left behind it.
    size_t kept = c->kept_len;
    ssize_t n = recv(c->fd, w->slab + kept, SLAB - kept, 0);
    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        return conn_close(c);
    }
    if (kept) memcpy(w->slab, c->kept, kept);
    process(w, c, w->slab, kept + (size_t)n);
}

static void conn_writable(struct worker *w, struct conn *c) {
    if (c->held) {
        ssize_t s = send(c->fd, c->held + c->off, c->len, MSG_NOSIGNAL);
        if (s < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (s < 0) return conn_close(c);
        c->off += (size_t)s;
        c->len -= (size_t)s;
        if (c->len) return;
        free(c->held);
        c->held = NULL;
    }
    if (c->file >= 0) send_file(c);
    if (c->file >= 0 && !c->is_dead) return;
    size_t kept = c->kept_len;
    if (kept) memcpy(w->slab, c->kept, kept);
    process(w, c, w->slab, kept);
}

static void accept_all(struct worker *w) {
    for (;;) {
        int fd = accept4(w->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct conn *c = calloc(1, sizeof *c);
        if (!c) twin_die("malloc");
        c->fd = fd;
        c->file = -1;
        conn_watch(w, c, EPOLLIN);
    }
}

static void *worker_main(void *arg) {
    (void)arg;
    struct worker *w = calloc(1, sizeof *w);
    struct epoll_event ev[EVENTS];
    w->lfd = twin_listen();
    w->ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(w->ep, EPOLL_CTL_ADD, w->lfd, &e);
    for (;;) {
        int n = epoll_wait(w->ep, ev, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (!c) accept_all(w);
            else if (is_waiting(c)) conn_writable(w, c);
            else conn_readable(w, c);
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[argc - 2], "--files")) {
        folder = open(argv[argc - 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0) twin_die(argv[argc - 1]);
        argc -= 2;
    }
    return twin_main(argc, argv, "http", worker_main);
}
