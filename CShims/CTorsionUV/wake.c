/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

struct torsion_uv_wake {
    uv_async_t async; /* first: libuv frees by it */
    torsion_uv_loop *loop;
};

int torsion_uv_wake_new(torsion_uv_loop *loop, torsion_uv_wake **result) {
    *result = NULL;
    torsion_uv_wake *wake = malloc(sizeof *wake);
    if (wake == NULL) return UV_ENOMEM;
    /* No callback: that the poll returns is all. */
    int code = uv_async_init(&loop->loop, &wake->async, NULL);
    if (code != 0) {
        free(wake);
        return code;
    }
    wake->loop = loop;
    loop->open_count += 1;
    *result = wake;
    return 0;
}

void torsion_uv_wake_send(torsion_uv_wake *wake) { uv_async_send(&wake->async); }

static void closed(uv_handle_t *handle) { free(handle); }

void torsion_uv_wake_close(torsion_uv_wake *wake) {
    wake->loop->open_count -= 1;
    uv_close((uv_handle_t *)&wake->async, closed);
}
