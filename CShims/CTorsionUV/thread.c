/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

struct torsion_uv_thread {
    uv_thread_t thread;
};

int torsion_uv_thread_start(void (*body)(void *context), void *context,
                            torsion_uv_thread **result) {
    *result = NULL;
    torsion_uv_thread *thread = malloc(sizeof *thread);
    if (thread == NULL) return UV_ENOMEM;
    int code = uv_thread_create(&thread->thread, body, context);
    if (code != 0) {
        free(thread);
        return code;
    }
    *result = thread;
    return 0;
}

void torsion_uv_thread_join(torsion_uv_thread *thread) {
    torsion_uv_require(uv_thread_join(&thread->thread) == 0, "a thread could not be joined");
    free(thread);
}
