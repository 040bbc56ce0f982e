/* SPDX-License-Identifier: MIT */
/* Authorities and lists of revocations: who is trusted. */
#include <openssl/err.h>
#include <openssl/pem.h>

#include "tls_pem.h"

static bool add_crls(OSSL_LIB_CTX *lib, X509_STORE *store, struct view path, struct str *why)
{
	BIO *bio = tls_pem_file(path, why);
	X509_CRL *crl;
	int n = 0;
	(void)lib;
	if (!bio)
		return false;
	while ((crl = PEM_read_bio_X509_CRL(bio, NULL, tls_no_passphrase, &(bool){false})) !=
	       NULL) {
		n += X509_STORE_add_crl(store, crl);
		X509_CRL_free(crl);
	}
	BIO_free(bio);
	ERR_clear_error();
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	if (!n)
		str_printf(why, "there is no revocation list in '" VIEW_FMT "'", VIEW_ARG(path));
	return n > 0;
}

bool tls_store_load(OSSL_LIB_CTX *lib, X509_STORE *store, struct view ca, struct view crl,
		    struct str *why)
{
	BIO *bio = tls_pem_file(ca, why);
	X509 *cert;
	int n = 0;
	if (!bio)
		return false;
	while ((cert = tls_next_cert(lib, bio)) != NULL) {
		n += X509_STORE_add_cert(store, cert);
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (!n)
		str_printf(why, "there is no certificate in '" VIEW_FMT "'", VIEW_ARG(ca));
	return n > 0 && (!crl.len || add_crls(lib, store, crl, why));
}

bool tls_ca_check(struct view path, struct str *why)
{
	X509_STORE *store = X509_STORE_new();
	bool ok = tls_store_load(NULL, store, path, VIEW_NONE, why);
	X509_STORE_free(store);
	return ok;
}

bool tls_crl_check(struct view path, struct str *why)
{
	X509_STORE *store = X509_STORE_new();
	bool ok = add_crls(NULL, store, path, why);
	X509_STORE_free(store);
	return ok;
}
