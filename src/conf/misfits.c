/* SPDX-License-Identifier: MIT */
/* Warnings about what is right by itself: each function is one such meeting of two keys. */
#include "misfits.h"

/* Clients never see its answers, so they never get the cookie that names a backend. */
static void auth_by_pins(struct decoder *d, const struct conf_auth_forward *forward,
			 struct node *auth)
{
	const struct conf_pool *pool = &d->conf->pools[forward->pool];
	if (forward->on && pool->sticky.on)
		decode_warning(d, node_get(node_get(auth, VIEW("forward")), VIEW("pool")),
			       "the pins of pool '" VIEW_FMT
			       "' are not for an auth service: its cookie reaches no client; list "
			       "the service in a pool of its own, without 'sticky'",
			       VIEW_ARG(pool->name));
}

static bool leads_to(const struct conf_route *route, uint32_t pool)
{
	bool found = route->action == CONF_ACTION_POOL && route->pool == pool;
	for (size_t i = 0; i < route->n_split; i++)
		found |= route->split[i].pool == pool && route->split[i].share;
	return found;
}

static void mirror_to_itself(struct decoder *d, const struct conf_route *route, struct node *mirror)
{
	const struct conf_mirror *conf = &route->mirror;
	if (conf->on && leads_to(route, conf->pool))
		decode_warning(d, node_get(mirror, VIEW("pool")),
			       "the copies go to the pool of the route itself, whose backends get "
			       "such requests twice; name another pool than '" VIEW_FMT "'",
			       VIEW_ARG(d->conf->pools[conf->pool].name));
	if (conf->on && conf->share == 0)
		decode_warning(d, node_get(mirror, VIEW("share")),
			       "0%% copies nothing; write how many of the requests, such as 1%%, "
			       "or leave 'mirror' out");
}

static bool is_copied(const struct conf_auth_forward *forward, struct view name)
{
	for (size_t i = 0; forward->on && i < forward->copy.n; i++)
		if (view_ieq(forward->copy.rows[i], name))
			return true;
	return false;
}

static void believed(struct decoder *d, const struct node *node, struct view name, const char *what)
{
	decode_warning(d, node,
		       "clients choose " VIEW_FMT " here: %s before the auth service is asked, "
		       "whose answer it is copied from (auth.forward.copy)",
		       VIEW_ARG(name), what);
}

/* What the service is to say is the client's word until it is asked. */
static void copied_too_late(struct decoder *d, const struct conf_route *route, struct node *node)
{
	const struct conf_auth_forward *forward = &route->auth.forward;
	const struct conf_pairs *header = &route->match.header;
	struct node *match = node_get(node_get(node, VIEW("match")), VIEW("header"));
	struct node *limits = node_get(node, VIEW("rate_limit"));
	struct node_item *it = limits && limits->kind == NODE_LIST ? limits->items : NULL;
	for (size_t i = 0; i < header->n; i++)
		if (is_copied(forward, header->rows[i].name))
			believed(d, match, header->rows[i].name, "routes are chosen");
	for (size_t i = 0; it && i < route->rate_limits.n; i++, it = it->next) {
		const struct conf_limit_key *key = &route->rate_limits.rows[i].key;
		for (size_t k = 0; k < key->n; k++)
			if (key->rows[k].on == CONF_HASH_HEADER &&
			    is_copied(forward, key->rows[k].name))
				believed(d, it->value, key->rows[k].name, "requests are counted");
	}
}

static void pins_that_end(struct decoder *d, const struct conf_pool *pool, struct node *node)
{
	struct node *sticky = node_get(node, VIEW("sticky"));
	if (!pool->sticky.cookie.ptr || pool->sticky.keys.n || node_get(sticky, VIEW("key_file")))
		return;
	if (!conf_state_directory(d->conf).len) /* else a key is kept that was drawn at start */
		decode_warning(d, sticky,
			       "without key_file or 'state' the pins of pool '" VIEW_FMT
			       "' end with this process",
			       VIEW_ARG(pool->name));
}

void warn_misfits(struct decoder *d, struct node *root)
{
	const struct conf *conf = d->conf;
	struct node *pools = node_get(root, VIEW("pools"));
	struct node *routes = node_get(root, VIEW("routes"));
	struct node_item *it = routes ? routes->items : NULL;
	for (size_t i = 0; it && i < conf->n_routes; i++, it = it->next) {
		const struct conf_route *route = &conf->routes[i];
		auth_by_pins(d, &route->auth.forward, node_get(it->value, VIEW("auth")));
		mirror_to_itself(d, route, node_get(it->value, VIEW("mirror")));
		copied_too_late(d, route, it->value);
	}
	for (size_t i = 0; i < conf->n_pools; i++)
		pins_that_end(d, &conf->pools[i], node_get(pools, conf->pools[i].name));
	auth_by_pins(d, &conf->status.auth.forward,
		     node_get(node_get(root, VIEW("status")), VIEW("auth")));
}
