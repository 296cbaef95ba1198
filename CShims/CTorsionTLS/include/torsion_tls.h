/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* TLS over borrowed memory: no Swift file sees OpenSSL's headers, whose macros Swift cannot call. */
#ifndef TORSION_TLS_H
#define TORSION_TLS_H

#ifndef __clang__
#define _Nonnull
#define _Nullable
#endif

#include <stddef.h>
#include <stdint.h>

/* Certificates, the first of which is one's own, and its private key. Immutable, for any thread. */
typedef struct torsion_tls_identity torsion_tls_identity;
/* Certificates of authorities. Immutable, for any thread. */
typedef struct torsion_tls_roots torsion_tls_roots;
/* What connections share. Set up by one thread, then for any. */
typedef struct torsion_tls_context torsion_tls_context;
/* Keys of a server's tickets, which contexts may share. For any thread. */
typedef struct torsion_tls_tickets torsion_tls_tickets;
/* One connection. */
typedef struct torsion_tls torsion_tls;

/* What is to be sent: grows as needed, freed by its owner. */
struct torsion_tls_output {
    uint8_t *_Nullable base;
    size_t count, capacity;
};

enum torsion_tls_result {
    TORSION_TLS_OK = 1,     /* done, or bytes were opened */
    TORSION_TLS_MORE = 0,   /* needs more of the peer */
    TORSION_TLS_END = -1,   /* close_notify */
    TORSION_TLS_FAILED = -2, /* see torsion_tls_why */
    TORSION_TLS_HELLO = -3   /* the client's hello was read; see torsion_tls_hello_name */
};

enum torsion_tls_kind {
    TORSION_TLS_KIND_PROTOCOL,     /* the peer broke a rule, or both agree on nothing */
    TORSION_TLS_KIND_CERTIFICATE,  /* the peer's certificate was refused here */
    TORSION_TLS_KIND_NAME,         /* it is for another name */
    TORSION_TLS_KIND_DATE,         /* it has expired, or is not valid yet */
    TORSION_TLS_KIND_ALERT,        /* the peer refused; see alert */
    TORSION_TLS_KIND_NOT_TLS,      /* the first bytes are no TLS */
    TORSION_TLS_KIND_APPLICATION,  /* no application protocol in common */
    TORSION_TLS_KIND_NO_CERTIFICATE, /* the client shows none */
    TORSION_TLS_KIND_MATERIAL,     /* a certificate or key cannot be used */
    TORSION_TLS_KIND_MEMORY
};

/* Why something failed; texts end in 0 and hold printable ASCII only. */
struct torsion_tls_failure {
    int kind;
    int alert; /* of the peer; -1 if there was none */
    char text[200];
    char subject[200];
    char issuer[200];
    char names[300];
    char not_before[24], not_after[24];
};

enum torsion_tls_verification {
    TORSION_TLS_VERIFY_NOTHING,
    TORSION_TLS_VERIFY_CHAIN,
    TORSION_TLS_VERIFY_IF_SHOWN, /* a server's client may show none */
    TORSION_TLS_VERIFY_NAME
};

/* Reads a whole file of at most 1 MiB. Returns an errno. */
int torsion_tls_read_file(const char *_Nonnull path, uint8_t *_Nullable *_Nonnull bytes,
                          size_t *_Nonnull count);
/* What an errno means. */
const char *_Nonnull torsion_tls_errno_text(int code);
/* Overwrites what may be a key, and frees it. */
void torsion_tls_free_bytes(uint8_t *_Nullable bytes, size_t count);

torsion_tls_identity *_Nullable torsion_tls_identity_new(
    const uint8_t *_Nonnull certificates, size_t certificate_count, const uint8_t *_Nonnull key,
    size_t key_count, const char *_Nullable passphrase,
    struct torsion_tls_failure *_Nonnull failure);
void torsion_tls_identity_free(torsion_tls_identity *_Nonnull identity);

/* A new key and a certificate that it signs itself: PEM, to be freed by torsion_tls_free_bytes. `names` as
 * OpenSSL has them: "DNS:a.test,IP:127.0.0.1". Valid from an hour before `now` for 30 days; seconds
 * since 1970. Returns 0 and the failure if that cannot be. */
int torsion_tls_self_signed(const char *_Nonnull names, int64_t now, int is_ed25519,
                            uint8_t *_Nullable *_Nonnull certificate,
                            size_t *_Nonnull certificate_count, uint8_t *_Nullable *_Nonnull key,
                            size_t *_Nonnull key_count,
                            struct torsion_tls_failure *_Nonnull failure);
int torsion_tls_is_address(const char *_Nonnull name);
/* Seconds since 1970. */
int64_t torsion_tls_wall_seconds(void);
/* What a certificate says, DER, and its SHA-256. Returns 0 for what is none. */
int torsion_tls_describe_der(const uint8_t *_Nonnull bytes, size_t count,
                             struct torsion_tls_failure *_Nonnull description,
                             uint8_t *_Nonnull digest);

torsion_tls_roots *_Nullable torsion_tls_roots_new(const uint8_t *_Nonnull certificates,
                                                   size_t count,
                                                   struct torsion_tls_failure *_Nonnull failure);
void torsion_tls_roots_free(torsion_tls_roots *_Nonnull roots);

/* Keys that are replaced each `period_s` seconds; 0 for never. A ticket is good while its key is among
 * the latest two. */
torsion_tls_tickets *_Nullable torsion_tls_tickets_new(int64_t period_s);
void torsion_tls_tickets_rotate(torsion_tls_tickets *_Nonnull tickets);
void torsion_tls_tickets_free(torsion_tls_tickets *_Nonnull tickets);

struct torsion_tls_settings {
    int is_server;
    int verification;
    /* Version numbers of the protocol, 0x0303 and 0x0304. */
    int minimum_version, maximum_version;
    /* None means the system's, if anything is verified. */
    const torsion_tls_roots *_Nullable roots;
    const torsion_tls_identity *_Nullable identity;
    /* Each name behind its length. */
    const uint8_t *_Nullable protocols;
    size_t protocol_count;
    int has_tickets;
    int logs_keys;
    /* Whether a server's handshake stops at the client's hello: TORSION_TLS_HELLO. */
    int stops_at_hello;
    /* Whether the program may refuse the peer behind the handshake: torsion_tls_refuse. */
    int may_refuse;
    /* Has to outlive the context. Of a server with tickets. */
    torsion_tls_tickets *_Nullable tickets;
};

torsion_tls_context *_Nullable torsion_tls_context_new(
    const struct torsion_tls_settings *_Nonnull settings,
    struct torsion_tls_failure *_Nonnull failure);
/* Another identity, for clients that ask for this name; "*.example.org" covers one label. Returns 0
 * without memory. */
int torsion_tls_context_add_identity(torsion_tls_context *_Nonnull context,
                                     const char *_Nonnull name,
                                     const torsion_tls_identity *_Nonnull identity);
void torsion_tls_context_free(torsion_tls_context *_Nonnull context);

/* A connection. `name`: what a client asks for and verifies; `now`: seconds since 1970, -1
 * for the machine's time. */
torsion_tls *_Nullable torsion_tls_new(torsion_tls_context *_Nonnull context,
                                       const char *_Nullable name, int64_t now);
void torsion_tls_free(torsion_tls *_Nonnull tls);

/* These take what they read from `input`, advance it, and append what is to be sent. */
int torsion_tls_handshake(torsion_tls *_Nonnull tls, const uint8_t *_Nullable *_Nonnull input,
                          size_t *_Nonnull count, struct torsion_tls_output *_Nonnull output);
int torsion_tls_open(torsion_tls *_Nonnull tls, const uint8_t *_Nullable *_Nonnull input,
                     size_t *_Nonnull count, struct torsion_tls_output *_Nonnull output,
                     uint8_t *_Nonnull plain, size_t capacity, size_t *_Nonnull opened);
/* Before the handshake: it does not stop at the hello. */
void torsion_tls_pass_hello(torsion_tls *_Nonnull tls);
/* What a client asks for, behind TORSION_TLS_HELLO. The connection is of no more use than this: the one
 * that is made instead is given the same bytes again. */
const char *_Nullable torsion_tls_hello_name(const torsion_tls *_Nonnull tls);
/* Each name behind its length. */
size_t torsion_tls_hello_protocols(const torsion_tls *_Nonnull tls,
                                   const uint8_t *_Nullable *_Nonnull protocols);
/* Appends the alert `unrecognized_name`. */
void torsion_tls_refuse_hello(torsion_tls *_Nonnull tls, struct torsion_tls_output *_Nonnull output);
/* Whether the latest TORSION_TLS_MORE comes behind a whole record that held no bytes of a program. */
int torsion_tls_was_idle_record(const torsion_tls *_Nonnull tls);
/* Makes records of at most `limit` bytes each. */
int torsion_tls_seal(torsion_tls *_Nonnull tls, const uint8_t *_Nonnull plain, size_t count,
                     size_t limit, struct torsion_tls_output *_Nonnull output);
/* Whether a ticket is to come with the first bytes that are sealed. */
int torsion_tls_owes_ticket(const torsion_tls *_Nonnull tls);
/* Appends it now. */
void torsion_tls_send_ticket(torsion_tls *_Nonnull tls, struct torsion_tls_output *_Nonnull output);
/* Frees the two buffers of 16 KiB, which the next record makes again; not in the middle of one.
 * Returns whether it has. */
int torsion_tls_free_buffers(torsion_tls *_Nonnull tls);
/* Appends close_notify. */
/* The program refuses the peer, behind the handshake: sends this alert, where OpenSSL can. That is
 * a server's of TLS 1.3, and a client's of TLS 1.2. The connection has failed. */
void torsion_tls_refuse(torsion_tls *_Nonnull tls, int alert,
                        struct torsion_tls_output *_Nonnull output);
void torsion_tls_end(torsion_tls *_Nonnull tls, struct torsion_tls_output *_Nonnull output);

/* Why the latest call failed; NULL asks for what the thread knows of a failed setup. */
void torsion_tls_why(torsion_tls *_Nullable tls, struct torsion_tls_failure *_Nonnull failure);

const char *_Nonnull torsion_tls_version(const torsion_tls *_Nonnull tls);
const char *_Nonnull torsion_tls_cipher(const torsion_tls *_Nonnull tls);
size_t torsion_tls_protocol(const torsion_tls *_Nonnull tls,
                            const uint8_t *_Nullable *_Nonnull name);
const char *_Nullable torsion_tls_server_name(const torsion_tls *_Nonnull tls);
/* DER of the peer's certificate, to be freed by torsion_tls_free_bytes. Returns its length. */
size_t torsion_tls_peer_certificate(const torsion_tls *_Nonnull tls,
                                    uint8_t *_Nullable *_Nonnull bytes);
int torsion_tls_is_peer_verified(const torsion_tls *_Nonnull tls);
int torsion_tls_is_resumed(const torsion_tls *_Nonnull tls);
const char *_Nonnull torsion_tls_alert_name(int alert);

/* A client's session, DER, once, to be freed by torsion_tls_free_bytes. Returns its length. */
size_t torsion_tls_take_session(torsion_tls *_Nonnull tls, uint8_t *_Nullable *_Nonnull bytes);
/* Before the handshake; what cannot be used is ignored. */
void torsion_tls_use_session(torsion_tls *_Nonnull tls, const uint8_t *_Nonnull bytes,
                             size_t count);
/* Lines of NSS's key log format, once, to be freed by torsion_tls_free_bytes. */
size_t torsion_tls_take_key_log(torsion_tls *_Nonnull tls, uint8_t *_Nullable *_Nonnull bytes);

/* "3.0.19" */
const char *_Nonnull torsion_tls_library_version(void);

#endif
