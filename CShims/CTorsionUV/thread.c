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

struct torsion_uv_semaphore {
    uv_sem_t semaphore;
};

int torsion_uv_semaphore_new(torsion_uv_semaphore **result) {
    *result = NULL;
    torsion_uv_semaphore *semaphore = malloc(sizeof *semaphore);
    if (semaphore == NULL) return UV_ENOMEM;
    int code = uv_sem_init(&semaphore->semaphore, 0);
    if (code != 0) {
        free(semaphore);
        return code;
    }
    *result = semaphore;
    return 0;
}

void torsion_uv_semaphore_post(torsion_uv_semaphore *semaphore) {
    uv_sem_post(&semaphore->semaphore);
}

void torsion_uv_semaphore_wait(torsion_uv_semaphore *semaphore) {
    uv_sem_wait(&semaphore->semaphore);
}

void torsion_uv_semaphore_free(torsion_uv_semaphore *semaphore) {
    uv_sem_destroy(&semaphore->semaphore);
    free(semaphore);
}
