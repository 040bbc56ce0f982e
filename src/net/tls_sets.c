/* SPDX-License-Identifier: MIT */
/* Which certificates for which name: at most one of each key type. */
#include <stdlib.h>
#include <string.h>

#include "tls_server.h"

#include "weir/base/check.h"

static enum slot slot_of(const struct tls_pair *pair)
{
	switch (EVP_PKEY_base_id(pair->key)) {
	case EVP_PKEY_EC:
		return SLOT_ECDSA;
	case EVP_PKEY_ED25519:
		return SLOT_ED25519;
	case EVP_PKEY_RSA:
		return SLOT_RSA;
	default:
		return SLOT_OTHER;
	}
}

struct wanted {
	struct view name;
	int32_t pair;
};

struct gather {
	struct tls_server *server;
	struct wanted *rows; /* owns */
	size_t n, cap;
	int32_t pair;
};

static void gather_name(void *arg, struct view name)
{
	struct gather *g = arg;
	if (view_starts(name, VIEW("*.")))
		name = view_skip(name, 1);
	if (g->n == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 16;
		g->rows = realloc(g->rows, g->cap * sizeof(*g->rows));
		check(g->rows != NULL);
	}
	g->rows[g->n++] = (struct wanted){arena_view(g->server->arena, name), g->pair};
}

static int by_name_and_pair(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;
	int order = view_cmp(x->name, y->name);
	return order ? order : (x->pair > y->pair) - (x->pair < y->pair);
}

static uint32_t set_index(struct tls_server *server, const int32_t pairs[N_SLOTS])
{
	for (size_t i = server->n_sets; i-- > 0;)
		if (memcmp(server->sets[i].pairs, pairs, sizeof(server->sets[i].pairs)) == 0)
			return (uint32_t)i;
	memcpy(server->sets[server->n_sets].pairs, pairs, sizeof(server->sets[0].pairs));
	return (uint32_t)server->n_sets++;
}

/* The certificates of one name: of each key type the first that is listed. */
static size_t take_name(struct tls_server *server, const struct gather *g, size_t at,
			int32_t pairs[N_SLOTS])
{
	size_t i = at;
	memset(pairs, -1, N_SLOTS * sizeof(*pairs));
	for (; i < g->n && view_eq(g->rows[i].name, g->rows[at].name); i++) {
		enum slot slot = slot_of(&server->pairs[g->rows[i].pair]);
		if (pairs[slot] < 0)
			pairs[slot] = g->rows[i].pair;
	}
	return i;
}

/* For clients that name no host we know: whatever goes with the first certificate. */
static void choose_default(struct tls_server *server, const struct gather *g)
{
	int32_t pairs[N_SLOTS];
	for (size_t i = 0; i < g->n; i = take_name(server, g, i, pairs)) {
		take_name(server, g, i, pairs);
		if (pairs[slot_of(&server->pairs[0])] == 0) {
			set_index(server, pairs);
			return;
		}
	}
	memset(pairs, -1, sizeof(pairs));
	pairs[slot_of(&server->pairs[0])] = 0;
	set_index(server, pairs);
}

void tls_server_choose_sets(struct tls_server *server)
{
	struct gather g = {.server = server};
	int32_t pairs[N_SLOTS];
	for (size_t i = 0; i < server->n_pairs; i++) {
		g.pair = (int32_t)i;
		tls_cert_names(server->pairs[i].cert, gather_name, &g);
	}
	if (g.n)
		qsort(g.rows, g.n, sizeof(*g.rows), by_name_and_pair);
	server->sets = arena_array(server->arena, g.n + 1, sizeof(*server->sets));
	server->names = arena_array(server->arena, g.n, sizeof(*server->names));
	choose_default(server, &g);
	for (size_t i = 0; i < g.n;) {
		size_t next = take_name(server, &g, i, pairs);
		server->names[server->n_names++] =
		    (struct name){g.rows[i].name, set_index(server, pairs)};
		i = next;
	}
	free(g.rows);
}

/* ---- a client names somebody ---- */

static int by_text(const void *a, const void *b)
{
	return view_cmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static const struct name *find_name(const struct tls_server *server, struct view text)
{
	struct name key = {.text = text};
	return server->n_names ? bsearch(&key, server->names, server->n_names, sizeof(key), by_text)
			       : NULL;
}

SSL_CTX *tls_server_ctx(const struct tls_server *server, struct view name)
{
	const struct name *found = find_name(server, name);
	ptrdiff_t dot = view_chr(name, '.');
	if (!found && dot > 0)
		found = find_name(server, view_skip(name, (size_t)dot));
	return server->sets[found ? found->set : 0].ctx;
}
