/* SPDX-License-Identifier: MIT */
/* Files of certificates and keys, as the library reads them. */
#ifndef WEIR_SRC_NET_TLS_PEM_H
#define WEIR_SRC_NET_TLS_PEM_H

#include "tls.h"

/* A copy of the file; NULL: `why` says so. */
BIO *tls_pem_file(struct view path, struct str *why);
/* The certificate's file, or its key's; or the text that stands for both. */
BIO *tls_pem_open(const struct tls_files *files, struct view path, struct str *why);
/* The next certificate; NULL: none, and the library's queue knows why. */
X509 *tls_next_cert(OSSL_LIB_CTX *lib, BIO *bio);
/* A daemon has nobody to ask: sets the bool at arg. */
int tls_no_passphrase(char *to, int size, int writing, void *arg);

#endif
