/* SPDX-License-Identifier: MIT */
/*
 * What an order needs of X.509: a key, a request for a certificate, what came of it, and
 * certificates of our own making for as long as there is no other.  All as PEM, and every text
 * that holds a private key is wiped by x509_forget.
 *
 * Thread: any.
 */
#ifndef WEIR_ACME_X509_H
#define WEIR_ACME_X509_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/str.h"
#include "weir/conf/conf.h"

/* A new private key; RSA takes a second. */
bool x509_key(enum conf_acme_key type, struct str *pem) MUST_CHECK;
/* The request for these names, in DER (RFC 2986, RFC 8555 7.4). */
bool x509_request(struct view key_pem, const struct conf_views *names, struct str *der) MUST_CHECK;
/* A certificate with its key that nobody trusts, for the time until there is one. */
bool x509_self_signed(const struct conf_views *names, struct str *pem) MUST_CHECK;
/* The one that answers a challenge: key and certificate (RFC 8737 3). */
bool x509_challenge(struct view name, struct view key_authorization, struct str *pem) MUST_CHECK;

struct x509_facts {
	int64_t not_before_s, not_after_s;
	uint64_t hash;       /* of the certificate */
	bool same_names;     /* it is for exactly the names asked about */
	struct view missing; /* the first of them that it is not for; empty: for all; borrowed */
	unsigned n_certs;    /* with its chain */
	char id[128];        /* as renewal information wants it (RFC 9773 4.1); "": not to be had */
};

/* Of a certificate in PEM, perhaps with its chain, that comes with its private key.  False with
 * a sentence when they do not fit. */
bool x509_facts(struct view pem, const struct conf_views *names, struct x509_facts *facts,
		struct str *why) MUST_CHECK;

/* Wipes a text that held a key, and frees it. */
void x509_forget(struct str *pem);

#endif
