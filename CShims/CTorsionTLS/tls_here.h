/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_TLS_HERE_H
#define TORSION_TLS_HERE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <openssl/ssl.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "Torsion's TLS needs OpenSSL 3.0 or later; Torsion without it has no trait `TLS`."
#endif

#include "torsion_tls.h"

struct torsion_tls_identity {
    X509 *certificate;
    STACK_OF(X509) *chain;
    EVP_PKEY *key;
};

struct torsion_tls_roots {
    STACK_OF(X509) *certificates;
};

struct torsion_tls_choice {
    char *name;
    X509 *certificate;
    STACK_OF(X509) *chain;
    EVP_PKEY *key;
};

struct torsion_tls_context {
    SSL_CTX *ssl;
    torsion_tls_tickets *tickets;
    int verification;
    uint8_t *protocols;
    size_t protocol_count;
    struct torsion_tls_choice *choices;
    size_t choice_count;
};

struct torsion_tls {
    SSL *ssl;
    struct torsion_tls_context *context;
    /* Borrowed during a call. */
    const uint8_t *input;
    size_t count;
    struct torsion_tls_output *output;
    int is_mid_record, owes_ticket, alert, has_failed, passes_hello;
    /* What the program refuses the peer with, or 0. */
    int refusal_alert;
    SSL_SESSION *session;
    uint8_t *key_log;
    size_t key_log_count;
    /* What was wrong with the peer's certificate; made when something is. */
    struct torsion_tls_failure *refusal;
    /* What the client asks for, of a server that stops at its hello. */
    struct torsion_tls_hello *hello;
    /* Seconds since 1970, or -1 for the machine's time. */
    int64_t now;
};

struct torsion_tls_hello {
    int is_refused;
    size_t protocol_count;
    char name[256];
    uint8_t protocols[];
};

int torsion_tls_use_tickets(struct torsion_tls_context *context, torsion_tls_tickets *tickets);
int torsion_tls_note_hello(SSL *ssl, int *alert, void *argument);
void torsion_tls_describe(X509 *certificate, struct torsion_tls_failure *failure);

#endif
