/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_TLS

/* The keys of a server's tickets: RFC 5077 §4. OpenSSL would make one for each context and keep it as
 * long as that, so that whoever learns it once opens the sessions of months. */
#include "tls_here.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct key {
    unsigned char name[16], cipher[32], mac[32];
};

struct torsion_tls_tickets {
    pthread_mutex_t lock;
    int64_t period_s, made_at;
    /* The latest first. */
    struct key keys[2];
    int key_count;
};

struct torsion_tls_tickets *torsion_tls_tickets_new(int64_t period_s) {
    struct torsion_tls_tickets *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    pthread_mutex_init(&made->lock, NULL);
    made->period_s = period_s;
    return made;
}

void torsion_tls_tickets_free(struct torsion_tls_tickets *tickets) {
    OPENSSL_cleanse(tickets->keys, sizeof tickets->keys);
    pthread_mutex_destroy(&tickets->lock);
    free(tickets);
}

/* Without random bytes the former key stays. */
static void rotate(struct torsion_tls_tickets *tickets) {
    struct key fresh;
    if (RAND_bytes(fresh.name, sizeof fresh.name) != 1 ||
        RAND_priv_bytes(fresh.cipher, sizeof fresh.cipher) != 1 ||
        RAND_priv_bytes(fresh.mac, sizeof fresh.mac) != 1)
        return;
    tickets->keys[1] = tickets->keys[0];
    tickets->keys[0] = fresh;
    if (tickets->key_count < 2) tickets->key_count++;
    OPENSSL_cleanse(&fresh, sizeof fresh);
}

void torsion_tls_tickets_rotate(struct torsion_tls_tickets *tickets) {
    pthread_mutex_lock(&tickets->lock);
    /* The first is made when it is needed. */
    if (tickets->key_count) rotate(tickets);
    pthread_mutex_unlock(&tickets->lock);
}

/* Makes the first key, and another each period; after two of them no former one is good. */
static void look_at_time(struct torsion_tls_tickets *tickets, int64_t now) {
    int64_t age = now - tickets->made_at, period = tickets->period_s;
    if (tickets->key_count && (!period || age < period)) return;
    if (tickets->key_count && age >= 2 * period) rotate(tickets);
    rotate(tickets);
    tickets->made_at = now;
}

/* Copies the latest key, or that of a name. Returns its number from 1 on, 0 for none. */
static int take_key(struct torsion_tls_tickets *tickets, int64_t now, const unsigned char *name,
                    struct key *key) {
    int found = 0;
    pthread_mutex_lock(&tickets->lock);
    look_at_time(tickets, now);
    for (int i = 0; i < tickets->key_count && !found; i++) {
        if (name && memcmp(tickets->keys[i].name, name, sizeof key->name) != 0) continue;
        *key = tickets->keys[i];
        found = i + 1;
    }
    pthread_mutex_unlock(&tickets->lock);
    return found;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 goes on, 0 gives no ticket or ignores it, 2 also asks for a
 * new one. */
static int give_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                    EVP_MAC_CTX *mac, int encrypts) {
    struct torsion_tls *tls = SSL_get_app_data(ssl);
    struct key key;
    if (!tls || !tls->context->tickets) return 0;
    int64_t now = tls->now >= 0 ? tls->now : (int64_t)time(NULL);
    int found = take_key(tls->context->tickets, now, encrypts ? NULL : name, &key);
    if (!found) return 0;
    OSSL_PARAM how[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof key.mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    int is_ready = EVP_MAC_CTX_set_params(mac, how) == 1;
    if (encrypts) {
        memcpy(name, key.name, sizeof key.name);
        is_ready = is_ready && RAND_bytes(iv, EVP_MAX_IV_LENGTH) == 1 &&
                   EVP_EncryptInit_ex2(cipher, EVP_aes_256_cbc(), key.cipher, iv, NULL) == 1;
    } else {
        is_ready = is_ready &&
                   EVP_DecryptInit_ex2(cipher, EVP_aes_256_cbc(), key.cipher, iv, NULL) == 1;
    }
    OPENSSL_cleanse(&key, sizeof key);
    return is_ready ? found : encrypts ? -1 : 0;
}

int torsion_tls_use_tickets(struct torsion_tls_context *context,
                            struct torsion_tls_tickets *tickets) {
    context->tickets = tickets;
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(context->ssl, give_key) == 1;
}

#endif
