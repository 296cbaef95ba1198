/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

struct torsion_uv_resolve {
    uv_getaddrinfo_t request; /* first: a pointer to it is one to the look-up */
    torsion_uv_loop *loop;
    torsion_uv_resolved resolved; /* NULL once it was cancelled */
    void *context;
};

/* Copies one answer; returns how many addresses that makes, 0 for another family. */
static size_t copy_address(const struct addrinfo *answer, torsion_uv_address *address) {
    memset(address, 0, sizeof *address);
    if (answer->ai_family == AF_INET) {
        const struct sockaddr_in *ipv4 = (const void *)answer->ai_addr;
        memcpy(address->bytes, &ipv4->sin_addr, 4);
        return 1;
    }
    if (answer->ai_family == AF_INET6) {
        const struct sockaddr_in6 *ipv6 = (const void *)answer->ai_addr;
        memcpy(address->bytes, &ipv6->sin6_addr, 16);
        address->scope = ipv6->sin6_scope_id;
        address->is_ipv6 = 1;
        return 1;
    }
    return 0;
}

static void deliver(torsion_uv_resolve *resolve, int code, const struct addrinfo *answers) {
    size_t limit = 0, count = 0;
    for (const struct addrinfo *each = answers; each != NULL; each = each->ai_next) limit += 1;
    torsion_uv_address *addresses = limit > 0 ? calloc(limit, sizeof *addresses) : NULL;
    if (addresses != NULL)
        for (const struct addrinfo *each = answers; each != NULL; each = each->ai_next)
            count += copy_address(each, &addresses[count]);
    if (code == 0 && count == 0) code = limit > 0 && addresses == NULL ? UV_ENOMEM : UV_EAI_NODATA;
    resolve->resolved(resolve->context, code, addresses, count);
    free(addresses);
}

static void lookup_ended(uv_getaddrinfo_t *request, int code, struct addrinfo *answers) {
    torsion_uv_resolve *resolve = (torsion_uv_resolve *)request;
    resolve->loop->lookup_count -= 1;
    if (resolve->resolved != NULL) {
        resolve->loop->open_count -= 1;
        deliver(resolve, code, answers);
    }
    uv_freeaddrinfo(answers);
    free(resolve);
}

/* What UV_THREADPOOL_SIZE may ask for at most: uv-threadpool in libuv's documentation. */
enum { POOL_DEFAULT = 4, POOL_LIMIT = 1024 };

static size_t pool_size(void) {
    const char *wanted = getenv("UV_THREADPOOL_SIZE");
    int size = wanted == NULL ? POOL_DEFAULT : atoi(wanted);
    return size < 1 ? 1 : size > POOL_LIMIT ? POOL_LIMIT : (size_t)size;
}

static void wait_for_post(void *semaphore) { uv_sem_wait(semaphore); }

/* Whether as many threads can be had as the pool starts, which aborts if they cannot. */
static int check_threads(void) {
    uv_thread_t threads[POOL_LIMIT];
    uv_sem_t semaphore;
    size_t size = pool_size(), count = 0;
    int code = uv_sem_init(&semaphore, 0);
    if (code != 0) return code;
    while (count < size && code == 0) {
        code = uv_thread_create(&threads[count], wait_for_post, &semaphore);
        count += code == 0;
    }
    for (size_t i = 0; i < count; i++) uv_sem_post(&semaphore);
    for (size_t i = 0; i < count; i++) uv_thread_join(&threads[i]);
    uv_sem_destroy(&semaphore);
    return code;
}

/* The first use of the pool starts its threads, in whichever loop. */
static int check_pool(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int has_pool;
    pthread_mutex_lock(&lock);
    int code = has_pool ? 0 : check_threads();
    if (code == 0) has_pool = 1;
    pthread_mutex_unlock(&lock);
    return code;
}

int torsion_uv_resolve_start(torsion_uv_loop *loop, const char *host, void *context,
                             torsion_uv_resolved resolved, torsion_uv_resolve **result) {
    *result = NULL;
    int pool_code = check_pool();
    if (pool_code != 0) return pool_code;
    torsion_uv_resolve *resolve = malloc(sizeof *resolve);
    if (resolve == NULL) return UV_ENOMEM;
    resolve->loop = loop;
    resolve->resolved = resolved;
    resolve->context = context;
    /* One socket type, or each address comes once for each. */
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int code = uv_getaddrinfo(&loop->loop, &resolve->request, lookup_ended, host, NULL, &hints);
    if (code != 0) {
        free(resolve);
        return code;
    }
    loop->lookup_count += 1;
    loop->open_count += 1;
    *result = resolve;
    return 0;
}

void torsion_uv_resolve_cancel(torsion_uv_resolve *resolve) {
    resolve->resolved = NULL;
    resolve->loop->open_count -= 1;
    /* Fails for one that runs already, which then ends in lookup_ended() in its own time. */
    uv_cancel((uv_req_t *)&resolve->request);
}
