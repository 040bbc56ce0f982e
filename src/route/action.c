/* SPDX-License-Identifier: MIT */
/* What a route does once it has been found: the pool of a split, the target of a redirect. */
#include <math.h>

#include "weir/base/hash.h"
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

/*
 * Weighted rendezvous: each pool draws a number for the key, the smallest for its share
 * wins.  A pool whose share grows only gains keys, one whose share shrinks only loses some.
 * The same on every node and after every restart.
 */
uint32_t route_pool_of(const struct conf *conf, const struct conf_route *route, struct view key)
{
	uint64_t hash = hash_view(key, 0);
	uint32_t best = route->split[0].pool;
	double least = INFINITY;
	for (size_t i = 0; i < route->n_split; i++) {
		const struct conf_split *split = &route->split[i];
		uint64_t draw = hash_view(conf->pools[split->pool].name, hash);
		double u = ((double)(draw >> 11) + 0.5) / 9007199254740992.0;
		double score = split->share ? -log(u) / split->share : INFINITY;
		if (score < least) {
			least = score;
			best = split->pool;
		}
	}
	return best;
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

void route_redirect_to(const struct conf_route *route, const struct expand_source *source,
		       struct str *out)
{
	const struct conf_text *to = &route->redirect.to;
	const size_t from = out->len;
	if (to->template)
		expand(to->template, ESCAPE_URI, source, out);
	else
		str_view(out, to->text);
	if (!view_starts(to->text, VIEW("//")))
		keep_to_this_host(out, from);
}
