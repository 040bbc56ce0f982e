/* SPDX-License-Identifier: MIT */
/* What a server is made of; see tls_server.c. */
#ifndef WEIR_SRC_NET_TLS_SERVER_H
#define WEIR_SRC_NET_TLS_SERVER_H

#include <stdatomic.h>

#include "tls.h"

enum slot { SLOT_ECDSA, SLOT_ED25519, SLOT_RSA, SLOT_OTHER, N_SLOTS };

struct set {
	int32_t pairs[N_SLOTS]; /* -1: none */
	SSL_CTX *ctx;           /* owns */
};

struct name {
	struct view text; /* "a.example", or ".example" for "*.example" */
	uint32_t set;
};

/* What one name shows to authorities. */
struct challenge {
	struct view name;
	struct tls_pair pair;
	SSL_CTX *ctx; /* owns */
};

struct tls_server {
	atomic_uint refs;
	struct tls_local *local;
	struct arena *arena;
	struct tls_pair *pairs;
	size_t n_pairs;
	struct set *sets; /* the first is for everybody else */
	size_t n_sets;
	struct name *names; /* sorted */
	size_t n_names, names_cap;
	struct tls_ticket_ring *tickets; /* counted; NULL: the local's */
	enum tls_client_auth client_auth;
	struct view alpn;
	struct challenge *challenges;
	size_t n_challenges;
};

/* Which pairs are served for which name: fills `sets` and `names`. */
void tls_server_choose_sets(struct tls_server *server);
/* The context for a name in lower case. */
SSL_CTX *tls_server_ctx(const struct tls_server *server, struct view name);

#endif
