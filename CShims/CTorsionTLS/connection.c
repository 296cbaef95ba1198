/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_TLS

/* One connection, over memory that is borrowed for each call: OpenSSL reads what arrived where it
 * lies, and appends what is to be sent to a buffer of the caller's. Memory BIOs would copy once
 * more, and keep buffers for each connection. */
#include "tls_here.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int bio_read(BIO *bio, char *to, size_t size, size_t *got) {
    struct torsion_tls *tls = BIO_get_data(bio);
    size_t n = tls->count < size ? tls->count : size;
    BIO_clear_retry_flags(bio);
    tls->is_mid_record = n < size;
    *got = n;
    if (!n) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, tls->input, n);
    tls->input += n;
    tls->count -= n;
    return 1;
}

static int bio_write(BIO *bio, const char *from, size_t size, size_t *put) {
    struct torsion_tls_output *output = ((struct torsion_tls *)BIO_get_data(bio))->output;
    *put = 0;
    if (!output) return 0;
    if (output->capacity - output->count < size) {
        size_t capacity = (output->count + size) * 2;
        uint8_t *base = realloc(output->base, capacity);
        if (!base) return 0;
        output->base = base;
        output->capacity = capacity;
    }
    memcpy(output->base + output->count, from, size);
    output->count += size;
    *put = size;
    return 1;
}

/* Asked several times a message, mostly for what this is not. */
static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *method;

static void make_method(void) {
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "torsion");
    if (!made) return;
    BIO_meth_set_read_ex(made, bio_read);
    BIO_meth_set_write_ex(made, bio_write);
    BIO_meth_set_ctrl(made, bio_ctrl);
    BIO_meth_set_create(made, bio_create);
    method = made;
}

/* Returns 0 where a name cannot be verified: then there is no connection, rather than one to anybody. */
static int expect_name(struct torsion_tls *tls, const char *name) {
    X509_VERIFY_PARAM *parameters = SSL_get0_param(tls->ssl);
    int verifies = tls->context->verification == TORSION_TLS_VERIFY_NAME;
    if (X509_VERIFY_PARAM_set1_ip_asc(parameters, name)) {
        if (verifies) return 1;
        /* It was only to be learnt whether it is an address. */
        X509_VERIFY_PARAM_set1_ip(parameters, NULL, 0);
        return 1;
    }
    if (verifies) {
        SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        if (SSL_set1_host(tls->ssl, name) != 1) return 0;
    }
    return SSL_set_tlsext_host_name(tls->ssl, name) == 1;
}

struct torsion_tls *torsion_tls_new(struct torsion_tls_context *context, const char *name,
                                    int64_t now) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    ERR_clear_error();
    struct torsion_tls *tls = calloc(1, sizeof *tls);
    if (!tls) return NULL;
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio || !(tls->ssl = SSL_new(context->ssl))) {
        BIO_free(bio);
        free(tls);
        return NULL;
    }
    tls->context = context;
    tls->alert = -1;
    tls->now = now;
    BIO_set_data(bio, tls);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    if (now >= 0) X509_VERIFY_PARAM_set_time(SSL_get0_param(tls->ssl), (time_t)now);
    int is_server = SSL_is_server(tls->ssl);
    if (is_server) SSL_set_accept_state(tls->ssl);
    else SSL_set_connect_state(tls->ssl);
    if (!is_server && (!name || !expect_name(tls, name))) {
        torsion_tls_free(tls);
        return NULL;
    }
    ERR_clear_error();
    return tls;
}

void torsion_tls_free(struct torsion_tls *tls) {
    /* A session whose connection was not closed by both is resumed no more; here the transport says
     * how it ended. */
    if (!tls->has_failed) SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_app_data(tls->ssl, NULL);
    SSL_free(tls->ssl);
    SSL_SESSION_free(tls->session);
    torsion_tls_free_bytes(tls->key_log, tls->key_log_count);
    free(tls->refusal);
    free(tls->hello);
    free(tls);
}

static void lend(struct torsion_tls *tls, const uint8_t **input, size_t *count,
                 struct torsion_tls_output *output) {
    tls->input = *input;
    tls->count = *count;
    tls->output = output;
}

static void take_back(struct torsion_tls *tls, const uint8_t **input, size_t *count) {
    *input = tls->input;
    *count = tls->count;
    tls->input = NULL;
    tls->count = 0;
    tls->output = NULL;
}

/* SSL_get_error(3) looks first whether the thread's list of errors has any, also one of another
 * connection or of the program's own. To clear the list before each record takes 800 instructions; so
 * it is cleared where it is in doubt: a connection that fails is back in its first state. */
static int result(struct torsion_tls *tls, int returned) {
    if (returned == 1) return TORSION_TLS_OK;
    int error = SSL_get_error(tls->ssl, returned);
    if ((error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL) && !SSL_in_init(tls->ssl)) {
        ERR_clear_error();
        error = SSL_get_error(tls->ssl, returned);
    }
    switch (error) {
    case SSL_ERROR_WANT_READ: return TORSION_TLS_MORE;
    case SSL_ERROR_ZERO_RETURN: return TORSION_TLS_END;
    case SSL_ERROR_WANT_CLIENT_HELLO_CB: return TORSION_TLS_HELLO;
    default: tls->has_failed = 1; return TORSION_TLS_FAILED;
    }
}

int torsion_tls_handshake(struct torsion_tls *tls, const uint8_t **input, size_t *count,
                          struct torsion_tls_output *output) {
    ERR_clear_error();
    lend(tls, input, count, output);
    int r = result(tls, SSL_do_handshake(tls->ssl));
    if (r == TORSION_TLS_OK)
        tls->owes_ticket = SSL_is_server(tls->ssl) && SSL_version(tls->ssl) >= TLS1_3_VERSION &&
                           !(SSL_get_options(tls->ssl) & SSL_OP_NO_TICKET);
    take_back(tls, input, count);
    return r;
}

int torsion_tls_open(struct torsion_tls *tls, const uint8_t **input, size_t *count,
                     struct torsion_tls_output *output, uint8_t *plain, size_t capacity,
                     size_t *opened) {
    lend(tls, input, count, output);
    *opened = 0;
    int r = result(tls, SSL_read_ex(tls->ssl, plain, capacity, opened));
    if (r == TORSION_TLS_MORE && !tls->is_mid_record &&
        SSL_get_key_update_type(tls->ssl) != SSL_KEY_UPDATE_NONE) {
        /* The peer wants new keys of this side, too. By itself OpenSSL would answer with the next
         * write, and a program that only reads has none. */
        if (SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
            SSL_do_handshake(tls->ssl) != 1)
            ERR_clear_error();
        tls->is_mid_record = 0;
    }
    take_back(tls, input, count);
    return r;
}

int torsion_tls_was_idle_record(const struct torsion_tls *tls) { return !tls->is_mid_record; }

static void make_ticket(struct torsion_tls *tls) {
    tls->owes_ticket = 0;
    SSL_new_session_ticket(tls->ssl);
    ERR_clear_error();
}

int torsion_tls_seal(struct torsion_tls *tls, const uint8_t *plain, size_t count, size_t limit,
                     struct torsion_tls_output *output) {
    const uint8_t *none = NULL;
    size_t nothing = 0;
    int was_mid_record = tls->is_mid_record, r;
    lend(tls, &none, &nothing, output);
    if (tls->owes_ticket) make_ticket(tls);
    do {
        size_t n = count < limit ? count : limit, put = 0;
        r = result(tls, SSL_write_ex(tls->ssl, plain, n, &put));
        if (r != TORSION_TLS_OK || put != n) break;
        plain += n;
        count -= n;
    } while (count);
    take_back(tls, &none, &nothing);
    tls->is_mid_record = was_mid_record;
    if (!count) return TORSION_TLS_OK;
    tls->has_failed = 1;
    return TORSION_TLS_FAILED;
}

int torsion_tls_owes_ticket(const struct torsion_tls *tls) { return tls->owes_ticket; }

void torsion_tls_send_ticket(struct torsion_tls *tls, struct torsion_tls_output *output) {
    const uint8_t *none = NULL;
    size_t nothing = 0;
    int was_mid_record = tls->is_mid_record;
    if (!tls->owes_ticket || tls->has_failed) return;
    lend(tls, &none, &nothing, output);
    make_ticket(tls);
    /* What fails here is a ticket less. */
    if (SSL_do_handshake(tls->ssl) != 1) ERR_clear_error();
    take_back(tls, &none, &nothing);
    tls->is_mid_record = was_mid_record;
}

int torsion_tls_free_buffers(struct torsion_tls *tls) {
    /* OpenSSL itself does not notice that it has read the beginning of a record: CVE-2024-4741. */
    return !tls->is_mid_record && !tls->has_failed && SSL_free_buffers(tls->ssl);
}

void torsion_tls_end(struct torsion_tls *tls, struct torsion_tls_output *output) {
    const uint8_t *none = NULL;
    size_t nothing = 0;
    if (tls->has_failed) return;
    lend(tls, &none, &nothing, output);
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
    take_back(tls, &none, &nothing);
}

void torsion_tls_refuse(struct torsion_tls *tls, int alert, struct torsion_tls_output *output) {
    const uint8_t *none = NULL;
    size_t nothing = 0;
    if (tls->has_failed) return;
    lend(tls, &none, &nothing, output);
    tls->refusal_alert = alert;
    if (SSL_is_server(tls->ssl)) {
        SSL_new_session_ticket(tls->ssl);
    } else {
        SSL_clear_options(tls->ssl, SSL_OP_NO_RENEGOTIATION);
        SSL_renegotiate(tls->ssl);
    }
    SSL_do_handshake(tls->ssl);
    tls->has_failed = 1;
    ERR_clear_error();
    take_back(tls, &none, &nothing);
}

/* MARK: What a client asks for */

/* RFC 6066 §3: a list with one name of a host in it. */
static void note_name(SSL *ssl, struct torsion_tls_hello *hello) {
    const unsigned char *at;
    size_t count;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &count) || count < 5) return;
    size_t listed = (size_t)at[0] << 8 | at[1], length = (size_t)at[3] << 8 | at[4];
    if (listed + 2 != count || at[2] != TLSEXT_NAMETYPE_host_name || length + 5 != count ||
        length >= sizeof hello->name || memchr(at + 5, 0, length))
        return;
    memcpy(hello->name, at + 5, length);
}

/* Called when the client's hello was read whole, before anything is chosen. */
int torsion_tls_note_hello(SSL *ssl, int *alert, void *argument) {
    struct torsion_tls *tls = SSL_get_app_data(ssl);
    const unsigned char *protocols = NULL;
    size_t count = 0;
    (void)argument;
    if (tls && tls->passes_hello) return SSL_CLIENT_HELLO_SUCCESS;
    if (tls && tls->hello) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return tls->hello->is_refused ? SSL_CLIENT_HELLO_ERROR : SSL_CLIENT_HELLO_RETRY;
    }
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
                                  &protocols, &count) &&
        count >= 2) {
        protocols += 2;
        count -= 2;
    } else {
        count = 0;
    }
    struct torsion_tls_hello *hello = tls ? calloc(1, sizeof *hello + count) : NULL;
    if (!hello) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (count) memcpy(hello->protocols, protocols, count);
    hello->protocol_count = count;
    note_name(ssl, hello);
    tls->hello = hello;
    return SSL_CLIENT_HELLO_RETRY;
}

void torsion_tls_pass_hello(struct torsion_tls *tls) { tls->passes_hello = 1; }

const char *torsion_tls_hello_name(const struct torsion_tls *tls) {
    return tls->hello && tls->hello->name[0] ? tls->hello->name : NULL;
}

size_t torsion_tls_hello_protocols(const struct torsion_tls *tls, const uint8_t **protocols) {
    if (!tls->hello) return 0;
    *protocols = tls->hello->protocols;
    return tls->hello->protocol_count;
}

void torsion_tls_refuse_hello(struct torsion_tls *tls, struct torsion_tls_output *output) {
    const uint8_t *none = NULL;
    size_t nothing = 0;
    if (!tls->hello) return;
    tls->hello->is_refused = 1;
    lend(tls, &none, &nothing, output);
    SSL_do_handshake(tls->ssl);
    tls->has_failed = 1;
    take_back(tls, &none, &nothing);
    ERR_clear_error();
}

/* MARK: What failed */

/* What a stranger wrote may go to a log or a terminal. */
static void make_printable(char *text) {
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e) *text = '?';
}

static void print_name(const X509_NAME *name, char *to, size_t size) {
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio) return;
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
    int n = BIO_read(bio, to, (int)size - 1);
    to[n > 0 ? n : 0] = 0;
    BIO_free(bio);
    make_printable(to);
}

static void print_time(const ASN1_TIME *time, char *to, size_t size) {
    struct tm parts;
    if (ASN1_TIME_to_tm(time, &parts)) strftime(to, size, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static void print_names(X509 *certificate, char *to, size_t size) {
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t used = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char text[80] = "";
        if (name->type == GEN_DNS) {
            snprintf(text, sizeof text, "%.*s", ASN1_STRING_length(name->d.dNSName),
                     (const char *)ASN1_STRING_get0_data(name->d.dNSName));
        } else if (name->type == GEN_IPADD) {
            int count = ASN1_STRING_length(name->d.iPAddress);
            const uint8_t *bytes = ASN1_STRING_get0_data(name->d.iPAddress);
            if (count != 4 && count != 16) continue;
            if (!inet_ntop(count == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text)) continue;
        } else {
            continue;
        }
        int n = snprintf(to + used, size - used, "%s%s", used ? ", " : "", text);
        if (n < 0 || (size_t)n >= size - used) break;
        used += (size_t)n;
    }
    GENERAL_NAMES_free(names);
    make_printable(to);
}

void torsion_tls_describe(X509 *certificate, struct torsion_tls_failure *failure) {
    print_name(X509_get_subject_name(certificate), failure->subject, sizeof failure->subject);
    print_name(X509_get_issuer_name(certificate), failure->issuer, sizeof failure->issuer);
    print_names(certificate, failure->names, sizeof failure->names);
    print_time(X509_get0_notBefore(certificate), failure->not_before, sizeof failure->not_before);
    print_time(X509_get0_notAfter(certificate), failure->not_after, sizeof failure->not_after);
}

static int kind_of(int library, int reason) {
    if (reason == ERR_R_MALLOC_FAILURE) return TORSION_TLS_KIND_MEMORY;
    if (library != ERR_LIB_SSL) return TORSION_TLS_KIND_PROTOCOL;
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST: return TORSION_TLS_KIND_NOT_TLS;
    case SSL_R_NO_APPLICATION_PROTOCOL: return TORSION_TLS_KIND_APPLICATION;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return TORSION_TLS_KIND_NO_CERTIFICATE;
    default: return TORSION_TLS_KIND_PROTOCOL;
    }
}

void torsion_tls_why(struct torsion_tls *tls, struct torsion_tls_failure *failure) {
    /* The first is the cause, those behind it are its consequences. */
    unsigned long code = ERR_peek_error();
    if (tls && tls->refusal && tls->has_failed && tls->alert < 0) {
        *failure = *tls->refusal;
        failure->alert = -1;
    } else {
        memset(failure, 0, sizeof *failure);
        const char *reason = ERR_reason_error_string(code);
        failure->alert = tls ? tls->alert : -1;
        failure->kind = kind_of(ERR_GET_LIB(code), ERR_GET_REASON(code));
        if (failure->alert >= 0) failure->kind = TORSION_TLS_KIND_ALERT;
        snprintf(failure->text, sizeof failure->text, "%s", reason ? reason : "internal error");
        make_printable(failure->text);
    }
    ERR_clear_error();
}

const char *torsion_tls_alert_name(int alert) {
    switch (alert) {
    /* Those of TLS 1.3 and ALPN, which OpenSSL 3.0 calls "unknown". */
    case SSL_AD_MISSING_EXTENSION: return "missing extension";
    case SSL_AD_CERTIFICATE_REQUIRED: return "certificate required";
    case SSL_AD_NO_APPLICATION_PROTOCOL: return "no application protocol";
    default: return SSL_alert_desc_string_long(alert);
    }
}

/* MARK: What was agreed on */

const char *torsion_tls_version(const struct torsion_tls *tls) { return SSL_get_version(tls->ssl); }

const char *torsion_tls_cipher(const struct torsion_tls *tls) {
    const SSL_CIPHER *cipher = SSL_get_current_cipher(tls->ssl);
    const char *name = cipher ? SSL_CIPHER_standard_name(cipher) : NULL;
    return name ? name : "";
}

size_t torsion_tls_protocol(const struct torsion_tls *tls, const uint8_t **name) {
    unsigned count = 0;
    SSL_get0_alpn_selected(tls->ssl, name, &count);
    return count;
}

const char *torsion_tls_server_name(const struct torsion_tls *tls) {
    return SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
}

size_t torsion_tls_peer_certificate(const struct torsion_tls *tls, uint8_t **bytes) {
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    int count = certificate ? i2d_X509(certificate, NULL) : 0;
    if (count <= 0 || !(*bytes = malloc((size_t)count))) return 0;
    uint8_t *end = *bytes;
    i2d_X509(certificate, &end);
    return (size_t)count;
}

int torsion_tls_is_peer_verified(const struct torsion_tls *tls) {
    return tls->context->verification != TORSION_TLS_VERIFY_NOTHING &&
           SSL_get0_peer_certificate(tls->ssl) && SSL_get_verify_result(tls->ssl) == X509_V_OK;
}

int torsion_tls_is_resumed(const struct torsion_tls *tls) { return SSL_session_reused(tls->ssl); }

size_t torsion_tls_take_session(struct torsion_tls *tls, uint8_t **bytes) {
    SSL_SESSION *session = tls->session;
    if (!session) return 0;
    tls->session = NULL;
    int count = SSL_SESSION_is_resumable(session) ? i2d_SSL_SESSION(session, NULL) : 0;
    if (count > 0 && (*bytes = malloc((size_t)count))) {
        uint8_t *end = *bytes;
        i2d_SSL_SESSION(session, &end);
    } else {
        count = 0;
    }
    SSL_SESSION_free(session);
    return (size_t)count;
}

void torsion_tls_use_session(struct torsion_tls *tls, const uint8_t *bytes, size_t count) {
    SSL_SESSION *session = d2i_SSL_SESSION(NULL, &bytes, (long)count);
    if (session) SSL_set_session(tls->ssl, session);
    SSL_SESSION_free(session);
    ERR_clear_error();
}

size_t torsion_tls_take_key_log(struct torsion_tls *tls, uint8_t **bytes) {
    size_t count = tls->key_log_count;
    if (!count) return 0;
    *bytes = tls->key_log;
    tls->key_log = NULL;
    tls->key_log_count = 0;
    return count;
}

#endif
