/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_TLS

/* A certificate for trying out, and what one says. */
#include "tls_here.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int extend(X509 *made, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, made, made, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    int is_added = extension && X509_add_ext(made, extension, -1);
    X509_EXTENSION_free(extension);
    return is_added;
}

static int number(X509 *made) {
    unsigned char serial[16];
    if (RAND_bytes(serial, sizeof serial) != 1) return 0;
    /* RFC 5280 §4.1.2.2: positive, and unique for its issuer. */
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 1);
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    int is_set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(made));
    BN_free(number);
    return is_set;
}

static int fill(X509 *made, EVP_PKEY *key, const char *names, int64_t now) {
    X509_NAME *name = X509_get_subject_name(made);
    const unsigned char *common = (const unsigned char *)"self-signed for trying out";
    return X509_set_version(made, X509_VERSION_3) && number(made) &&
           ASN1_TIME_set(X509_getm_notBefore(made), (time_t)(now - 3600)) &&
           ASN1_TIME_set(X509_getm_notAfter(made), (time_t)(now + 30 * 86400)) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, common, -1, -1, 0) &&
           X509_set_issuer_name(made, name) && X509_set_pubkey(made, key) &&
           extend(made, NID_basic_constraints, "critical,CA:FALSE") &&
           extend(made, NID_key_usage, "critical,digitalSignature") &&
           /* So that it is told from others in one file of roots, which have the same name. */
           extend(made, NID_subject_key_identifier, "hash") &&
           extend(made, NID_authority_key_identifier, "keyid:always") &&
           extend(made, NID_subject_alt_name, names) && X509_sign(made, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256());
}

static int take(BIO *bio, uint8_t **bytes, size_t *count) {
    char *text;
    long length = BIO_get_mem_data(bio, &text);
    if (length <= 0 || !(*bytes = malloc((size_t)length))) return 0;
    memcpy(*bytes, text, (size_t)length);
    *count = (size_t)length;
    return 1;
}

int torsion_tls_self_signed(const char *names, int64_t now, int is_ed25519, uint8_t **certificate,
                            size_t *certificate_count, uint8_t **key, size_t *key_count,
                            struct torsion_tls_failure *failure) {
    ERR_clear_error();
    EVP_PKEY *own = is_ed25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                               : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *made = X509_new();
    BIO *first = BIO_new(BIO_s_mem()), *second = BIO_new(BIO_s_secmem());
    int is_made = own && made && first && second && fill(made, own, names, now) &&
                  PEM_write_bio_X509(first, made) &&
                  PEM_write_bio_PrivateKey(second, own, NULL, NULL, 0, NULL, NULL) &&
                  take(first, certificate, certificate_count) && take(second, key, key_count);
    if (!is_made) {
        torsion_tls_why(NULL, failure);
        failure->kind = TORSION_TLS_KIND_MATERIAL;
    }
    BIO_free(first);
    BIO_free(second);
    X509_free(made);
    EVP_PKEY_free(own);
    ERR_clear_error();
    return is_made;
}

int torsion_tls_is_address(const char *name) {
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    ASN1_OCTET_STRING_free(address);
    ERR_clear_error();
    return address != NULL;
}

int64_t torsion_tls_wall_seconds(void) { return (int64_t)time(NULL); }

int torsion_tls_describe_der(const uint8_t *bytes, size_t count,
                             struct torsion_tls_failure *description, uint8_t *digest) {
    ERR_clear_error();
    const uint8_t *end = bytes;
    X509 *read = count <= INT32_MAX ? d2i_X509(NULL, &end, (long)count) : NULL;
    unsigned length = 0;
    memset(description, 0, sizeof *description);
    int is_read = read && end == bytes + count && X509_digest(read, EVP_sha256(), digest, &length);
    if (is_read) torsion_tls_describe(read, description);
    X509_free(read);
    ERR_clear_error();
    return is_read;
}

#endif
