/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* What Swift sees of libuv: opaque types and functions, no uv.h.
 *
 * Unless a function says otherwise it is called on the loop's own thread, and callbacks run on that
 * thread, from inside torsion_uv_loop_turn() only. An int result is 0 or a negative libuv code. The
 * `context` of a callback is handed back and never dereferenced. A caller's mistake ends the
 * process with a sentence. */
#ifndef TORSION_UV_H
#define TORSION_UV_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>

#ifdef __clang__
#pragma clang assume_nonnull begin
#else
#define _Nullable
#define _Nonnull
#endif

/* loop.c: turning */

typedef struct torsion_uv_loop torsion_uv_loop;

#define TORSION_UV_NO_DEADLINE UINT64_MAX

/* Makes a loop. Wraps uv_loop_init(), which aborts where it cannot make the pipe for signals that the
 * first loop of a process needs: UV_EMFILE and its like here. On failure `*result` is NULL. */
int torsion_uv_loop_new(torsion_uv_loop *_Nullable *_Nonnull result);

/* Closes and frees the loop, running libuv's closing callbacks but none of ours. Every watch, wake
 * and signal was closed before, every look-up cancelled. One that could not be interrupted keeps
 * the loop until it ends, on a thread of its own: the caller does not wait. */
void torsion_uv_loop_free(torsion_uv_loop *loop);

/* Waits for events once and delivers them. Wraps uv_run().
 *
 * `deadline_ns`, on the clock of torsion_uv_now_ns(), is rounded up to libuv's milliseconds.
 * TORSION_UV_NO_DEADLINE waits without limit, a past one (0, say) does not wait. */
void torsion_uv_loop_turn(torsion_uv_loop *loop, uint64_t deadline_ns);

/* The descriptor that becomes readable when the loop has events. Timers do not make it readable,
 * and a watch counts from the turn after its start. Wraps uv_backend_fd(). */
int torsion_uv_loop_descriptor(const torsion_uv_loop *loop);

/* When the loop next wants a turn for other reasons than its descriptor: an instant on the clock of
 * torsion_uv_now_ns(), 0 for at once, TORSION_UV_NO_DEADLINE for never. Wraps
 * uv_backend_timeout(). */
uint64_t torsion_uv_loop_deadline_ns(torsion_uv_loop *loop);

/* CLOCK_MONOTONIC. Any thread. Wraps uv_hrtime(). */
uint64_t torsion_uv_now_ns(void);

/* The name of a code, "ENOENT" for example. Any thread; valid for ever. Wraps uv_err_name(). */
const char *torsion_uv_error_name(int code);

/* What a code means, in lower case. Any thread; valid for ever. Wraps uv_strerror(). */
const char *torsion_uv_error_text(int code);

/* version.c: which libuv it is. Any thread */

/* The version that runs, "1.44.2" for example. Wraps uv_version_string(). */
const char *torsion_uv_version(void);

/* The version whose headers this was built with. */
const char *torsion_uv_built_version(void);

/* Whether the tests were run with the version that runs, up to its patch. */
int torsion_uv_is_tested(void);

/* Whether the descriptors of a loop are watched with the help of private fields of libuv's, which
 * costs less than the plain way, by what libuv documents. So it is where both versions are known to
 * have them, and nothing stands against it. Wraps uv_version(). */
int torsion_uv_is_watched_directly(void);

/* watch.c: readiness of descriptors */

typedef struct torsion_uv_watch torsion_uv_watch;

/* Makes the loop ready for watches, in the way that this libuv is used by, or in the plain one. Once,
 * before the first watch. Returns 0, or a code without descriptors or memory. */
int torsion_uv_watch_prepare(torsion_uv_loop *loop, int is_plain);

enum {
    TORSION_UV_READABLE = 1,
    TORSION_UV_WRITABLE = 2,
    TORSION_UV_DISCONNECTED = 4, /* EPOLLRDHUP */
    TORSION_UV_ERROR = 8,        /* EPOLLERR; found only */
    TORSION_UV_HANG_UP = 16,     /* EPOLLHUP; found only */
};

/* What a watch reports: at least one of the bits above. The watch may be closed meanwhile. */
typedef void (*torsion_uv_watch_event)(void *context, int events);

/* Begins to watch a descriptor, which stays the caller's: neither closed nor made non-blocking.
 *
 * Level-triggered. `events` is any of READABLE, WRITABLE and DISCONNECTED; errors and hang-ups are
 * reported whatever is asked. ERROR tells as well that somebody closed the descriptor, if that can
 * be seen, which is when it is changed; the watch has stopped then. Codes: UV_EBADF, UV_EPERM for
 * a regular file, UV_EEXIST if the loop watches the descriptor already, UV_ENOMEM. Wraps
 * epoll_ctl(2), and uv_poll_start() in the direct way. */
int torsion_uv_watch_open(torsion_uv_loop *loop, int descriptor, int events, void *context,
                          torsion_uv_watch_event event,
                          torsion_uv_watch *_Nullable *_Nonnull result);

/* Changes what is waited for; nothing that is no longer asked for is delivered. */
void torsion_uv_watch_change(torsion_uv_watch *watch, int events);

/* Ends the watch and releases it. Nothing is delivered afterwards, not even from the batch that
 * is being delivered. */
void torsion_uv_watch_close(torsion_uv_watch *watch);

/* wake.c: ending a wait from elsewhere */

typedef struct torsion_uv_wake torsion_uv_wake;

/* Makes what wakes this loop. Wraps uv_async_init(). */
int torsion_uv_wake_new(torsion_uv_loop *loop, torsion_uv_wake *_Nullable *_Nonnull result);

/* Ends a concurrent or the next turn; calls before that turn are one. Any thread, and signal
 * handlers. Wraps uv_async_send(). */
void torsion_uv_wake_send(torsion_uv_wake *wake);

/* Releases it. The caller made sure that no thread is inside torsion_uv_wake_send() or will be. */
void torsion_uv_wake_close(torsion_uv_wake *wake);

/* resolve.c: names to addresses */

typedef struct torsion_uv_resolve torsion_uv_resolve;

typedef struct {
    uint8_t bytes[16]; /* in network order; the first 4 for IPv4 */
    uint32_t scope;    /* IPv6: the interface of a link-local address */
    int is_ipv6;
} torsion_uv_address;

/* The end of a look-up: `code` 0 with at least one address, which live as long as the call, or a
 * negative code (UV_EAI_*) with none. Once. */
typedef void (*torsion_uv_resolved)(void *context, int code,
                                    const torsion_uv_address *_Nullable addresses, size_t count);

/* Looks a name up on libuv's thread pool (two of its four threads at most do so at a time). The
 * name is copied. Wraps uv_getaddrinfo(), which aborts where it cannot start the pool: UV_EAGAIN here. */
int torsion_uv_resolve_start(torsion_uv_loop *loop, const char *host, void *context,
                             torsion_uv_resolved resolved,
                             torsion_uv_resolve *_Nullable *_Nonnull result);

/* Gives up: `resolved` is not called. One that runs already goes on unheard; its thread is free
 * again when the system's resolver gives up. Not after `resolved` was called. */
void torsion_uv_resolve_cancel(torsion_uv_resolve *resolve);

/* signal.c */

typedef struct torsion_uv_signal torsion_uv_signal;

/* A signal arrived, once or more. */
typedef void (*torsion_uv_signalled)(void *context, int number);

/* Catches a signal for the process; each loop that asks is told. The handler that was there before
 * the first start of this signal comes back with the last close. Numbers that
 * cannot be caught, or whose cause would only come again (SIGSEGV, say), are UV_EINVAL. Wraps
 * uv_signal_start(). */
int torsion_uv_signal_open(torsion_uv_loop *loop, int number, void *context,
                           torsion_uv_signalled signalled,
                           torsion_uv_signal *_Nullable *_Nonnull result);

/* Stops catching; nothing is delivered afterwards. */
void torsion_uv_signal_close(torsion_uv_signal *signal);

/* Whether the process ignores this signal now, as one does whose parent ignored it: sigaction(2). Any
 * thread. */
int torsion_uv_signal_is_ignored(int number);

/* Makes writing to a closed pipe or socket an error, unless the process has a
 * handler. Any thread. */
void torsion_uv_ignore_sigpipe(void);

/* Ends the process by the default action of this signal. Any thread. */
_Noreturn void torsion_uv_die_by_signal(int number);

/* thread.c */

typedef struct torsion_uv_thread torsion_uv_thread;

/* Runs `body` on a new thread. Any thread. Wraps uv_thread_create(). */
int torsion_uv_thread_start(void (*body)(void *context), void *context,
                            torsion_uv_thread *_Nullable *_Nonnull result);

/* Waits for the thread's end and releases it. Once, on any other thread. Wraps uv_thread_join(). */
void torsion_uv_thread_join(torsion_uv_thread *thread);

typedef struct torsion_uv_semaphore torsion_uv_semaphore;

/* Makes a semaphore with nothing to take. Any thread. Wraps uv_sem_init(). */
int torsion_uv_semaphore_new(torsion_uv_semaphore *_Nullable *_Nonnull result);

/* Adds one, and wakes one thread that waits. Any thread. Wraps uv_sem_post(). */
void torsion_uv_semaphore_post(torsion_uv_semaphore *semaphore);

/* Waits until there is one, and takes it. Any thread. Wraps uv_sem_wait(). */
void torsion_uv_semaphore_wait(torsion_uv_semaphore *semaphore);

/* Releases it. No thread waits for it or will use it. Wraps uv_sem_destroy(). */
void torsion_uv_semaphore_free(torsion_uv_semaphore *semaphore);

/* environment.c: what the process was started with. Any thread. */

/* Wraps uv_os_getpid(). */
int torsion_uv_process_id(void);

/* How many descriptors the process may have: RLIMIT_NOFILE, getrlimit(2). */
int torsion_uv_descriptor_limit(void);

/* How many descriptors of the process are open, with numbers below the limit: proc(5), /proc/self/fd.
 * -1 where that cannot be read. */
int torsion_uv_open_descriptors(void);

/* fcntl(2) of FD_CLOEXEC; nothing for a descriptor that is not open. */
void torsion_uv_close_on_exec(int descriptor);

/* notify.c: what happens in folders, by inotify(7); Linux only, UV_ENOSYS elsewhere. Any thread, one
 * call for a notifier at a time. */

#define TORSION_UV_NOTIFY_CREATED 1
#define TORSION_UV_NOTIFY_ARRIVED 2
#define TORSION_UV_NOTIFY_REMOVED 3
#define TORSION_UV_NOTIFY_DEPARTED 4
#define TORSION_UV_NOTIFY_ENDED 5
#define TORSION_UV_NOTIFY_OVERFLOW 6
/* These are asked for. */
#define TORSION_UV_NOTIFY_MODIFIED 8
#define TORSION_UV_NOTIFY_WRITTEN 16
#define TORSION_UV_NOTIFY_ATTRIBUTES 32

/* Returns a descriptor that is readable when something has happened, or a negative code. */
int torsion_uv_notify_open(void);

void torsion_uv_notify_close(int notify);

/* Begins to tell of a folder; `events` has bits of those that are asked for, besides what was asked for
 * before. Returns the folder's number, or a negative code. */
int torsion_uv_notify_add(int notify, const char *folder, int events);

/* Harmless for a number that is no more. */
void torsion_uv_notify_remove(int notify, int number);

/* `name` is borrowed for the call, and empty for what is about the folder. */
typedef void (*torsion_uv_notice_callback)(void *context, int kind, int number, const char *name,
                                           int is_folder, uint32_t move);

/* Tells what has happened, as much as fits a buffer of 16 KiB. Returns 0 or a negative code. */
int torsion_uv_notify_read(int notify, torsion_uv_notice_callback callback, void *context);

#define TORSION_UV_ENTRY_NONE 0
#define TORSION_UV_ENTRY_LINK 1
#define TORSION_UV_ENTRY_FOLDER 2
#define TORSION_UV_ENTRY_FILE 3

struct torsion_uv_entry {
    uint64_t device, inode;
    char link[4096]; /* PATH_MAX, with its zero */
};

/* What is at a path, links not followed: lstat(2), readlink(2). Returns its kind. */
int torsion_uv_entry(const char *path, struct torsion_uv_entry *result);

typedef void (*torsion_uv_name_callback)(void *context, const char *name);

/* Tells the names in a folder: readdir(3). None if it cannot be read. */
void torsion_uv_names(const char *folder, torsion_uv_name_callback callback, void *context);

/* file.c: regular files, by calls that block. Any thread, one call for a descriptor at a time.
 * Each returns what the libuv function returns: a count, or a negative code. */

#define TORSION_UV_FILE_READ 0
#define TORSION_UV_FILE_REPLACE 1 /* O_CREAT | O_TRUNC */
#define TORSION_UV_FILE_CREATE 2  /* O_CREAT | O_EXCL */

/* Opens a file, with O_NONBLOCK, so that a FIFO without a writer does not wait; that changes
 * nothing for a regular file. Wraps uv_fs_open(); returns a descriptor, which is closed on exec. */
int torsion_uv_file_open(const char *path, int mode);

/* Opens a file for reading, O_NONBLOCK as above, that is within a folder, whatever its path and the
 * links on its way say: openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS, since Linux 5.6. A way
 * out is UV_ENOENT. Returns a descriptor, which is closed on exec; UV_ENOSYS where there is no such
 * call. */
int torsion_uv_file_open_beneath(const char *folder, const char *path);

/* What is known of an open file. */
struct torsion_uv_file_status {
    uint64_t inode;
    int64_t byte_count;
    int64_t modified_seconds;
    int64_t modified_nanoseconds;
};

/* Wraps uv_fs_fstat(). Returns 0 or a code. */
int torsion_uv_file_status(int descriptor, struct torsion_uv_file_status *status);

#define TORSION_UV_FILE_OTHER 0
#define TORSION_UV_FILE_REGULAR 1
#define TORSION_UV_FILE_DIRECTORY 2

/* What a descriptor is open for. Wraps uv_fs_fstat(). */
int torsion_uv_file_kind(int descriptor);

/* Wraps uv_fs_fstat(). */
int64_t torsion_uv_file_byte_count(int descriptor);

/* Wrap uv_fs_read() and uv_fs_write(), with an offset. EINTR is tried again. */
int64_t torsion_uv_file_read(int descriptor, void *_Nullable bytes, size_t count, int64_t offset);
int64_t torsion_uv_file_write(int descriptor, const void *_Nullable bytes, size_t count,
                              int64_t offset);

/* Wraps uv_fs_close(). The descriptor is gone, whatever it returns. */
int torsion_uv_file_close(int descriptor);

/* Whether all pages of the range are in the kernel's memory: cachestat(2), since Linux 6.5. Returns
 * 1 or 0; 0 also where the kernel does not tell: an older one, or a file of somebody else's. Does
 * not block. */
int torsion_uv_file_is_cached(int descriptor, int64_t start, int64_t end);

/* Reads the range, and drops what it read: the pages are in memory then. Returns 0 or a code; a
 * range beyond the end is read as far as it goes. */
int torsion_uv_file_fetch(int descriptor, int64_t start, int64_t end);

#ifdef __clang__
#pragma clang assume_nonnull end
#endif
/* The value of a variable of the environment, or NULL; it stays the environment's. getenv(3). */
const char *_Nullable torsion_uv_environment(const char *_Nonnull name);

/* The time of day: clock_gettime(2), CLOCK_REALTIME. Callable from any thread. */
void torsion_uv_wall_time(int64_t *_Nonnull seconds, int32_t *_Nonnull nanoseconds);

/* Fills memory with bytes that nobody can predict: uv_random() without a loop, that is getrandom(2).
 * Waits only in the first moments after the machine's start. Returns 0 or a code of libuv's. Callable
 * from any thread. */
int torsion_uv_random(void *_Nullable bytes, size_t count);

/* Has each line of standard output leave as it ends, also into a file or a pipe, where the C library
 * otherwise keeps some thousand bytes. setvbuf(3). */
void torsion_uv_buffer_output_by_line(void);

/* Flushes what the C library buffers, and ends the process. exit(3). */
void torsion_uv_exit(int status) __attribute__((noreturn));

#endif
