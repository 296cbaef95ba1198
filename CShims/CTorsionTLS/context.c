/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_TLS

/* Certificates, keys, and what connections share. */
#include "tls_here.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* 112 bits: RSA and DH from 2,048 bits on, and no SHA-1. */
enum { security_level = 2 };

int torsion_tls_read_file(const char *path, uint8_t **bytes, size_t *count) {
    enum { limit = 1 << 20 };
    FILE *file = fopen(path, "re");
    if (!file) return errno;
    uint8_t *all = malloc(limit + 1);
    int code = all ? 0 : ENOMEM;
    size_t n = all ? fread(all, 1, limit + 1, file) : 0;
    if (!code && ferror(file)) code = errno ? errno : EIO;
    if (!code && n > limit) code = EFBIG;
    fclose(file);
    if (code) {
        torsion_tls_free_bytes(all, n);
        return code;
    }
    *bytes = all;
    *count = n;
    return 0;
}

const char *torsion_tls_errno_text(int code) {
    const char *text = strerrordesc_np(code);
    return text ? text : "unknown error";
}

void torsion_tls_free_bytes(uint8_t *bytes, size_t count) {
    if (bytes) OPENSSL_cleanse(bytes, count);
    free(bytes);
}

/* Without it OpenSSL would ask at the terminal. */
static int give_passphrase(char *buffer, int size, int is_writing, void *passphrase) {
    (void)is_writing;
    if (!passphrase) return -1;
    size_t n = strlen(passphrase);
    if (n > (size_t)size) return -1;
    memcpy(buffer, passphrase, n);
    return (int)n;
}

static STACK_OF(X509) *read_certificates(const uint8_t *bytes, size_t count) {
    BIO *bio = count <= INT32_MAX ? BIO_new_mem_buf(bytes, (int)count) : NULL;
    STACK_OF(X509) *all = sk_X509_new_null();
    if (bio && all) {
        X509 *next;
        while ((next = PEM_read_bio_X509(bio, NULL, give_passphrase, NULL))) {
            if (!sk_X509_push(all, next)) {
                X509_free(next);
                break;
            }
        }
    }
    BIO_free(bio);
    /* The end of the text is an error of its own, and the only one that is none. */
    unsigned long code = ERR_peek_last_error();
    int is_whole = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (!all || !sk_X509_num(all) || !is_whole) {
        sk_X509_pop_free(all, X509_free);
        return NULL;
    }
    ERR_clear_error();
    return all;
}

static void say(struct torsion_tls_failure *failure, const char *text) {
    memset(failure, 0, sizeof *failure);
    failure->kind = TORSION_TLS_KIND_MATERIAL;
    failure->alert = -1;
    snprintf(failure->text, sizeof failure->text, "%s", text);
    ERR_clear_error();
}

/* Here and not at the first connection: an identity that has been read can be used. */
static int is_strong_enough(const struct torsion_tls_identity *identity,
                            struct torsion_tls_failure *failure) {
    SSL_CTX *trial = SSL_CTX_new(TLS_method());
    if (!trial) return say(failure, "there is no memory"), 0;
    SSL_CTX_set_security_level(trial, security_level);
    int is_used = SSL_CTX_use_cert_and_key(trial, identity->certificate, identity->key,
                                           identity->chain, 1) == 1;
    const char *reason = is_used ? NULL : ERR_reason_error_string(ERR_peek_error());
    SSL_CTX_free(trial);
    if (!is_used) say(failure, reason ? reason : "the certificate cannot be used");
    ERR_clear_error();
    return is_used;
}

struct torsion_tls_identity *torsion_tls_identity_new(const uint8_t *certificates,
                                                      size_t certificate_count, const uint8_t *key,
                                                      size_t key_count, const char *passphrase,
                                                      struct torsion_tls_failure *failure) {
    ERR_clear_error();
    struct torsion_tls_identity *made = calloc(1, sizeof *made);
    if (!made) return say(failure, "there is no memory"), NULL;
    made->chain = read_certificates(certificates, certificate_count);
    if (!made->chain) {
        say(failure, "there is no certificate in PEM format, or a damaged one");
        return torsion_tls_identity_free(made), NULL;
    }
    made->certificate = sk_X509_shift(made->chain);
    BIO *bio = key_count <= INT32_MAX ? BIO_new_mem_buf(key, (int)key_count) : NULL;
    if (bio) made->key = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)passphrase);
    BIO_free(bio);
    if (!made->key) {
        int was_asked = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_BAD_PASSWORD_READ;
        say(failure, was_asked && !passphrase
                         ? "the private key is encrypted, and no passphrase was given"
                         : "there is no private key in PEM format, or its passphrase is wrong");
        return torsion_tls_identity_free(made), NULL;
    }
    if (X509_check_private_key(made->certificate, made->key) != 1) {
        say(failure, "the private key is not that of the first certificate");
        return torsion_tls_identity_free(made), NULL;
    }
    if (!is_strong_enough(made, failure)) return torsion_tls_identity_free(made), NULL;
    return made;
}

void torsion_tls_identity_free(struct torsion_tls_identity *identity) {
    X509_free(identity->certificate);
    sk_X509_pop_free(identity->chain, X509_free);
    EVP_PKEY_free(identity->key);
    free(identity);
}

struct torsion_tls_roots *torsion_tls_roots_new(const uint8_t *certificates, size_t count,
                                                struct torsion_tls_failure *failure) {
    ERR_clear_error();
    struct torsion_tls_roots *made = calloc(1, sizeof *made);
    if (made) made->certificates = read_certificates(certificates, count);
    if (made && made->certificates) return made;
    free(made);
    say(failure, "there is no certificate in PEM format, or a damaged one");
    return NULL;
}

void torsion_tls_roots_free(struct torsion_tls_roots *roots) {
    sk_X509_pop_free(roots->certificates, X509_free);
    free(roots);
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_count,
                           const unsigned char *in, unsigned in_count, void *argument) {
    struct torsion_tls_context *context = argument;
    (void)ssl;
    int found = SSL_select_next_proto((unsigned char **)out, out_count, context->protocols,
                                      (unsigned)context->protocol_count, in, in_count);
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int matches(const char *pattern, const char *name) {
    if (strncmp(pattern, "*.", 2) != 0) return strcasecmp(pattern, name) == 0;
    const char *dot = strchr(name, '.');
    return dot && dot != name && strcasecmp(pattern + 1, dot) == 0;
}

/* Called when the client's hello was read whole. */
static int choose_identity(SSL *ssl, void *argument) {
    struct torsion_tls_context *context = argument;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name) return 1;
    for (size_t i = 0; i < context->choice_count; i++) {
        struct torsion_tls_choice *choice = &context->choices[i];
        if (!matches(choice->name, name)) continue;
        return SSL_use_cert_and_key(ssl, choice->certificate, choice->key, choice->chain, 1);
    }
    return 1;
}

/* So that a session of TLS 1.2 remembers the name. */
static int accept_name(SSL *ssl, int *alert, void *argument) {
    (void)ssl, (void)alert, (void)argument;
    return SSL_TLSEXT_ERR_OK;
}

static void note_alert(const SSL *ssl, int where, int value) {
    struct torsion_tls *tls = SSL_get_app_data(ssl);
    if (tls && where & SSL_CB_ALERT && where & SSL_CB_READ && (value >> 8) == SSL3_AL_FATAL)
        tls->alert = value & 0xff;
}

/* OpenSSL sends no alert of a program's behind the handshake, but one of an extension's that cannot be
 * made. So there is one for the first message that this side can still make: a server's session ticket
 * (TLS 1.3), a client's second hello (TLS 1.2). It is never sent. */
static int give_refusal(SSL *ssl, unsigned type, unsigned message, const unsigned char **bytes,
                        size_t *count, X509 *certificate, size_t index, int *alert, void *unused) {
    struct torsion_tls *tls = SSL_get_app_data(ssl);
    (void)type, (void)message, (void)bytes, (void)count, (void)certificate, (void)index, (void)unused;
    if (!tls || !tls->refusal_alert) return 0;
    *alert = tls->refusal_alert;
    return -1;
}

static int prepare_refusals(SSL_CTX *ssl, int is_server) {
    enum { type = 65282 }; /* RFC 8447 §7: of those for private use. */
    unsigned messages = is_server ? SSL_EXT_TLS1_3_NEW_SESSION_TICKET : SSL_EXT_CLIENT_HELLO;
    return SSL_CTX_add_custom_ext(ssl, type, messages, give_refusal, NULL, NULL, NULL, NULL) == 1;
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct torsion_tls *tls = SSL_get_app_data(ssl);
    if (!tls) return 0;
    SSL_SESSION_free(tls->session);
    tls->session = session;
    return 1;
}

static void keep_keys(const SSL *ssl, const char *line) {
    struct torsion_tls *tls = SSL_get_app_data(ssl);
    size_t n = strlen(line);
    if (!tls) return;
    uint8_t *grown = realloc(tls->key_log, tls->key_log_count + n + 1);
    if (!grown) return;
    memcpy(grown + tls->key_log_count, line, n);
    grown[tls->key_log_count + n] = '\n';
    tls->key_log = grown;
    tls->key_log_count += n + 1;
}

static int note_refusal(int is_fine, X509_STORE_CTX *store) {
    if (is_fine) return 1;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct torsion_tls *tls = ssl ? SSL_get_app_data(ssl) : NULL;
    if (!tls || tls->refusal) return 0;
    tls->refusal = calloc(1, sizeof *tls->refusal);
    if (!tls->refusal) return 0;
    int code = X509_STORE_CTX_get_error(store);
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    if (certificate) torsion_tls_describe(certificate, tls->refusal);
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID: tls->refusal->kind = TORSION_TLS_KIND_DATE; break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: tls->refusal->kind = TORSION_TLS_KIND_NAME; break;
    default: tls->refusal->kind = TORSION_TLS_KIND_CERTIFICATE;
    }
    snprintf(tls->refusal->text, sizeof tls->refusal->text, "%s",
             X509_verify_cert_error_string(code));
    return 0;
}

static int set_up_verification(struct torsion_tls_context *made,
                               const struct torsion_tls_settings *settings) {
    int mode = SSL_VERIFY_PEER;
    switch (settings->verification) {
    case TORSION_TLS_VERIFY_NOTHING: SSL_CTX_set_verify(made->ssl, SSL_VERIFY_NONE, NULL); return 1;
    case TORSION_TLS_VERIFY_IF_SHOWN: break;
    default: mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    SSL_CTX_set_verify(made->ssl, mode, note_refusal);
    if (!settings->roots) return SSL_CTX_set_default_verify_paths(made->ssl) == 1;
    X509_STORE *store = SSL_CTX_get_cert_store(made->ssl);
    for (int i = 0; i < sk_X509_num(settings->roots->certificates); i++) {
        X509 *root = sk_X509_value(settings->roots->certificates, i);
        if (X509_STORE_add_cert(store, root) != 1) return 0;
        if (settings->is_server && SSL_CTX_add_client_CA(made->ssl, root) != 1) return 0;
    }
    return 1;
}

/* Says which clients' certificates are verified, and by whom. A session that was begun under another
 * rule is not resumed: its client may never have shown what this rule wants. */
static int name_sessions(struct torsion_tls_context *made,
                         const struct torsion_tls_settings *settings) {
    unsigned char name[EVP_MAX_MD_SIZE], root[EVP_MAX_MD_SIZE];
    unsigned count = 0, root_count = 0;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    int is_made = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                  EVP_DigestUpdate(digest, &made->verification, sizeof made->verification) == 1;
    int roots = settings->roots ? sk_X509_num(settings->roots->certificates) : 0;
    for (int i = 0; is_made && i < roots; i++) {
        X509 *next = sk_X509_value(settings->roots->certificates, i);
        is_made = X509_digest(next, EVP_sha256(), root, &root_count) == 1 &&
                  EVP_DigestUpdate(digest, root, root_count) == 1;
    }
    is_made = is_made && EVP_DigestFinal_ex(digest, name, &count) == 1;
    EVP_MD_CTX_free(digest);
    return is_made && SSL_CTX_set_session_id_context(made->ssl, name, count) == 1;
}

static int set_up_server(struct torsion_tls_context *made,
                         const struct torsion_tls_settings *settings) {
    /* Tickets are all that the server remembers; one is sent with the program's first bytes. */
    SSL_CTX_set_session_cache_mode(made->ssl, SSL_SESS_CACHE_OFF);
    if (!settings->has_tickets) SSL_CTX_set_options(made->ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_cert_cb(made->ssl, choose_identity, made);
    SSL_CTX_set_tlsext_servername_callback(made->ssl, accept_name);
    if (made->protocol_count) SSL_CTX_set_alpn_select_cb(made->ssl, choose_protocol, made);
    if (settings->stops_at_hello)
        SSL_CTX_set_client_hello_cb(made->ssl, torsion_tls_note_hello, NULL);
    return SSL_CTX_set_num_tickets(made->ssl, 0) == 1 && name_sessions(made, settings) &&
           (!settings->tickets || torsion_tls_use_tickets(made, settings->tickets));
}

static int set_up_client(struct torsion_tls_context *made,
                         const struct torsion_tls_settings *settings) {
    int has_tickets = settings->has_tickets;
    SSL_CTX_set_session_cache_mode(made->ssl, has_tickets ? SSL_SESS_CACHE_CLIENT |
                                                                SSL_SESS_CACHE_NO_INTERNAL
                                                          : SSL_SESS_CACHE_OFF);
    if (has_tickets) {
        SSL_CTX_sess_set_new_cb(made->ssl, keep_session);
    } else {
        SSL_CTX_set_options(made->ssl, SSL_OP_NO_TICKET);
    }
    return !made->protocol_count ||
           SSL_CTX_set_alpn_protos(made->ssl, made->protocols, (unsigned)made->protocol_count) == 0;
}

static int set_up(struct torsion_tls_context *made, const struct torsion_tls_settings *settings) {
    made->verification = settings->verification;
    if (settings->protocol_count) {
        made->protocols = malloc(settings->protocol_count);
        if (!made->protocols) return 0;
        memcpy(made->protocols, settings->protocols, settings->protocol_count);
        made->protocol_count = settings->protocol_count;
    }
    SSL_CTX_set_security_level(made->ssl, security_level);
    SSL_CTX_set_options(made->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE |
                                       SSL_OP_PRIORITIZE_CHACHA);
    /* What OpenSSL accepts by default has CBC and key transport by RSA in it. */
    SSL_CTX_set_mode(made->ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Each record that holds nothing for the program is seen, and counted. */
    SSL_CTX_clear_mode(made->ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_info_callback(made->ssl, note_alert);
    if (settings->logs_keys) SSL_CTX_set_keylog_callback(made->ssl, keep_keys);
    if (settings->may_refuse && !prepare_refusals(made->ssl, settings->is_server)) return 0;
    const struct torsion_tls_identity *identity = settings->identity;
    return SSL_CTX_set_cipher_list(made->ssl, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
           SSL_CTX_set_min_proto_version(made->ssl, settings->minimum_version) == 1 &&
           SSL_CTX_set_max_proto_version(made->ssl, settings->maximum_version) == 1 &&
           (!identity || SSL_CTX_use_cert_and_key(made->ssl, identity->certificate, identity->key,
                                                  identity->chain, 1) == 1) &&
           set_up_verification(made, settings) &&
           (settings->is_server ? set_up_server : set_up_client)(made, settings);
}

struct torsion_tls_context *torsion_tls_context_new(const struct torsion_tls_settings *settings,
                                                    struct torsion_tls_failure *failure) {
    ERR_clear_error();
    struct torsion_tls_context *made = calloc(1, sizeof *made);
    if (made)
        made->ssl = SSL_CTX_new(settings->is_server ? TLS_server_method() : TLS_client_method());
    if (made && made->ssl && set_up(made, settings)) {
        ERR_clear_error();
        return made;
    }
    torsion_tls_why(NULL, failure);
    failure->kind = TORSION_TLS_KIND_MATERIAL;
    if (made) torsion_tls_context_free(made);
    return NULL;
}

int torsion_tls_context_add_identity(struct torsion_tls_context *context, const char *name,
                                     const struct torsion_tls_identity *identity) {
    size_t n = context->choice_count;
    struct torsion_tls_choice *grown = realloc(context->choices, (n + 1) * sizeof *grown);
    if (!grown) return 0;
    context->choices = grown;
    char *copy = strdup(name);
    STACK_OF(X509) *chain = X509_chain_up_ref(identity->chain);
    if (!copy || !chain) {
        free(copy);
        sk_X509_pop_free(chain, X509_free);
        return 0;
    }
    X509_up_ref(identity->certificate);
    EVP_PKEY_up_ref(identity->key);
    grown[n] = (struct torsion_tls_choice){copy, identity->certificate, chain, identity->key};
    context->choice_count = n + 1;
    return 1;
}

void torsion_tls_context_free(struct torsion_tls_context *context) {
    SSL_CTX_free(context->ssl);
    for (size_t i = 0; i < context->choice_count; i++) {
        free(context->choices[i].name);
        X509_free(context->choices[i].certificate);
        sk_X509_pop_free(context->choices[i].chain, X509_free);
        EVP_PKEY_free(context->choices[i].key);
    }
    free(context->choices);
    free(context->protocols);
    free(context);
}

const char *torsion_tls_library_version(void) { return OpenSSL_version(OPENSSL_VERSION_STRING); }

#endif
