/* SPDX-License-Identifier: MIT */
/*
 * Pools and backends once they are complete.
 *
 * Everything here runs on elements that may be half broken: what is missing
 * has been reported already and is only stepped over.
 */
#include "finish.h"

#include <stdio.h>

void finish_backend(struct decoder *d, const struct element *element)
{
	struct conf_backend *backend = element->base;
	struct node *address = node_get(element->node, VIEW("address"));
	struct node *srv = node_get(element->node, VIEW("srv"));
	struct node *name = node_get(element->node, VIEW("name"));
	if (!address == !srv)
		decode_error(d, srv ? srv : element->node,
			     srv ? "'srv' beside 'address': one of them says where it is"
				 : "'address' is missing in a backend");
	else if (name && !backend->address.len &&
		 !view_eq(backend->name, srv ? backend->srv : backend->address_text))
		decode_error(d, name,
			     "a name in the DNS may stand for many backends; each is called by its "
			     "address");
	if (!backend->name.len)
		backend->name = srv ? backend->srv : backend->address_text;
	const char *why = backend->address.len ? addr_unreachable(&backend->address) : NULL;
	if (why)
		decode_error(d, address ? address : element->node, "'" VIEW_FMT "' %s",
			     VIEW_ARG(backend->address_text), why);
	finish_once(d, &d->backends, "backend", backend->name, finish_at(element, "name"));
}

static void add_source(struct conf_pool *pool, enum conf_source_kind kind, struct view text,
		       const struct conf_backend *entry)
{
	pool->sources[pool->n_sources++] =
	    (struct conf_source){.kind = kind, .text = text, .entry = entry};
}

/* Takes apart what is written: addresses, and where others come from. */
static void finish_members(struct decoder *d, const struct element *element)
{
	struct conf_pool *pool = element->base;
	struct node *list = node_get(element->node, VIEW("backends"));
	pool->backends = arena_array(d->arena, pool->n_listed, sizeof(*pool->backends));
	pool->sources =
	    arena_array(d->arena, pool->n_listed + N_CONF_SOURCES, sizeof(*pool->sources));
	for (size_t i = 0; i < pool->n_listed; i++) {
		const struct conf_backend *b = &pool->listed[i];
		if (b->address.len)
			pool->backends[pool->n_backends++] = *b;
		else
			add_source(pool, CONF_SOURCE_dns, b->name, b);
	}
	if (pool->discover.file.ptr)
		add_source(pool, CONF_SOURCE_file, pool->discover.file, NULL);
	if (pool->discover.etcd.on)
		add_source(pool, CONF_SOURCE_etcd, pool->discover.etcd.prefix, NULL);
	if (pool->discover.consul.on)
		add_source(pool, CONF_SOURCE_consul, pool->discover.consul.service, NULL);
	if (pool->discover.kubernetes.on)
		add_source(pool, CONF_SOURCE_kubernetes,
			   view_str(arena_printf(d->arena, VIEW_FMT "/" VIEW_FMT,
						 VIEW_ARG(pool->discover.kubernetes.namespace),
						 VIEW_ARG(pool->discover.kubernetes.service))),
			   NULL);
	if (list && list->kind == NODE_LIST && !list->n && !pool->discover.on)
		decode_error(d, list, "'backends' is empty");
	else if (!list && !pool->discover.on)
		decode_error(d, element->node, "'backends' is missing in pools." VIEW_FMT,
			     VIEW_ARG(element->key->text));
	else if (pool->discover.on && pool->n_sources == 0)
		decode_error(d, node_get(element->node, VIEW("discover")),
			     "'discover' names no source");
}

static bool is_pool_name(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		char c = char_lower(v.ptr[i]);
		if (!(c >= 'a' && c <= 'z') && !char_is_digit(c) && c != '.' && c != '_' &&
		    c != '-')
			return false;
	}
	return v.len > 0 && v.len <= 64;
}

/* One of the two cookies pins. */
static void finish_sticky(struct decoder *d, const struct element *element)
{
	struct conf_pool *pool = element->base;
	struct node *sticky = node_get(element->node, VIEW("sticky"));
	struct node *cookie = node_get(sticky, VIEW("cookie"));
	if (!pool->sticky.on)
		return;
	if (cookie && pool->sticky.learn.ptr)
		decode_error(d, cookie, "'cookie' beside 'learn': only one can pin");
	if (pool->sticky.shared && !pool->sticky.learn.ptr)
		decode_error(
		    d, node_get(sticky, VIEW("shared")),
		    "'shared' is about 'learn': of cookies of weir's own all nodes with the "
		    "same key_file know");
	if (pool->sticky.mode == CONF_STICKY_WAIT && !pool->queue.on)
		decode_error(d, node_get(sticky, VIEW("mode")),
			     "'wait' waits in the queue, which is off");
	if (!cookie && !pool->sticky.learn.ptr)
		pool->sticky.cookie = VIEW("weir");
}

/* The needs of the rows are names here: conf does not know strategies. */
static bool is_hashing(struct view keyword)
{
	static const struct {
		const char *keyword, *needs;
	} rows[] = {
#define STRATEGY(symbol, keyword, needs, sentence) {keyword, #needs},
#include "weir/tbl/strategies.def"
#undef STRATEGY
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (view_eq(keyword, view_str(rows[i].keyword)))
			return strstr(rows[i].needs, "NEEDS_KEY") != NULL;
	return false;
}

static void finish_hash(struct decoder *d, const struct element *element)
{
	const struct conf_pool *pool = element->base;
	struct node *hash = node_get(element->node, VIEW("hash"));
	struct node *fallback = node_get(hash, VIEW("fallback"));
	struct node *bound = node_get(hash, VIEW("bound"));
	if (pool->hash.written && pool->balance.len && !is_hashing(pool->balance))
		decode_error(d, hash,
			     "'hash' does nothing with balance: " VIEW_FMT
			     "; it needs maglev, ring-hash or rendezvous",
			     VIEW_ARG(pool->balance));
	if (fallback && is_hashing(pool->hash.fallback))
		decode_error(d, fallback, "the fallback needs a key itself; take auto or another");
	if (bound && pool->hash.bound > 0 && pool->hash.bound < 1.01)
		decode_error(d, bound, "a bound is at least 1.01, or 0 for none");
}

static void finish_health(struct decoder *d, const struct element *element)
{
	static const char *const kinds[] = {
#define CHECK(symbol, keyword, sentence) keyword,
#include "weir/tbl/checks.def"
#undef CHECK
	};
	const struct conf_pool *pool = element->base;
	struct node *type = node_get(node_get(element->node, VIEW("health")), VIEW("type"));
	if (type && pool->health.on && strcmp(kinds[pool->health.type], "tls") == 0 &&
	    !pool->tls.on)
		decode_error(d, type, "a check of type tls needs 'tls' in the pool");
}

static bool balances_by(const struct conf_pool *pool, struct view keyword)
{
	return view_eq(pool->balance, keyword) ||
	       (is_hashing(pool->balance) && view_eq(pool->hash.fallback, keyword));
}

static void finish_tuning(struct decoder *d, const struct element *element)
{
	const struct conf_pool *pool = element->base;
	struct node *ewma = node_get(element->node, VIEW("peak_ewma"));
	struct node *prequal = node_get(element->node, VIEW("prequal"));
	if (pool->peak_ewma.written && pool->balance.len && !balances_by(pool, VIEW("peak-ewma")))
		decode_error(d, ewma, "'peak_ewma' does nothing with balance: " VIEW_FMT,
			     VIEW_ARG(pool->balance));
	if (pool->prequal.written && pool->balance.len && !balances_by(pool, VIEW("prequal")))
		decode_error(d, prequal, "'prequal' does nothing with balance: " VIEW_FMT,
			     VIEW_ARG(pool->balance));
	if (pool->prequal.path.ptr && pool->protocol == CONF_PROTOCOL_H2)
		decode_error(d, prequal,
			     "prequal.path is asked for over HTTP/1.1, which backends of "
			     "protocol: h2 do not speak");
}

/* A map that says `off` in a roundabout way is a mistake; hedges go without other attempts. */
static void finish_retry(struct decoder *d, const struct element *element)
{
	const struct conf_pool *pool = element->base;
	struct node *retry = finish_at(element, "retry");
	struct node *attempts = node_get(retry, VIEW("attempts"));
	if (pool->retry.on && !pool->retry.attempts && !pool->retry.hedge.on)
		decode_error_hint(d, attempts ? attempts : retry, "write 'retry: off'",
				  "'attempts' is 0, so nothing of 'retry' has an effect");
}

void finish_pool(struct decoder *d, const struct element *element)
{
	struct conf_pool *pool = element->base;
	uint64_t weights = 0;
	pool->name = arena_view(d->arena, element->key->text);
	pool->index = (uint32_t)element->index;
	if (!is_pool_name(pool->name))
		decode_error(d, element->key,
			     "a pool's name has 1 to 64 letters, digits, '.', '_' or '-'");
	finish_members(d, element);
	for (size_t i = 0; i < pool->n_listed; i++)
		weights += pool->listed[i].weight;
	if (pool->n_listed && !weights && !d->report.diags->n_errors)
		decode_warning(d, element->key, "no backend of pool '" VIEW_FMT "' has a weight",
			       VIEW_ARG(pool->name));
	if (pool->protocol == CONF_PROTOCOL_AUTO && !pool->tls.on)
		decode_warning(d, finish_at(element, "protocol"),
			       "without 'tls' nothing is negotiated: auto means http1 here");
	if (pool->protocol != CONF_PROTOCOL_HTTP1 && pool->send_proxy)
		decode_error(d, finish_at(element, "send_proxy"),
			     "send_proxy needs protocol: http1, because HTTP/2 connections are "
			     "shared by clients");
	finish_sticky(d, element);
	if (!pool->queue.target_set)
		pool->queue.target_us = pool->queue.timeout_us / 4;
	finish_retry(d, element);
	finish_hash(d, element);
	finish_tuning(d, element);
	finish_client_tls(d, &pool->tls, node_get(element->node, VIEW("tls")), "backends are");
	finish_health(d, element);
	names_init(&d->backends, d->scratch);
}
