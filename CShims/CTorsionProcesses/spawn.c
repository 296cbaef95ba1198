/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_processes.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* In glibc's header from 2.36 on. */
#define WAIT_BY_PIDFD ((idtype_t)3)

extern char **environ;

static size_t count_of(const char *const *list) {
    size_t count = 0;
    while (list[count] != NULL) count++;
    return count;
}

/* Whether NAME=value is of a name that a list has, with or without a value. */
static int is_named(const char *variable, const char *const *list) {
    size_t length = strcspn(variable, "=");
    for (size_t index = 0; list[index] != NULL; index++)
        if (strncmp(list[index], variable, length) == 0 &&
            (list[index][length] == '=' || list[index][length] == 0))
            return 1;
    return 0;
}

/* What the child gets, in memory that the caller frees; its strings are others'. */
static char **make_environment(const struct torsion_process_plan *plan) {
    size_t own = count_of(plan->environment);
    size_t inherited = plan->inherits_environment ? count_of((const char *const *)environ) : 0;
    char **result = malloc((own + inherited + 1) * sizeof *result);
    if (result == NULL) return NULL;
    size_t count = 0;
    for (size_t index = 0; index < inherited; index++)
        if (!is_named(environ[index], plan->environment)) result[count++] = environ[index];
    for (size_t index = 0; index < own; index++)
        if (strchr(plan->environment[index], '=') != NULL)
            result[count++] = (char *)plan->environment[index];
    result[count] = NULL;
    return result;
}

static int add_actions(posix_spawn_file_actions_t *actions,
                       const struct torsion_process_plan *plan) {
    int code = 0;
    /* A session without a terminal takes the first that its leader opens. The number is closed again
     * with all others. */
    if (plan->terminal != NULL)
        code = posix_spawn_file_actions_addopen(actions, plan->count, plan->terminal, 2, 0);
    for (int number = 0; number < plan->count && code == 0; number++)
        code = plan->sources[number] >= 0
                   ? posix_spawn_file_actions_adddup2(actions, plan->sources[number], number)
                   : posix_spawn_file_actions_addclose(actions, number);
    if (code == 0) code = posix_spawn_file_actions_addclosefrom_np(actions, plan->count);
    if (code == 0 && plan->folder != NULL)
        code = posix_spawn_file_actions_addchdir_np(actions, plan->folder);
    return code;
}

static int set_attributes(posix_spawnattr_t *attributes, enum torsion_process_group group) {
    sigset_t defaults, none;
    sigemptyset(&none);
    sigemptyset(&defaults);
    /* Ignored by the engine; what else is ignored was wanted by our own parent, as nohup(1) does. */
    sigaddset(&defaults, SIGPIPE);
    int flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    if (group == TORSION_PROCESS_GROUP_OWN) flags |= POSIX_SPAWN_SETPGROUP;
    if (group == TORSION_PROCESS_SESSION_OWN) flags |= POSIX_SPAWN_SETSID;
    posix_spawnattr_setsigdefault(attributes, &defaults);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setpgroup(attributes, 0);
    return posix_spawnattr_setflags(attributes, (short)flags);
}

static int start(const struct torsion_process_plan *plan, char **environment, pid_t *process) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int code = posix_spawn_file_actions_init(&actions);
    if (code != 0) return code;
    code = posix_spawnattr_init(&attributes);
    if (code == 0) {
        code = add_actions(&actions, plan);
        if (code == 0) code = set_attributes(&attributes, plan->group);
        if (code == 0)
            code = posix_spawnp(process, plan->program, &actions, &attributes,
                                (char *const *)plan->arguments, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

int torsion_process_spawn(const struct torsion_process_plan *plan, int *process, int *pidfd,
                          const char **step) {
    *step = "posix_spawn";
    char **environment = make_environment(plan);
    if (environment == NULL) return ENOMEM;
    pid_t child = 0;
    int code = start(plan, environment, &child);
    free(environment);
    if (code != 0) return code;
    /* Its number is its own until we wait for it. */
    int descriptor = (int)syscall(SYS_pidfd_open, child, 0);
    if (descriptor < 0) {
        *step = "pidfd_open";
        code = errno;
        kill(child, SIGKILL);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
        return code;
    }
    *process = child;
    *pidfd = descriptor;
    return 0;
}

int torsion_process_children_are_kept(void) {
    struct sigaction action;
    if (sigaction(SIGCHLD, NULL, &action) != 0) return 1;
    return action.sa_handler != SIG_IGN && (action.sa_flags & SA_NOCLDWAIT) == 0;
}

int torsion_process_status(int pidfd, int keeps_zombie, int *how, int *value) {
    siginfo_t found = {0};
    int flags = WEXITED | WNOHANG | (keeps_zombie ? WNOWAIT : 0);
    if (waitid(WAIT_BY_PIDFD, (id_t)pidfd, &found, flags) != 0) return -errno;
    if (found.si_pid == 0) return 0;
    *how = found.si_code;
    *value = found.si_status;
    return 1;
}

int torsion_process_await_exit(int pidfd, int milliseconds) {
    struct pollfd wanted = {.fd = pidfd, .events = POLLIN};
    return poll(&wanted, 1, milliseconds) > 0;
}

int torsion_process_signal(int pidfd, int number) {
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) == 0 ? 0 : errno;
}

int torsion_process_signal_group(int group, int number) {
    return kill(-group, number) == 0 ? 0 : errno;
}
