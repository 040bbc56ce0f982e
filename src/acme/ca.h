/* SPDX-License-Identifier: MIT */
/*
 * Talking to an authority (RFC 8555 6): one request at a time, signed by the account's key, with
 * nonces.
 *
 *   ca_init(&ca, fetcher); ca.key = key; ca.tls = tls; ca.done = on_answer; ca.arg = me;
 *   ca_get(&ca, directory)                     ... on_answer(me, &answer) once
 *   ca_post(&ca, url, payload)
 *   ca_stop(&ca)                               nothing is called any more
 *
 *   IDLE --get--> READING ---------------------------------> IDLE, done
 *    |                                                        ^
 *    +--post--> NONCE --> POSTING --an answer-----------------+
 *           |               ^ |
 *           +-has a nonce---+ +--badNonce, a few times: with the one that came, or NONCE
 *
 * Each request has a deadline of its own.  Thread: that of the fetcher's loop.
 */
#ifndef WEIR_ACME_CA_H
#define WEIR_ACME_CA_H

#include <jansson.h>
#include <openssl/evp.h>

#include "weir/base/str.h"
#include "weir/fetch/fetch.h"

enum ca_state { CA_IDLE, CA_READING, CA_NONCE, CA_POSTING };

struct ca_answer {
	bool ok;          /* a status of 2xx, with JSON where there is any */
	unsigned status;  /* 0: no answer */
	json_t *root;     /* borrowed for the call; NULL: it is no JSON */
	struct view body; /* as it came */
	struct view location;
	uint64_t retry_after_s; /* 0: it does not say */
	const char *error;      /* the last part of the problem's type, "rateLimited"; else "" */
	const char *why;        /* a sentence of what is wrong; "" when ok */
};

struct ca {
	struct fetcher *fetcher; /* borrowed */
	struct tls_client *tls;  /* counted */
	EVP_PKEY *key;           /* borrowed */
	struct str kid;          /* owns; URL of the account; empty: requests carry the key */
	struct str nonce_url;    /* owns; of the directory */
	void (*done)(void *arg, const struct ca_answer *answer);
	void *arg;
	/* its own */
	enum ca_state state;
	struct fetch *fetch;
	struct str nonce;        /* owns; the one for the next request; empty: none */
	struct str url, payload; /* owns; of the request under way */
	unsigned n_tries;
};

void ca_init(struct ca *ca, struct fetcher *fetcher);
void ca_fini(struct ca *ca);
void ca_stop(struct ca *ca);

void ca_get(struct ca *ca, struct view url);
/* Both are copied; an empty payload reads (POST-as-GET). */
void ca_post(struct ca *ca, struct view url, struct view payload);

/* "" where there is none. */
const char *ca_text(const json_t *object, const char *key);
/* What a problem document says, in one line (RFC 7807, RFC 8555 6.7). */
void ca_problem(const json_t *problem, struct str *out);

#endif
