/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* The TLS shim by itself, for the sanitizers: allocation N of OpenSSL fails, for N = 1, 2, …, and
 * handshakes fail at each of their bytes. Prints the checks that fail; status 0 if none did.
 *
 *   shim [HANDSHAKES [STRIDE]]    how many of those that fail, 1,000 by default; every which
 *                                  allocation, 11 by default */
#include "torsion_tls.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;
#define CHECK(condition)                                                   \
    do {                                                                   \
        if (!(condition)) {                                                \
            failures += 1;                                                 \
            printf("line %d in %s: %s\n", __LINE__, __func__, #condition); \
        }                                                                  \
    } while (0)

/* MARK: Allocations */

/* The allocation that fails is the one that counts this down to 0; at 0 none does. */
static long countdown;
static long allocations;

static int fails(void) {
    allocations++;
    return countdown && --countdown == 0;
}

static void *allocate(size_t size, const char *file, int line) {
    (void)file, (void)line;
    return fails() ? NULL : malloc(size);
}

static void *reallocate(void *old, size_t size, const char *file, int line) {
    (void)file, (void)line;
    if (!size) {
        free(old);
        return NULL;
    }
    return fails() ? NULL : realloc(old, size);
}

static void release(void *old, const char *file, int line) {
    (void)file, (void)line;
    free(old);
}

/* MARK: Two ends */

static const char name[] = "a.test";

struct side {
    torsion_tls *tls;
    struct torsion_tls_output output;
    int result;
};

struct material {
    uint8_t *certificate, *key;
    size_t certificate_count, key_count;
};

static int make_material(struct material *made) {
    struct torsion_tls_failure failure;
    memset(made, 0, sizeof *made);
    return torsion_tls_self_signed("DNS:a.test", torsion_tls_wall_seconds(), 0, &made->certificate,
                                   &made->certificate_count, &made->key, &made->key_count,
                                   &failure);
}

static void free_material(struct material *made) {
    torsion_tls_free_bytes(made->certificate, made->certificate_count);
    torsion_tls_free_bytes(made->key, made->key_count);
}

struct both {
    torsion_tls_identity *identity;
    torsion_tls_roots *roots;
    torsion_tls_tickets *tickets;
    torsion_tls_context *server, *client;
};

static void free_both(struct both *both) {
    if (both->server) torsion_tls_context_free(both->server);
    if (both->client) torsion_tls_context_free(both->client);
    if (both->tickets) torsion_tls_tickets_free(both->tickets);
    if (both->roots) torsion_tls_roots_free(both->roots);
    if (both->identity) torsion_tls_identity_free(both->identity);
}

static int make_both(struct both *both, const struct material *from, int version) {
    static const uint8_t protocols[] = {1, 'a'};
    struct torsion_tls_failure failure;
    memset(both, 0, sizeof *both);
    both->identity =
        torsion_tls_identity_new(from->certificate, from->certificate_count, from->key,
                                 from->key_count, NULL, &failure);
    if (!both->identity) return 0;
    both->roots = torsion_tls_roots_new(from->certificate, from->certificate_count, &failure);
    both->tickets = torsion_tls_tickets_new(3600);
    if (!both->roots || !both->tickets) return 0;
    struct torsion_tls_settings settings = {
        .is_server = 1, .verification = TORSION_TLS_VERIFY_IF_SHOWN,
        .minimum_version = version, .maximum_version = version, .roots = both->roots,
        .identity = both->identity, .protocols = protocols, .protocol_count = sizeof protocols,
        .has_tickets = 1, .may_refuse = 1, .tickets = both->tickets};
    both->server = torsion_tls_context_new(&settings, &failure);
    if (!both->server ||
        !torsion_tls_context_add_identity(both->server, "*.b.test", both->identity))
        return 0;
    settings.is_server = 0;
    settings.verification = TORSION_TLS_VERIFY_NAME;
    settings.tickets = NULL;
    both->client = torsion_tls_context_new(&settings, &failure);
    return both->client != NULL;
}

static void shake(struct side *side, struct torsion_tls_output *from) {
    const uint8_t *input = from->base;
    size_t count = from->count;
    if (side->result != TORSION_TLS_MORE) return;
    size_t before;
    do {
        before = count;
        side->result = torsion_tls_handshake(side->tls, &input, &count, &side->output);
    } while (side->result == TORSION_TLS_MORE && count && count < before);
    from->count = 0;
    if (side->result != TORSION_TLS_FAILED) return;
    struct torsion_tls_failure failure;
    torsion_tls_why(side->tls, &failure);
    CHECK(failure.text[0]);
}

/* What to do with the bytes of one direction, the first of which are so many from its beginning. */
struct damage {
    int of_server; /* of those that the server sends */
    size_t at, seen;
    int is_cut; /* nothing comes from there on */
};

static void damage(struct damage *how, struct torsion_tls_output *bytes) {
    if (how->at >= how->seen && how->at < how->seen + bytes->count) {
        if (how->is_cut) {
            how->seen += bytes->count;
            bytes->count = how->at - (how->seen - bytes->count);
            return;
        }
        bytes->base[how->at - how->seen] ^= (uint8_t)(1 << how->at % 8);
    } else if (how->is_cut && how->at < how->seen) {
        bytes->count = 0;
    }
    how->seen += bytes->count;
}

static void shake_hands(struct side *client, struct side *server, struct damage *how) {
    struct torsion_tls_output none = {0};
    shake(client, &none);
    for (int i = 0; i < 4; i++) {
        if (how && !how->of_server) damage(how, &client->output);
        shake(server, &client->output);
        if (how && how->of_server) damage(how, &server->output);
        shake(client, &server->output);
    }
}

/* Returns whether the bytes came. */
static int pass(struct side *from, struct side *to, const char *text) {
    uint8_t plain[20000];
    size_t opened = 0;
    from->output.count = 0;
    if (torsion_tls_seal(from->tls, (const uint8_t *)text, strlen(text), 16384, &from->output) !=
        TORSION_TLS_OK)
        return 0;
    const uint8_t *input = from->output.base;
    size_t count = from->output.count;
    while (count && !opened) {
        int result = torsion_tls_open(to->tls, &input, &count, &to->output, plain, sizeof plain,
                                      &opened);
        if (result != TORSION_TLS_OK && result != TORSION_TLS_MORE) return 0;
    }
    /* Without memory for it a record is an error, never other bytes. */
    CHECK(opened == 0 || (opened == strlen(text) && !memcmp(plain, text, opened)));
    return opened > 0;
}

/* A whole connection; returns whether all of it went as it should. */
static int connect_both(struct both *both, uint8_t **session, size_t *session_count,
                        struct damage *how) {
    struct side client = {.result = TORSION_TLS_MORE}, server = client;
    int is_whole = 0;
    client.tls = torsion_tls_new(both->client, name, -1);
    server.tls = torsion_tls_new(both->server, NULL, -1);
    if (client.tls && server.tls) {
        if (*session) torsion_tls_use_session(client.tls, *session, *session_count);
        shake_hands(&client, &server, how);
        if (client.result == TORSION_TLS_OK && server.result == TORSION_TLS_OK) {
            uint8_t *shown = NULL;
            size_t count = torsion_tls_peer_certificate(client.tls, &shown);
            is_whole = pass(&server, &client, "hello") && pass(&client, &server, "answer");
            torsion_tls_free_bytes(shown, count);
            torsion_tls_free_buffers(client.tls);
            torsion_tls_free_bytes(*session, *session_count);
            *session = NULL;
            *session_count = torsion_tls_take_session(client.tls, session);
            torsion_tls_end(client.tls, &client.output);
        }
    }
    if (client.tls) torsion_tls_free(client.tls);
    if (server.tls) torsion_tls_free(server.tls);
    torsion_tls_free_bytes(client.output.base, client.output.count);
    torsion_tls_free_bytes(server.output.base, server.output.count);
    return is_whole;
}

/* MARK: Checks */

/* Returns the alert that one end gets when the other refuses it behind the handshake, or -1. */
static int refuse(int version, int is_by_server, int alert) {
    struct material material;
    struct both both;
    struct side client = {.result = TORSION_TLS_MORE}, server = client;
    struct torsion_tls_failure failure = {.alert = -1};
    if (!make_material(&material) || !make_both(&both, &material, version)) return -2;
    client.tls = torsion_tls_new(both.client, name, -1);
    server.tls = torsion_tls_new(both.server, NULL, -1);
    shake_hands(&client, &server, NULL);
    struct side *from = is_by_server ? &server : &client, *to = is_by_server ? &client : &server;
    from->output.count = 0;
    torsion_tls_refuse(from->tls, alert, &from->output);
    uint8_t plain[20000];
    size_t count = from->output.count, opened = 0;
    const uint8_t *input = from->output.base;
    int result = count ? torsion_tls_open(to->tls, &input, &count, &to->output, plain, sizeof plain,
                                          &opened)
                       : TORSION_TLS_MORE;
    if (result == TORSION_TLS_FAILED) torsion_tls_why(to->tls, &failure);
    torsion_tls_free(client.tls);
    torsion_tls_free(server.tls);
    torsion_tls_free_bytes(client.output.base, client.output.count);
    torsion_tls_free_bytes(server.output.base, server.output.count);
    free_both(&both);
    free_material(&material);
    return failure.alert;
}

/* OpenSSL has a way for an alert of the program's in two of these four cases. */
static void refusals(void) {
    CHECK(refuse(0x0304, 1, 49) == 49);
    CHECK(refuse(0x0303, 0, 49) == 49);
    CHECK(refuse(0x0304, 0, 49) == -1);
    CHECK(refuse(0x0303, 1, 49) == -1);
}

/* A first connection, and one that resumes it. */
static int run(const struct material *material, int version) {
    struct both both;
    uint8_t *session = NULL;
    size_t session_count = 0;
    int is_whole = make_both(&both, material, version) &&
                   connect_both(&both, &session, &session_count, NULL) &&
                   connect_both(&both, &session, &session_count, NULL);
    torsion_tls_free_bytes(session, session_count);
    free_both(&both);
    return is_whole;
}

static void allocations_fail(int version, int stride) {
    struct material material;
    CHECK(make_material(&material));
    /* OpenSSL sets itself up once, and stays broken if that fails. */
    CHECK(run(&material, version));
    allocations = 0;
    CHECK(run(&material, version));
    long whole = allocations, failed = 0, tried = 0;
    for (long n = 1; n <= whole; n += stride) {
        countdown = n;
        tried++;
        if (!run(&material, version)) failed++;
        countdown = 0;
        ERR_clear_error();
    }
    /* Most of them OpenSSL does without. */
    CHECK(failed > 0);
    CHECK(run(&material, version));
    printf("version %x: %ld of %ld allocations failed, %ld connections with them\n",
           (unsigned)version, tried, whole, failed);
    fflush(stdout);
    for (long n = 1; n <= 200; n++) {
        struct material other;
        countdown = n;
        make_material(&other);
        countdown = 0;
        free_material(&other);
    }
    free_material(&material);
}

static void handshakes_fail(int version, int count) {
    struct material material;
    struct both both;
    CHECK(make_material(&material) && make_both(&both, &material, version));
    int whole = 0;
    for (int i = 0; i < count; i++) {
        uint8_t *session = NULL;
        size_t session_count = 0;
        struct damage how = {.of_server = i & 1, .at = (size_t)(i >> 2) % 2000, .is_cut = i >> 1 & 1};
        whole += connect_both(&both, &session, &session_count, &how);
        torsion_tls_free_bytes(session, session_count);
    }
    /* Those whose place lies behind the handshake. */
    CHECK(whole < count);
    printf("version %x: %d of %d handshakes failed\n", (unsigned)version, count - whole, count);
    fflush(stdout);
    free_both(&both);
    free_material(&material);
}

int main(int argc, char **argv) {
    /* Before OpenSSL's first allocation. */
    CHECK(CRYPTO_set_mem_functions(allocate, reallocate, release) == 1);
    int count = argc > 1 ? atoi(argv[1]) : 1000;
    int stride = argc > 2 ? atoi(argv[2]) : 11;
    refusals();
    for (int version = 0x0303; version <= 0x0304; version++) {
        allocations_fail(version, stride);
        handshakes_fail(version, count / 2);
    }
    return failures != 0;
}
