/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_TLS

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test_certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

static int add_extension(X509 *certificate, X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    int is_added = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return is_added;
}

static int fill(X509 *made, EVP_PKEY *key, X509 *issuer, const struct test_certificate *what) {
    unsigned char serial[8];
    if (RAND_bytes(serial, sizeof serial) != 1) return 0;
    serial[0] = 1;
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    int is_set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(made));
    BN_free(number);
    X509_NAME *name = X509_get_subject_name(made);
    return is_set && X509_set_version(made, X509_VERSION_3) &&
           ASN1_TIME_set(X509_getm_notBefore(made), (time_t)what->not_before) &&
           ASN1_TIME_set(X509_getm_notAfter(made), (time_t)what->not_after) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)what->common_name, -1, -1, 0) &&
           X509_set_issuer_name(made, X509_get_subject_name(issuer)) &&
           X509_set_pubkey(made, key) &&
           add_extension(made, issuer, NID_basic_constraints,
                         what->is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
           add_extension(made, issuer, NID_key_usage,
                         what->is_authority ? "critical,keyCertSign" : "critical,digitalSignature") &&
           (!what->names || add_extension(made, issuer, NID_subject_alt_name, what->names));
}

static char *text(BIO *bio) {
    char *bytes;
    long count = BIO_get_mem_data(bio, &bytes);
    return count > 0 ? strndup(bytes, (size_t)count) : NULL;
}

int test_certificate_make(const struct test_certificate *what, const char *issuer,
                          char **certificate, char **key) {
    BIO *in = issuer ? BIO_new_mem_buf(issuer, -1) : NULL;
    X509 *authority = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    EVP_PKEY *signer = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;
    EVP_PKEY *own = what->rsa_bits ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)what->rsa_bits)
                                   : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *made = X509_new();
    BIO *first = BIO_new(BIO_s_mem()), *second = BIO_new(BIO_s_mem());
    int is_made = own && made && (!issuer || (authority && signer)) &&
                  fill(made, own, authority ? authority : made, what) &&
                  X509_sign(made, signer ? signer : own, EVP_sha256()) &&
                  PEM_write_bio_X509(first, made) &&
                  PEM_write_bio_PrivateKey(second, own, NULL, NULL, 0, NULL, NULL) &&
                  (*certificate = text(first)) && (*key = text(second));
    BIO_free(first);
    BIO_free(second);
    BIO_free(in);
    X509_free(made);
    X509_free(authority);
    EVP_PKEY_free(own);
    EVP_PKEY_free(signer);
    return is_made;
}

size_t test_certificate_der(const char *certificate, unsigned char **bytes) {
    BIO *in = BIO_new_mem_buf(certificate, -1);
    X509 *read = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    unsigned char *made = NULL;
    int count = read ? i2d_X509(read, &made) : 0;
    /* It is OpenSSL's allocator that i2d_X509 has used. */
    *bytes = count > 0 ? malloc((size_t)count) : NULL;
    if (*bytes) memcpy(*bytes, made, (size_t)count);
    OPENSSL_free(made);
    X509_free(read);
    BIO_free(in);
    return *bytes ? (size_t)count : 0;
}

#endif
