/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* Certificates that tests make for themselves. */
#ifndef TORSION_TEST_CERTIFICATES_H
#define TORSION_TEST_CERTIFICATES_H

#include <stddef.h>

/* What a certificate is to say. Times are seconds since 1970. */
struct test_certificate {
    const char *_Nonnull common_name;
    const char *_Nullable names; /* as OpenSSL has them: "DNS:a.test,IP:127.0.0.1" */
    int is_authority;
    int rsa_bits; /* 0 for a key of the curve P-256 */
    long long not_before, not_after;
};

/* PEM texts, to be freed by free(3). The key is a new one; `issuer` is the certificate and key of an
 * authority, or NULL for a certificate that signs itself. Returns 0 if something failed. */
int test_certificate_make(const struct test_certificate *_Nonnull what,
                          const char *_Nullable issuer, char *_Nullable *_Nonnull certificate,
                          char *_Nullable *_Nonnull key);

/* DER of a PEM text, to be freed by free(3). Returns its length, 0 if there is no certificate. */
size_t test_certificate_der(const char *_Nonnull certificate,
                            unsigned char *_Nullable *_Nonnull bytes);

/* A client in memory that knows nothing of Torsion, and may misbehave. */
struct test_peer;

/* `version`: 0x0303 or 0x0304. */
struct test_peer *_Nullable test_peer_new(int version);
void test_peer_free(struct test_peer *_Nonnull peer);
/* Gives it what its peer has sent, and lets it shake hands and read. Returns 0 if it has failed. */
int test_peer_receive(struct test_peer *_Nonnull peer, const void *_Nullable bytes, size_t count);
/* What it wants to send; returns how many bytes. */
size_t test_peer_take(struct test_peer *_Nonnull peer, void *_Nonnull bytes, size_t capacity);
int test_peer_is_connected(const struct test_peer *_Nonnull peer);
int test_peer_write(struct test_peer *_Nonnull peer, const char *_Nonnull text);
/* Sends new keys, and asks for new ones if `asks`. */
int test_peer_update_keys(struct test_peer *_Nonnull peer, int asks);
/* Begins a second handshake, of TLS 1.2. */
int test_peer_renegotiate(struct test_peer *_Nonnull peer);
/* How often the other side has sent new keys. */
int test_peer_seen_key_updates(const struct test_peer *_Nonnull peer);

#endif
