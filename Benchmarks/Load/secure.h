/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// What the kinds of load over TLS share.
#ifndef TORSION_SECURE_H
#define TORSION_SECURE_H

#include "load.h"
#include <openssl/ssl.h>

/* The client's context. The version, the cipher suite and the group are fixed, so that every server
 * does the same cryptography. It verifies nothing. */
SSL_CTX *secure_context(void);

/* Opens a connection to the server, with a client's SSL that has said nothing yet. */
SSL *open_unshaken(const struct request *request, unsigned source, int *fd);

#endif
