/* SPDX-License-Identifier: MIT */
/* What a route does once it has been found: the pool of a split, the target of a redirect. */
#include "weir/base/rng.h"
#include "weir/route/route.h"

uint32_t route_pool(const struct conf_route *route, uint64_t random)
{
	if (route->action != CONF_ACTION_SPLIT)
		return route->pool;
	uint64_t total = 0;
	for (size_t i = 0; i < route->n_split; i++)
		total += route->split[i].share;
	/* shares are percentages or the like: 32 random bits are plenty */
	uint64_t at = (random >> 32) * total >> 32;
	for (size_t i = 0; i + 1 < route->n_split; i++) {
		if (at < route->split[i].share)
			return route->split[i].pool;
		at -= route->split[i].share;
	}
	return route->split[route->n_split - 1].pool;
}

/* Bytes that may not stand in a header field or a URI leave percent-encoded. */
static void put_uri(struct str *out, struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (c > ' ' && c < 0x7f && c != '"' && c != '<' && c != '>')
			str_char(out, (char)c);
		else
			str_printf(out, "%%%02X", c);
	}
}

/* A path always has a '/' in front, so that it cannot lengthen a host name ("*" of OPTIONS). */
static void put_path(struct str *out, struct view path)
{
	put_uri(out, path.len && path.ptr[0] == '/' ? path : VIEW("/"));
}

struct target {
	struct view scheme, host, uri, path, query;
};

/* False when `name` is none of ours: it is kept as text. */
static bool put_variable(struct str *out, struct view name, const struct target *t)
{
	if (view_eq(name, VIEW("scheme")))
		put_uri(out, t->scheme);
	else if (view_eq(name, VIEW("host")))
		put_uri(out, t->host);
	else if (view_eq(name, VIEW("uri")))
		put_path(out, t->uri);
	else if (view_eq(name, VIEW("path")))
		put_path(out, t->path);
	else if (view_eq(name, VIEW("query")))
		put_uri(out, t->query);
	else
		return false;
	return true;
}

/*
 * A target that is a path must stay one: browsers take "//evil.example" and
 * "/\\evil.example" for another host.
 */
static void keep_to_this_host(struct str *out, size_t from)
{
	size_t end = from + 1;
	if (out->len < from + 2 || out->ptr[from] != '/')
		return;
	while (end < out->len && (out->ptr[end] == '/' || out->ptr[end] == '\\'))
		end++;
	memmove(out->ptr + from + 1, out->ptr + end, out->len - end + 1);
	out->len -= end - from - 1;
}

void route_redirect_to(const struct conf_route *route, struct view scheme, struct view authority,
		       struct view path, struct str *out)
{
	struct view to = route->redirect.to;
	struct target target = {.scheme = scheme, .host = authority, .uri = path};
	uint16_t port;
	const size_t from = out->len;
	target_split(path, &target.path, &target.query);
	if (!authority_split(authority, &target.host, &port))
		target.host = authority;
	while (to.len) {
		ptrdiff_t close = to.ptr[0] == '{' ? view_chr(to, '}') : -1;
		if (close > 0 &&
		    put_variable(out, view_of(to.ptr + 1, (size_t)close - 1), &target)) {
			to = view_skip(to, (size_t)close + 1);
		} else {
			str_char(out, to.ptr[0]);
			to = view_skip(to, 1);
		}
	}
	if (!view_starts(route->redirect.to, VIEW("//")))
		keep_to_this_host(out, from);
}
