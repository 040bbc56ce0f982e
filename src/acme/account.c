/* SPDX-License-Identifier: MIT */
/* The account at a CA: its key, and the file it is kept in. */
#include "account.h"

#include "disk.h"
#include "jose.h"
#include "x509.h"

#include "weir/base/hash.h"

void account_fini(struct account *a)
{
	EVP_PKEY_free(a->key);
	x509_forget(&a->pem);
	str_fini(&a->thumbprint);
	str_fini(&a->file);
	*a = (struct account){.pem = STR_INIT, .thumbprint = STR_INIT, .file = STR_INIT};
}

static void make_thumbprint(struct account *a)
{
	struct str jwk = STR_INIT;
	str_reset(&a->thumbprint);
	jose_jwk(a->key, &jwk);
	jose_thumbprint(str_as_view(&jwk), &a->thumbprint);
	str_fini(&jwk);
}

enum err account_load(struct account *a, const char *folder, const struct conf_acme *conf,
		      struct str *why)
{
	str_printf(&a->file, "account-%08x.key",
		   (unsigned)(hash_view(conf->directory.text, 0) >> 32));
	bool is_there = disk_read(folder, a->file.ptr, &a->pem);
	if (is_there || x509_key(CONF_ACME_ECDSA, &a->pem))
		a->key = jose_key_read(str_as_view(&a->pem));
	a->unsaved = !is_there;
	if (!a->key) {
		str_printf(why, "acme: %s/%s is no private key for P-256\n", folder, a->file.ptr);
		return ERR_SYNTAX;
	}
	make_thumbprint(a);
	return ERR_OK;
}

bool account_adopt(struct account *a, const char *folder)
{
	struct str pem = STR_INIT;
	EVP_PKEY *key = NULL;
	if (a->unsaved && disk_read(folder, a->file.ptr, &pem))
		key = jose_key_read(str_as_view(&pem));
	if (!key) {
		x509_forget(&pem);
		return false;
	}
	EVP_PKEY_free(a->key);
	x509_forget(&a->pem);
	a->key = key;
	a->pem = pem;
	a->unsaved = false;
	make_thumbprint(a);
	return true;
}
