/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

#include <fcntl.h>
#include <stdlib.h>

const char *torsion_uv_environment(const char *name) { return getenv(name); }

int torsion_uv_process_id(void) { return (int)uv_os_getpid(); }

void torsion_uv_close_on_exec(int descriptor) {
    int flags = fcntl(descriptor, F_GETFD);
    if (flags >= 0) fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC);
}
