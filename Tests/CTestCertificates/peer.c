/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_TLS

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test_certificates.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

struct test_peer {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out;
    int seen_key_updates;
};

static void note_message(int is_written, int version, int type, const void *bytes, size_t count,
                         SSL *ssl, void *peer) {
    (void)version, (void)ssl;
    if (!is_written && type == SSL3_RT_HANDSHAKE && count > 0 &&
        *(const unsigned char *)bytes == SSL3_MT_KEY_UPDATE)
        ((struct test_peer *)peer)->seen_key_updates++;
}

struct test_peer *test_peer_new(int version) {
    struct test_peer *peer = calloc(1, sizeof *peer);
    if (!peer) return NULL;
    peer->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(peer->context, version);
    SSL_CTX_set_max_proto_version(peer->context, version);
    peer->ssl = SSL_new(peer->context);
    peer->in = BIO_new(BIO_s_mem());
    peer->out = BIO_new(BIO_s_mem());
    SSL_set_bio(peer->ssl, peer->in, peer->out);
    SSL_set_connect_state(peer->ssl);
    SSL_set_msg_callback(peer->ssl, note_message);
    SSL_set_msg_callback_arg(peer->ssl, peer);
    return peer;
}

void test_peer_free(struct test_peer *peer) {
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->context);
    free(peer);
}

int test_peer_receive(struct test_peer *peer, const void *bytes, size_t count) {
    ERR_clear_error();
    if (count) BIO_write(peer->in, bytes, (int)count);
    char plain[256];
    int n = SSL_do_handshake(peer->ssl);
    while (n > 0) n = SSL_read(peer->ssl, plain, sizeof plain);
    int error = SSL_get_error(peer->ssl, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN;
}

size_t test_peer_take(struct test_peer *peer, void *bytes, size_t capacity) {
    int n = BIO_read(peer->out, bytes, (int)capacity);
    return n > 0 ? (size_t)n : 0;
}

int test_peer_is_connected(const struct test_peer *peer) { return SSL_is_init_finished(peer->ssl); }

int test_peer_write(struct test_peer *peer, const char *text) {
    return SSL_write(peer->ssl, text, (int)strlen(text)) > 0;
}

int test_peer_update_keys(struct test_peer *peer, int asks) {
    int kind = asks ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
    return SSL_key_update(peer->ssl, kind) == 1 && SSL_do_handshake(peer->ssl) == 1;
}

int test_peer_renegotiate(struct test_peer *peer) {
    if (SSL_renegotiate(peer->ssl) != 1) return 0;
    SSL_do_handshake(peer->ssl);
    return 1;
}

int test_peer_seen_key_updates(const struct test_peer *peer) { return peer->seen_key_updates; }

#endif
