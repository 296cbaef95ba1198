/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_PROCESSES_H
#define TORSION_PROCESSES_H

#include <stddef.h>

#ifndef __clang__
#define _Nullable
#define _Nonnull
#endif

/* Child processes by posix_spawn(3) and pidfd_open(2). glibc's posix_spawn shares the parent's memory
 * until exec, so that it costs the same whatever the parent holds, is safe beside threads, and returns
 * the error of exec.
 *
 * Each function returns 0 or a positive errno, unless it says otherwise. Pointers are borrowed for the
 * call. All descriptors that are made are closed on exec. */

enum torsion_process_group {
    TORSION_PROCESS_GROUP_INHERITED,
    TORSION_PROCESS_GROUP_OWN,
    TORSION_PROCESS_SESSION_OWN,
};

struct torsion_process_plan {
    /* Without a slash it is looked for on the PATH of this process. */
    const char *_Nonnull program;
    /* Ends with NULL, as the next. */
    const char *_Nullable const *_Nonnull arguments;
    /* NAME=value, or a NAME that is taken out of what is inherited. */
    const char *_Nullable const *_Nonnull environment;
    int inherits_environment;
    /* NULL: that of this process. */
    const char *_Nullable folder;
    /* The child's descriptor N is sources[N], or closed if that is -1. Each source is above count. */
    const int *_Nonnull sources;
    int count;
    enum torsion_process_group group;
    /* The path of a terminal that becomes the session's own; NULL for none. */
    const char *_Nullable terminal;
};

/* Starts a process. On failure there is none, and *step names the call that failed. A process whose
 * pidfd cannot be had is killed and waited for. Blocks until exec. */
int torsion_process_spawn(const struct torsion_process_plan *_Nonnull plan, int *_Nonnull process,
                          int *_Nonnull pidfd, const char *_Nullable *_Nonnull step);

/* Whether children stay as zombies until they are waited for: false if SIGCHLD is ignored. */
int torsion_process_children_are_kept(void);

/* waitid(2), without waiting. Returns 1 and fills *how (CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3) and
 * *value, or 0 if the process runs, or a negative errno. */
int torsion_process_status(int pidfd, int keeps_zombie, int *_Nonnull how, int *_Nonnull value);

/* Waits at most so long until a process has exited. Returns whether it has. */
int torsion_process_await_exit(int pidfd, int milliseconds);

/* pidfd_send_signal(2). */
int torsion_process_signal(int pidfd, int number);

/* kill(2) of a group. Safe only as long as its leader has not been waited for. */
int torsion_process_signal_group(int group, int number);

/* pipe2(2). ends[0] is read from. The end that is this process's does not block: 0 or 1. */
int torsion_process_pipe(int *_Nonnull ends, int own);

/* socketpair(2) of two connected UNIX sockets. */
int torsion_process_socket_pair(int *_Nonnull ends);

enum torsion_process_file {
    TORSION_PROCESS_FILE_READ,
    TORSION_PROCESS_FILE_REPLACE,
    TORSION_PROCESS_FILE_APPEND,
    TORSION_PROCESS_FILE_BOTH,
};

/* open(2), without waiting for the other side of a FIFO. Returns the descriptor or a negative errno. */
int torsion_process_open(const char *_Nonnull path, enum torsion_process_file mode);

/* Another number, at least `minimum`, for an open descriptor. Returns it, or a negative errno. */
int torsion_process_duplicate(int descriptor, int minimum);

void torsion_process_close(int descriptor);

/* A terminal: the descriptors of its two sides, and the path of the child's. */
int torsion_process_terminal(int rows, int columns, int *_Nonnull controlling,
                             int *_Nonnull controlled, char *_Nonnull path, size_t path_size);

/* TIOCSWINSZ. */
int torsion_process_resize(int controlling, int rows, int columns);

/* SIGWINCH. */
int torsion_terminal_window_signal(void);

/* The terminal that controls this process: open(2) of /dev/tty. Returns it, or a negative errno. */
int torsion_terminal_open(void);

/* TIOCGWINSZ. */
int torsion_terminal_size(int descriptor, int *_Nonnull rows, int *_Nonnull columns);

/* cfmakeraw(3). Until torsion_terminal_restore() of what is returned the flags are also restored by
 * exit(3), by signals that end the process and that nobody handles, and while it is stopped by SIGTSTP.
 * One terminal may be made raw several times, and is restored by the last. Any thread. Returns a
 * negative errno on failure; EIO in the background. */
int torsion_terminal_make_raw(int descriptor);

/* Takes back one torsion_terminal_make_raw(). Any thread. */
int torsion_terminal_restore(int number);

/* Why a folder cannot be the working directory; 0 if it can. */
int torsion_process_check_folder(const char *_Nonnull path);

/* Whether there is a file that could be run: found as posix_spawnp(3) does, in a folder or NULL. */
int torsion_process_has_program(const char *_Nonnull program, const char *_Nullable folder);

#endif
