/* SPDX-License-Identifier: MIT */
/*
 * Takes a request body off the wire: counts it, and hashes it when asked.
 */
#ifndef WEIR_APP_BODY_H
#define WEIR_APP_BODY_H

#include <openssl/evp.h>
#include <stdbool.h>

#include "weir/base/str.h"

#include "request.h"

enum body_state { BODY_DONE, BODY_LENGTH, BODY_SIZE, BODY_DATA, BODY_CRLF, BODY_TRAILER, BODY_BAD };

struct body {
	enum body_state state;
	uint64_t left;       /* of the body or the chunk */
	uint64_t total;      /* payload bytes so far */
	struct str line;     /* a size line or trailer that came in pieces */
	struct str trailers; /* "name: value\n" each */
	EVP_MD_CTX *sha;     /* owns; NULL: not hashed */
	bool hashing;
};

void body_start(struct body *body, const struct request *req, bool hashing);

/* Takes what belongs to the body; returns how many bytes that was. */
size_t body_read(struct body *body, struct view in);

/* Lower-case hex; all of the body must have been read. */
void body_sha256(struct body *body, char out[65]);

void body_fini(struct body *body);

#endif
