/* SPDX-License-Identifier: MIT */
/*
 * Everything here runs on elements that may be half broken: what is missing
 * has been reported already and is only stepped over.
 */
#include "finish.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "http.h"
#include "passed_by.h"

/* Where to point at for a key of an element: its value, else the element. */
/* What a body that may be gathered has at least. */
#define REQUEST_BUFFER_LEAST ((uint64_t)64 * 1024)

static struct node *node_at(const struct element *element, const char *key)
{
	struct node *node = node_get(element->node, view_str(key));
	return node ? node : element->node;
}

static void check_twice(struct decoder *d, struct names *names, const char *what, struct view name,
			struct node *node)
{
	if (!name.len)
		return;
	const struct name *first = names_put(names, name, node);
	if (first && first->node->spot.line)
		decode_error(d, node, "%s '" VIEW_FMT "' is there twice (first at %s)", what,
			     VIEW_ARG(name),
			     report_place(&d->report, &node->spot, &first->node->spot, d->scratch));
	else if (first)
		decode_error(d, node, "%s '" VIEW_FMT "' is there twice", what, VIEW_ARG(name));
}

/* Port 0 lets the kernel choose, each time another one. */
static void check_bind(struct decoder *d, const struct addr *addr, struct node *node)
{
	char text[ADDR_TEXT_MAX];
	if (!addr->len || (!addr_is_unix(addr) && addr_port(addr) == 0))
		return;
	size_t len = addr_format(addr, text);
	check_twice(d, &d->binds, "address", arena_view(d->scratch, view_of(text, len)), node);
}

static void check_lengths(struct decoder *d, const struct element *element)
{
	const struct conf_listener *listener = element->base;
	struct node *limits = node_get(element->node, VIEW("limits"));
	struct node *line = node_get(limits, VIEW("line_bytes"));
	struct node *head = node_get(limits, VIEW("header_bytes"));
	if (listener->limits.header_bytes && (line || head) &&
	    listener->limits.line_bytes > listener->limits.header_bytes)
		decode_error(d, line ? line : head,
			     "line_bytes (%u) is larger than header_bytes (%u)",
			     listener->limits.line_bytes, listener->limits.header_bytes);
}

/* ---- TLS ---- */

static const struct conf_checks *checks;

void conf_set_checks(const struct conf_checks *with)
{
	checks = with;
}

struct sink {
	struct conf_sink base;
	struct decoder *d;
	struct node *map;
};

static void sink_say(struct conf_sink *base, enum conf_severity severity, const char *key,
		     const char *text)
{
	struct sink *sink = (struct sink *)base;
	struct node *node = node_get(sink->map, view_str(key));
	if (severity == CONF_ERROR)
		decode_error(sink->d, node ? node : sink->map, "%s", text);
	else
		decode_warning(sink->d, node ? node : sink->map, "%s", text);
}

void finish_certificate(struct decoder *d, const struct element *element)
{
	const struct conf_certificate *c = element->base;
	struct sink sink = {.base.say = sink_say, .d = d, .map = element->node};
	struct node *cert = node_get(element->node, VIEW("cert"));
	struct node *directory = node_get(element->node, VIEW("directory"));
	struct node *acme = node_get(element->node, VIEW("acme"));
	if (!!cert + !!directory + !!acme != 1)
		decode_error(d, element->node, "one of cert, directory and acme is needed");
	else if (directory && element->node->n > 1)
		decode_error(d, directory, "'directory' stands alone: its files are found by name");
	else if (acme && element->node->n > 1)
		decode_error(d, acme,
			     "'acme' stands alone: weir makes the key and keeps the files");
	else if (checks && (c->cert.len || c->directory.len))
		checks->certificate(c, &sink.base);
}

static void finish_listener_tls(struct decoder *d, const struct element *element)
{
	const struct conf_listener_tls *tls = &((struct conf_listener *)element->base)->tls;
	struct node *map = node_get(element->node, VIEW("tls"));
	struct sink sink = {.base.say = sink_say, .d = d, .map = map};
	if (!tls->on || !map || map->kind != NODE_MAP)
		return;
	struct node *auth = node_get(map, VIEW("client_auth"));
	struct node *ca = node_get(map, VIEW("client_ca"));
	struct node *crl = node_get(map, VIEW("client_crl"));
	if (tls->client_auth != CONF_CLIENT_NONE && !ca)
		decode_error(d, auth, "client_auth needs client_ca");
	if (tls->client_auth == CONF_CLIENT_NONE && (ca || crl))
		decode_error(d, ca ? ca : crl,
			     "without client_auth nobody is asked for a certificate");
	if (checks)
		checks->listener_tls(tls, &sink.base);
}

/* Of a map `tls` that is about a connection of ours; `who` is at its other end. */
static void finish_client_tls(struct decoder *d, const struct conf_pool_tls *tls, struct node *map,
			      const char *who)
{
	struct sink sink = {.base.say = sink_say, .d = d, .map = map};
	if (!tls->on || !map || map->kind != NODE_MAP)
		return;
	struct node *key = node_get(map, VIEW("key"));
	if (key && !node_get(map, VIEW("cert")))
		decode_error(d, key, "key needs cert");
	if (!tls->verify && tls->ca.len)
		decode_error(d, node_get(map, VIEW("ca")),
			     "with 'verify: false' nobody looks at ca");
	else if (!tls->verify)
		decode_warning(d, map, "%s not verified: anybody on the way can pose as one", who);
	if (checks)
		checks->pool_tls(tls, &sink.base);
}

static void finish_pool_tls(struct decoder *d, const struct element *element)
{
	const struct conf_pool *pool = element->base;
	finish_client_tls(d, &pool->tls, node_get(element->node, VIEW("tls")), "backends are");
}

void finish_listener(struct decoder *d, const struct element *element)
{
	struct conf_listener *listener = element->base;
	struct node *bind = node_at(element, "bind");
	if (!listener->name.len && listener->n_binds)
		listener->name = listener->bind_texts[0];
	size_t n_errors = d->report.diags->n_errors;
	for (size_t i = 0; i < listener->n_binds; i++)
		check_bind(d, &listener->binds[i], bind);
	/* two listeners without names at one address are one mistake */
	if (node_get(element->node, VIEW("name")) || d->report.diags->n_errors == n_errors)
		check_twice(d, &d->listeners, "listener", listener->name, node_at(element, "name"));
	check_lengths(d, element);
	finish_listener_tls(d, element);
}

static bool match_is_empty(const struct conf_match *match)
{
	return !match->scheme.ptr && !match->listener.n && !match->host.n &&
	       !match->host_regex.ptr && !match->path.ptr && !match->path_exact.ptr &&
	       !match->path_regex.ptr && !match->method.n && !match->header.n && !match->cookie.n &&
	       !match->query.n && !match->client.n;
}

static bool matches_everything(const struct conf_route *route)
{
	return match_is_empty(&route->match) && !route->has_not;
}

/* `match` was written and is broken: it does not match everything. */
static bool has_match(const struct element *element)
{
	const struct node *match = node_get(element->node, VIEW("match"));
	return match && (match->kind != NODE_MAP || match->n);
}

static void check_hidden(struct decoder *d, const struct element *element)
{
	const struct conf_route *route = element->base;
	if (d->catch_all && d->catch_all->spot.line)
		decode_warning(d, element->node,
			       "route '" VIEW_FMT "' is never used: the route at %s matches "
			       "every request",
			       VIEW_ARG(route->name),
			       report_place(&d->report, &element->node->spot, &d->catch_all->spot,
					    d->scratch));
	if (!d->catch_all && matches_everything(route) && !has_match(element))
		d->catch_all = element->node;
}

static void keep_of_pages(struct decoder *d, struct conf_route *route,
			  const struct conf_error_pages *pages)
{
	for (size_t i = 0; i < pages->n; i++)
		variable_set_add_template(&route->kept, d->arena, pages->rows[i].page.template);
}

static void check_request_buffer(struct decoder *d, const struct element *element)
{
	const struct conf_route *route = element->base;
	struct node *node = node_at(element, "request_buffer");
	if (route->request_buffer && route->request_buffer < REQUEST_BUFFER_LEAST)
		decode_error_hint(d, node, "write 64KiB, or 0 to switch it off",
				  "'request_buffer' is 0, or from 64KiB to 1MiB");
	else if (route->request_buffer &&
		 (route->action == CONF_ACTION_REDIRECT || route->action == CONF_ACTION_RESPOND))
		decode_error(d, node, "'request_buffer' does nothing for a route without a pool");
}

static void check_mirror(struct decoder *d, const struct element *element)
{
	const struct conf_route *route = element->base;
	if (route->mirror.on &&
	    (route->action == CONF_ACTION_REDIRECT || route->action == CONF_ACTION_RESPOND))
		decode_error(d, node_at(element, "mirror"),
			     "'mirror' does nothing for a route without a pool");
}

static void note_group(struct conf_route *route, const struct template *template)
{
	if (template && template->max_group > route->max_group)
		route->max_group = template->max_group;
}

static void note_edits(struct conf_route *route, const struct conf_header_edits *edits)
{
	for (size_t i = 0; i < edits->set.n; i++)
		note_group(route, edits->set.rows[i].template);
	for (size_t i = 0; i < edits->add.n; i++)
		note_group(route, edits->add.rows[i].template);
}

/* Which groups are named, and what of the head is needed when that is gone. */
static void note_variables(struct decoder *d, struct conf_route *route, const struct node *node)
{
	const struct conf_header_edits *edits = &route->response_headers;
	note_group(route, route->redirect.to.template);
	note_group(route, route->respond.body.template);
	note_group(route, route->rewrite.path.template);
	note_group(route, route->rewrite.host.template);
	note_edits(route, &route->request_headers);
	note_edits(route, edits);
	for (size_t i = 0; i < edits->set.n; i++)
		variable_set_add_template(&route->kept, d->arena, edits->set.rows[i].template);
	for (size_t i = 0; i < edits->add.n; i++)
		variable_set_add_template(&route->kept, d->arena, edits->add.rows[i].template);
	if (route->max_group && !route->match.path_regex.ptr && !route->match.host_regex.ptr)
		decode_error(d, node,
			     "{%u} stands for a group of a regular expression, and the match of "
			     "route '" VIEW_FMT "' has none%s",
			     route->max_group, VIEW_ARG(route->name),
			     route->rewrite.path_regex.ptr
				 ? "; $1 is one of rewrite.path_regex, in rewrite.path"
				 : "");
}

void finish_error_page(struct decoder *d, const struct element *element)
{
	struct conf_error_page *page = element->base;
	struct view name = element->key->text;
	page->status = arena_view(d->arena, name);
	bool right = name.len == 3 && (name.ptr[0] == '4' || name.ptr[0] == '5');
	bool exact = right && char_is_digit(name.ptr[1]) && char_is_digit(name.ptr[2]);
	if (!exact && !(right && view_ends(name, VIEW("xx"))))
		decode_error(d, element->key,
			     "'" VIEW_FMT "' is no status of an error such as 404 or 5xx",
			     VIEW_ARG(name));
}

void finish_rate_limit(struct decoder *d, const struct element *element)
{
	struct conf_rate_limit *limit = element->base;
	uint64_t second = limit->rate.per_us / 1000000;
	if (!limit->burst)
		limit->burst = limit->rate.n < UINT32_MAX ? (uint32_t)limit->rate.n : UINT32_MAX;
	if (second && (uint64_t)limit->burst > limit->rate.n * (2592000 / second))
		decode_error(d, node_at(element, "burst"),
			     "a burst of %u takes more than 30 days to come back at this rate",
			     limit->burst);
}

static void check_split_on(struct decoder *d, const struct conf_route *route,
			   const struct node *node)
{
	const struct node *match = node_get(node, VIEW("match"));
	const struct node *not =
	    match && match->kind == NODE_MAP ? node_get(match, VIEW("not")) : NULL;
	struct node *on = node_get(node, VIEW("split_on"));
	if (on && route->action != CONF_ACTION_SPLIT)
		decode_error(d, on, "'split_on' does nothing without 'split'");
	if (not&&not->kind == NODE_MAP && !not->n)
		decode_error(d, not, "'not' is empty: nothing would match");
}

/* Which libraries weir was built with, as bits of compress.algorithms. */
static const unsigned built_coders = 0
#ifdef WEIR_ZSTD
				     | 1
#endif
#ifdef WEIR_BROTLI
				     | 2
#endif
#ifdef WEIR_ZLIB
				     | 4
#endif
    ;

static void finish_respond(struct decoder *d, const struct element *element)
{
	struct node *respond = node_get(element->node, VIEW("respond"));
	struct node *file = node_get(respond, VIEW("file"));
	struct node *body = node_get(respond, VIEW("body"));
	if (file && body && body->text.len)
		decode_error(d, file, "'file' beside 'body': only one can be the body");
}

#ifdef WEIR_CRYPT
static const bool built_crypt = true;
#else
static const bool built_crypt = false;
#endif

/* Of a map `auth`. */
static void finish_basic(struct decoder *d, const struct conf_auth_basic *basic, struct node *auth)
{
	struct node *map = node_get(auth, VIEW("basic"));
	struct sink sink = {.base.say = sink_say, .d = d, .map = map};
	if (!basic->on || !map)
		return;
	if (!built_crypt)
		decode_error(d, map, "'auth.basic': this weir was built without libcrypt");
	else if (checks && checks->users && basic->file.len)
		checks->users(basic, &sink.base);
}

static void finish_compress(struct decoder *d, const struct element *element)
{
	struct conf_route *route = element->base;
	struct node *map = node_get(element->node, VIEW("compress"));
	struct node *algorithms = node_get(map, VIEW("algorithms"));
	if (!route->compress.on)
		return;
	if (algorithms && route->compress.algorithms & ~built_coders)
		decode_error(d, algorithms,
			     "this weir was built without the library of one of these; `weir -V` "
			     "lists those it has");
	route->compress.algorithms &= built_coders;
	if (!route->compress.algorithms && !algorithms)
		decode_error(d, map, "this weir was built without libzstd, libbrotli and zlib");
}

void finish_route(struct decoder *d, const struct element *element)
{
	struct conf_route *route = element->base;
	struct node *rewrite = node_get(element->node, VIEW("rewrite"));
	struct node *regex = node_get(rewrite, VIEW("path_regex"));
	struct node *path = node_get(rewrite, VIEW("path"));
	route->index = (uint32_t)element->index;
	if (!route->name.len)
		route->name = view_str(arena_printf(d->arena, "route-%zu", element->index + 1));
	check_twice(d, &d->routes, "route", route->name, node_at(element, "name"));
	route->has_not = !match_is_empty(&route->match_not);
	check_split_on(d, route, element->node);
	if (regex && !path)
		decode_error(d, regex, "rewrite.path_regex needs rewrite.path");
	if (path && !regex && route->rewrite.path.text.ptr &&
	    !view_starts(route->rewrite.path.text, VIEW("/")) && !route->rewrite.path.template)
		decode_error(d, path, "a path must start with '/'");
	check_request_buffer(d, element);
	check_mirror(d, element);
	note_variables(d, route, element->node);
	keep_of_pages(d, route, &route->errors);
	finish_respond(d, element);
	finish_compress(d, element);
	finish_basic(d, &route->auth.basic, node_get(element->node, VIEW("auth")));
	check_hidden(d, element);
}

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
	check_twice(d, &d->backends, "backend", backend->name, node_at(element, "name"));
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
	if (pool->sticky.mode == CONF_STICKY_WAIT && !pool->queue.on)
		decode_error(d, node_get(sticky, VIEW("mode")),
			     "'wait' waits in the queue, which is off");
	if (!cookie && !pool->sticky.learn.ptr)
		pool->sticky.cookie = VIEW("weir");
	if (pool->sticky.cookie.ptr && !pool->sticky.keys.n && !node_get(sticky, VIEW("key_file")))
		decode_warning(d, sticky,
			       "without key_file the pins of pool '" VIEW_FMT
			       "' end with this process",
			       VIEW_ARG(pool->name));
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
	struct node *retry = node_at(element, "retry");
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
		decode_warning(d, node_at(element, "protocol"),
			       "without 'tls' nothing is negotiated: auto means http1 here");
	if (pool->protocol != CONF_PROTOCOL_HTTP1 && pool->send_proxy)
		decode_error(d, node_at(element, "send_proxy"),
			     "send_proxy needs protocol: http1, because HTTP/2 connections are "
			     "shared by clients");
	finish_sticky(d, element);
	if (!pool->queue.target_set)
		pool->queue.target_us = pool->queue.timeout_us / 4;
	finish_retry(d, element);
	finish_hash(d, element);
	finish_tuning(d, element);
	finish_pool_tls(d, element);
	finish_health(d, element);
	names_init(&d->backends, d->scratch);
}

/* ---- the whole file ---- */

/* Without root /run/weir cannot be written. */
static struct view default_socket(struct decoder *d)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	if (geteuid() == 0)
		return VIEW("/run/weir/weir.sock");
	if (dir && dir[0] == '/')
		return view_str(arena_printf(d->arena, "%s/weir.sock", dir));
	return view_str(arena_printf(d->arena, "/tmp/weir-%u/weir.sock", (unsigned)geteuid()));
}

/* Of the service that is asked by src/fetch, see admin/forward.c. */
static void check_forward(struct decoder *d, const struct conf_auth_forward *forward,
			  struct node *node)
{
	if (!forward->on || d->report.diags->n_errors)
		return;
	const struct conf_pool *pool = &d->conf->pools[forward->pool];
	if (pool->tls.on || pool->protocol == CONF_PROTOCOL_H2 || pool->send_proxy)
		decode_error(
		    d, node_get(node, VIEW("pool")),
		    "the service of status.auth.forward is asked over plain HTTP/1.1: neither "
		    "tls, protocol: h2 nor send_proxy goes with pool '" VIEW_FMT "'",
		    VIEW_ARG(pool->name));
}

static void finish_status_auth(struct decoder *d, const struct conf_status *status,
			       struct node *node)
{
	finish_basic(d, &status->auth.basic, node);
	check_forward(d, &status->auth.forward, node_get(node, VIEW("forward")));
	bool on = status->auth.basic.on || status->auth.forward.on;
	/* `off` is off; but who writes nothing meant something */
	if (node && !node_get(node, VIEW("basic")) && !node_get(node, VIEW("forward")))
		decode_error(d, node,
			     "'status.auth' asks nobody: it needs 'basic' or 'forward'; leave it "
			     "out, and everybody may read who reaches the port");
	if (on && !status->bind.len)
		decode_warning(
		    d, node,
		    "'status.auth' asks nobody: there is no status.bind, and who may use "
		    "the unix socket is said by status.mode");
}

static void finish_status(struct decoder *d, struct node *root)
{
	struct conf_status *status = &d->conf->status;
	struct node *node = node_get(root, VIEW("status"));
	struct node *bind = node_get(node, VIEW("bind"));
	struct node *socket = node_get(node, VIEW("socket"));
	if (!status->socket.len && !socket)
		status->socket = default_socket(d);
	if (bind)
		check_bind(d, &status->bind, bind);
	finish_status_auth(d, status, node_get(node, VIEW("auth")));
	struct addr addr;
	char *text = arena_printf(d->scratch, "unix:" VIEW_FMT, VIEW_ARG(status->socket));
	if (status->socket.len && !addr_parse(view_str(text), &addr))
		decode_error(d, socket ? socket : root,
			     "the path of a unix socket has at most %zu bytes",
			     sizeof(addr.un.sun_path) - 1);
	else if (status->socket.len)
		check_bind(d, &addr, socket ? socket : root);
}

static void check_log(struct decoder *d, struct node *root)
{
	const struct conf_access_log *log = &d->conf->log.access;
	struct node *access = node_get(node_get(root, VIEW("log")), VIEW("access"));
	struct node *fields = node_get(access, VIEW("fields"));
	struct node *socket = node_get(access, VIEW("socket"));
	struct addr addr;
	char *text = arena_printf(d->scratch, "unix:" VIEW_FMT, VIEW_ARG(log->socket));
	if (fields && log->format != CONF_LOG_JSON)
		decode_error(d, fields, "'fields' needs format: json; the others are as they are");
	if (socket && !addr_parse(view_str(text), &addr))
		decode_error(d, socket, "the path of a unix socket has at most %zu bytes",
			     sizeof(addr.un.sun_path) - 1);
}

static void default_route(struct decoder *d, struct node *root)
{
	struct conf *conf = d->conf;
	if (conf->n_routes)
		return;
	struct node *pools = node_get(root, VIEW("pools"));
	if (!d->pools.n) {
		if (!pools)
			decode_error(d, root, "'pools' is missing");
		else if (pools->kind == NODE_MAP && !pools->n)
			decode_error(d, pools, "'pools' is empty");
		return;
	}
	if (d->pools.n > 1) {
		decode_error(d, node_get(root, VIEW("pools")),
			     "'routes' is missing: with %u pools nothing says which one a request "
			     "goes to",
			     d->pools.n);
		return;
	}
	conf->routes = arena_zalloc(d->arena, sizeof(*conf->routes));
	conf->n_routes = 1;
	conf->routes[0].name = VIEW("default");
	conf->routes[0].action = CONF_ACTION_POOL;
	conf->routes[0].priority = CONF_PRIORITY_NORMAL;
}

/* Browsers take no cookie for other sites that is not Secure, and without TLS it is not. */
static void warn_of_same_site(struct decoder *d, struct node *root)
{
	const struct conf *conf = d->conf;
	struct node *pools = node_get(root, VIEW("pools"));
	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct conf_pool *pool = &conf->pools[i];
		struct node *sticky = node_get(node_get(pools, pool->name), VIEW("sticky"));
		struct node *key = node_get(sticky, VIEW("same_site"));
		if (!key || !pool->sticky.on || pool->sticky.same_site != CONF_SAME_SITE_NONE)
			continue;
		for (size_t k = 0; k < conf->n_listeners; k++) {
			const struct conf_listener *l = &conf->listeners[k];
			if (l->tls.on || l->trusted_proxies.n)
				continue;
			decode_warning(d, key,
				       "browsers refuse 'none' without Secure, which needs TLS: "
				       "listener '" VIEW_FMT "' has none, and trusts no proxy",
				       VIEW_ARG(l->name));
			break;
		}
	}
}

/* This weir may have been built without what the history is kept in. */
static void finish_state(struct decoder *d, struct node *root)
{
#ifndef WEIR_SQLITE
	if (d->conf->state.on)
		decode_error(
		    d, node_get(root, VIEW("state")),
		    "this weir was built without SQLite, which 'state' needs: leave it out, or "
		    "install libsqlite3-dev and build again");
#else
	(void)d;
	(void)root;
#endif
}

/* Limits of all nodes, and no way to know of them. */
static void check_unshared(struct decoder *d, struct node *root)
{
	const struct node *routes = node_get(root, VIEW("routes"));
	const struct node_item *it = routes ? routes->items : NULL;
	for (size_t r = 0; it && r < d->conf->n_routes; r++, it = it->next) {
		const struct conf_route *route = &d->conf->routes[r];
		bool shared = false;
		for (size_t i = 0; i < route->rate_limits.n; i++)
			shared |= route->rate_limits.rows[i].shared;
		if (shared)
			decode_error(d, node_get(it->value, VIEW("rate_limit")),
				     "'shared: true' needs 'shared: {redis: {address: ...}}', by "
				     "which nodes tell each other");
	}
}

/* A subset goes by the name of the node, and nodes have unlike ones. */
static void finish_subset(struct decoder *d, struct conf_pool *pool, struct node *node)
{
	const struct conf_shared *shared = &d->conf->shared;
	struct node *at = node_get(node, VIEW("subset"));
	pool->subset_node = shared->node;
	if (!shared->on || view_eq(shared->node, VIEW("auto")))
		decode_error(
		    d, at,
		    "subset needs 'shared: {redis: ..., node: NAME}': a name of this node's "
		    "own that stays, by which its backends are chosen");
	if (pool->sticky.on || node_get(node, VIEW("hash")))
		decode_error(d, at,
			     "subset and '%s' exclude each other: the nodes would send one client "
			     "to different backends",
			     pool->sticky.on ? "sticky" : "hash");
}

static void finish_subsets(struct decoder *d, struct node *root)
{
	for (size_t i = 0; i < d->conf->n_pools; i++) {
		struct conf_pool *pool = &d->conf->pools[i];
		if (pool->subset)
			finish_subset(d, pool, node_get(node_get(root, VIEW("pools")), pool->name));
	}
}

static void finish_shared(struct decoder *d, struct node *root)
{
	const struct conf_shared *shared = &d->conf->shared;
	struct node *node = node_get(root, VIEW("shared"));
	struct node *redis = node ? node_get(node, VIEW("redis")) : NULL;
	if (shared->on && !shared->redis.host.len && !d->report.diags->n_errors)
		decode_error(d, node, "shared needs 'redis: {address: 127.0.0.1:6379}'");
	if (redis)
		finish_client_tls(d, &shared->tls, node_get(redis, VIEW("tls")), "the server is");
	if (!shared->on)
		check_unshared(d, root);
	for (size_t i = 0; !shared->on && i < d->conf->n_pools; i++) {
		const struct conf_pool *pool = &d->conf->pools[i];
		if (pool->balance_shared)
			decode_error(
			    d, node_get(node_get(root, VIEW("pools")), pool->name),
			    "balance_shared needs 'shared: {redis: {address: ...}}', by which "
			    "nodes tell each other");
	}
}

/* Whatever route a request takes, its listener may have to answer. */
static void keep_of_listeners(struct decoder *d)
{
	for (size_t r = 0; r < d->conf->n_routes; r++)
		for (size_t l = 0; l < d->conf->n_listeners; l++)
			keep_of_pages(d, &d->conf->routes[r], &d->conf->listeners[l].errors);
}

void finish_conf(struct decoder *d, struct node *root)
{
	finish_state(d, root);
	finish_status(d, root);
	finish_shared(d, root);
	finish_subsets(d, root);
	finish_acme(d, root);
	check_log(d, root);
	default_route(d, root);
	keep_of_listeners(d);
	warn_of_same_site(d, root);
	if (!d->report.diags->n_errors)
		warn_passed_by(d, root);
}
