/* SPDX-License-Identifier: MIT */
/*
 * Ours at an authority: a key of its own for each directory, in a file that is written with the
 * first order.
 *
 * Thread: that of the loop.
 */
#ifndef WEIR_ACME_ACCOUNT_H
#define WEIR_ACME_ACCOUNT_H

#include <openssl/evp.h>
#include <stdbool.h>

#include "weir/base/str.h"
#include "weir/conf/conf.h"

struct account {
	EVP_PKEY *key; /* owns; NULL: none */
	struct str pem, thumbprint, file;
	bool unsaved;
};

void account_fini(struct account *account);
/* That of the folder, or a new one. */
enum err account_load(struct account *account, const char *folder, const struct conf_acme *conf,
		      struct str *why) MUST_CHECK;
/* Another process may have written one before ours was: true: it is ours now. */
bool account_adopt(struct account *account, const char *folder);

#endif
