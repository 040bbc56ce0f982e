/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdlib.h>

#include "weir/base/check.h"

static struct view optional(const char *text)
{
	return text ? view_str(text) : VIEW_NONE;
}

static size_t count_words(const char *text)
{
	size_t n = 0;
	for (const char *p = text; p && *p; p++)
		n += *p != ' ' && (p == text || p[-1] == ' ');
	return n;
}

static struct view next_word(const char **text)
{
	const char *p = *text + strspn(*text, " ");
	size_t len = strcspn(p, " ");
	*text = p + len;
	return view_of(p, len);
}

static struct conf_views views_of(struct arena *arena, const char *text)
{
	struct conf_views views = {.n = count_words(text)};
	views.rows = arena_array(arena, views.n, sizeof(*views.rows));
	for (size_t i = 0; i < views.n; i++)
		views.rows[i] = next_word(&text);
	return views;
}

static struct conf_pair pair_of(struct view word)
{
	ptrdiff_t eq = view_chr(word, '=');
	check(eq > 0);
	return (struct conf_pair){.name = view_head(word, (size_t)eq),
				  .value = view_skip(word, (size_t)eq + 1)};
}

static struct conf_pairs pairs_of(struct arena *arena, const char *text)
{
	struct conf_pairs pairs = {.n = count_words(text)};
	pairs.rows = arena_array(arena, pairs.n, sizeof(*pairs.rows));
	for (size_t i = 0; i < pairs.n; i++)
		pairs.rows[i] = pair_of(next_word(&text));
	return pairs;
}

static struct conf_cidrs cidrs_of(struct arena *arena, const char *text)
{
	struct conf_cidrs cidrs = {.n = count_words(text)};
	cidrs.rows = arena_array(arena, cidrs.n, sizeof(*cidrs.rows));
	for (size_t i = 0; i < cidrs.n; i++)
		check(cidr_parse(next_word(&text), &cidrs.rows[i]));
	return cidrs;
}

static struct conf_text text_of(struct conf *conf, const char *text, bool dollars)
{
	const struct template_rules rules = {
	    .arena = conf->arena, .variables = &conf->variables, .dollars = dollars};
	struct conf_text out = {VIEW_NONE, NULL};
	struct template_error error;
	check(!text || template_parse(view_str(text), &rules, &out, &error));
	return out;
}

static struct view get(const struct expand_source *source, const struct variable *v,
		       char room[EXPAND_ROOM])
{
	const struct fixture_values *values =
	    container_of(source, const struct fixture_values, source);
	return value_of_head(&values->head, v, room);
}

static const struct addr client;

struct fixture_values fixture_values(const struct message *msg, const struct route_scratch *scratch)
{
	return (struct fixture_values){
	    .source.get = get,
	    .head = {.msg = msg, .client = &client, .scheme = VIEW("http"), .scratch = scratch},
	};
}

struct conf *fixture_conf(const struct row *rows, size_t n)
{
	struct arena *arena = arena_new();
	struct conf *conf = arena_zalloc(arena, sizeof(*conf));
	conf->arena = arena;
	conf->n_routes = n;
	conf->routes = arena_array(arena, n, sizeof(*conf->routes));
	for (size_t i = 0; i < n; i++) {
		struct conf_route *route = &conf->routes[i];
		const struct row *row = &rows[i];
		route->index = (uint32_t)i;
		route->name = optional(row->name);
		route->match.host = views_of(arena, row->host);
		route->match.path = optional(row->path);
		route->match.path_exact = optional(row->exact);
		route->match.path_regex = optional(row->regex);
		route->match.method = views_of(arena, row->method);
		route->match.header = pairs_of(arena, row->header);
		route->match.query = pairs_of(arena, row->query);
		route->match.client = cidrs_of(arena, row->client);
		route->rewrite.path_regex = optional(row->rewrite_regex);
		route->rewrite.path = text_of(conf, row->rewrite_path, true);
		route->redirect.to = text_of(conf, row->redirect, false);
	}
	return conf;
}

void request_init(struct request *r, const struct ask *ask)
{
	*r = (struct request){0};
	check(addr_parse_ip(view_str(ask->client ? ask->client : "192.0.2.1"), &r->client));
	r->req = (struct route_request){
	    .host = view_str(ask->host ? ask->host : ""),
	    .path = view_str(ask->path ? ask->path : "/"),
	    .method = view_str(ask->method ? ask->method : "GET"),
	    .msg = &r->msg,
	    .client = &r->client,
	};
	const char *text = ask->header;
	for (size_t i = 0, n = count_words(text); i < n; i++) {
		struct conf_pair pair = pair_of(next_word(&text));
		r->msg.headers[r->msg.n_headers++] = (struct header){
		    .name = pair.name, .value = pair.value, .id = (uint8_t)hdr_lookup(pair.name)};
	}
}
