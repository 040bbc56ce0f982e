/* SPDX-License-Identifier: MIT */
/*
 * Consul by blocking queries: each answer has an index, and the next question waits at the
 * server until there is a newer one.
 *
 *   ask(index) --> answer, X-Consul-Index --> ask(that) ...
 *
 * An index that goes back, or is 0, means that the server's state is another one: the next
 * question does not wait (https://developer.hashicorp.com/consul/api-docs/features/blocking).
 */
#include <stdio.h>
#include <stdlib.h>

#include "ask.h"

#include "weir/base/check.h"
#include "weir/base/parse.h"

#define WAIT_S 60
/* The server adds up to a sixteenth to the wait. */
#define TIMEOUT_US ((WAIT_S + WAIT_S / 16 + 10) * UINT64_C(1000000))
/* A service that changes all the time is asked so often at most. */
#define PACE_US 50000

struct consul {
	struct source *source;
	struct tls_client *tls; /* counted; NULL: plain */
	struct fetch *fetch;
	uint64_t index;
};

/* ---- an answer ---- */

/* The address of the service, or else that of its node. */
static bool take_instance(const json_t *instance, struct found *row, struct arena *arena)
{
	const json_t *service = json_object_get(instance, "Service");
	const char *ip = json_text_of(service, "Address");
	uint64_t port = json_u64_of(service, "Port");
	uint64_t weight = json_u64_of(json_object_get(service, "Weights"), "Passing");
	struct addr addr;
	if (!*ip)
		ip = json_text_of(json_object_get(instance, "Node"), "Address");
	if (!addr_parse_ip(view_str(ip), &addr) || port == 0 || port > UINT16_MAX)
		return false;
	if (addr.sa.sa_family == AF_INET6)
		addr.in6.sin6_port = htons((uint16_t)port);
	else
		addr.in4.sin_port = htons((uint16_t)port);
	*row =
	    (struct found){.backend.weight = weight && weight <= UINT16_MAX ? (uint32_t)weight : 1};
	row->cause = arena_view(arena, view_str(json_text_of(service, "ID")));
	found_set_address(row, &addr, arena);
	return !addr_unreachable(&addr);
}

static bool take_all(struct consul *c, const json_t *root)
{
	struct arena *arena = arena_new();
	const json_t *instance;
	size_t i, n = 0, n_bad = 0;
	char bad[80];
	struct found *rows = arena_array(arena, json_array_size(root), sizeof(*rows));
	json_array_foreach(root, i, instance)
	{
		bool ok = take_instance(instance, &rows[n], arena);
		n += ok;
		n_bad += !ok;
	}
	snprintf(bad, sizeof(bad), "%zu instances have no IP address and port", n_bad);
	source_answer(c->source, rows, n, n_bad ? bad : NULL);
	arena_free(arena);
	return true;
}

static void take_index(struct consul *c, struct message *msg)
{
	struct header *h = message_find_name(msg, VIEW("X-Consul-Index"));
	uint64_t index = 0;
	if (!h || !parse_u64(h->value, &index) || index < c->index)
		index = 0;
	c->index = index;
}

static void on_answer(void *arg, const struct fetch_answer *a)
{
	struct consul *c = arg;
	c->fetch = NULL;
	json_t *root = a->end == FETCH_OK && a->status == 200
			   ? json_loadb(a->body.ptr, a->body.len, 0, NULL)
			   : NULL;
	if (!json_is_array(root)) {
		c->index = 0;
		ask_fail(c->source, "health of the service", a);
	} else {
		take_index(c, a->msg);
		take_all(c, root);
		source_again(c->source, c->index ? PACE_US : 1000000);
	}
	json_decref(root);
}

/* ---- a question ---- */

static void put_escaped(struct str *url, struct view value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char b = (unsigned char)value.ptr[i];
		char lower = char_lower((char)b);
		if ((lower >= 'a' && lower <= 'z') || char_is_digit((char)b) || b == '-' ||
		    b == '_' || b == '.')
			str_char(url, (char)b);
		else
			str_printf(url, "%%%02X", b);
	}
}

static void put_parameter(struct str *url, const char *name, struct view value)
{
	if (!value.len)
		return;
	str_printf(url, "&%s=", name);
	put_escaped(url, value);
}

static void put_url(const struct consul *c, struct str *url)
{
	const struct conf_pool *pool = c->source->pool;
	struct view base = pool->discover.consul.address.text;
	while (view_ends(base, VIEW("/")))
		base.len--;
	str_printf(url, VIEW_FMT "/v1/health/service/", VIEW_ARG(base));
	put_escaped(url, pool->discover.consul.service);
	str_text(url, "?passing=1");
	put_parameter(url, "tag", pool->discover.consul.tag);
	put_parameter(url, "dc", pool->discover.consul.datacenter);
	if (c->index)
		str_printf(url, "&index=%llu&wait=%ds", (unsigned long long)c->index, WAIT_S);
}

static void ask(struct consul *c)
{
	struct view path = c->source->pool->discover.consul.token_file;
	struct str url = STR_INIT, token = STR_INIT, headers = STR_INIT, why = STR_INIT;
	if (path.len && !ask_secret(path, &token, &why)) {
		source_fail(c->source, "%s", why.ptr);
	} else {
		put_url(c, &url);
		if (token.len)
			str_printf(&headers, "X-Consul-Token: %s\r\n", token.ptr);
		c->fetch = fetch_begin(c->source->discover->fetcher,
				       &(struct fetch_request){
					   .method = VIEW("GET"),
					   .url = str_as_view(&url),
					   .headers = str_as_view(&headers),
					   .tls = c->tls,
					   .timeout_us = c->index ? TIMEOUT_US : ASK_TIMEOUT_US,
					   .body_max = ASK_ANSWER_MAX,
					   .keep = true,
					   .done = on_answer,
					   .arg = c,
				       });
	}
	str_fini(&url);
	str_fini(&token);
	str_fini(&headers);
	str_fini(&why);
}

static void consul_ask(struct source *s)
{
	struct consul *c = s->state;
	const struct conf_pool *pool = s->pool;
	struct str why = STR_INIT;
	fetch_cancel(c->fetch);
	c->fetch = NULL;
	if (pool->discover.consul.address.tls && !c->tls)
		c->tls =
		    fetch_tls_new(s->discover->fetcher,
				  &(struct fetch_tls_options){.ca = pool->discover.consul.ca,
							      .cert = pool->discover.consul.cert,
							      .key = pool->discover.consul.key},
				  &why);
	if (pool->discover.consul.address.tls && !c->tls)
		source_fail(s, "%s", why.ptr ? why.ptr : "no TLS");
	else
		ask(c);
	str_fini(&why);
}

static void consul_start(struct source *s)
{
	struct consul *c = calloc(1, sizeof(*c));
	check(c != NULL);
	c->source = s;
	s->state = c;
	consul_ask(s);
}

static void consul_stop(struct source *s)
{
	struct consul *c = s->state;
	fetch_cancel(c->fetch);
	tls_client_put(c->tls);
	free(c);
	s->state = NULL;
}

const struct source_kind source_consul = {
    .keyword = "consul",
    .watches = true,
    .start = consul_start,
    .stop = consul_stop,
    .ask = consul_ask,
};
