/* SPDX-License-Identifier: MIT */
/*
 * Signed requests (JWS, RFC 7515, in its flattened JSON form, as RFC 8555 6.2 wants them) by an
 * account's key: P-256, ES256.
 *
 *   key = jose_key_new();  or jose_key_read(pem)
 *   jose_sign(key, &(struct jose_header){.kid = account, .nonce = nonce, .url = url}, payload,
 * &out)
 *
 * Thread: any, one at a time for a key.
 */
#ifndef WEIR_ACME_JOSE_H
#define WEIR_ACME_JOSE_H

#include <openssl/evp.h>
#include <stdbool.h>

#include "weir/base/str.h"

/* Base64 for URLs, without padding (RFC 7515 2). */
void jose_base64(struct view bytes, struct str *out);
/* False: it is none.  The other alphabet and padding are taken, too: CAs hand out both. */
bool jose_base64_read(struct view text, struct str *out);

/* NULL: the library cannot. */
EVP_PKEY *jose_key_new(void);
/* NULL: it holds no key of that kind. */
EVP_PKEY *jose_key_read(struct view pem);

/* The public key as JSON, in the form whose hash is the thumbprint (RFC 7638 3). */
void jose_jwk(EVP_PKEY *key, struct str *out);
/* SHA-256 of such a text, in base64. */
void jose_thumbprint(struct view jwk, struct str *out);

struct jose_header {
	struct view kid; /* of the account; empty: the public key itself is sent */
	struct view nonce, url;
};

/* An empty payload is a POST-as-GET (RFC 8555 6.3). */
bool jose_sign(EVP_PKEY *key, const struct jose_header *header, struct view payload,
	       struct str *out) MUST_CHECK;
/* External account binding: `payload` by a shared key, HS256 (RFC 8555 7.3.4). */
bool jose_sign_shared(struct view mac_key, const struct jose_header *header, struct view payload,
		      struct str *out) MUST_CHECK;

#endif
