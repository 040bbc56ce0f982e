/* SPDX-License-Identifier: MIT */
/*
 * The whole file once it is read.
 *
 * Everything here runs on elements that may be half broken: what is missing
 * has been reported already and is only stepped over.
 */
#include "finish.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "circle.h"
#include "misfits.h"
#include "passed_by.h"

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
	if (pool->protocol == CONF_PROTOCOL_H2 || pool->send_proxy)
		decode_error(d, node_get(node, VIEW("pool")),
			     "the service of status.auth.forward is asked over HTTP/1.1: neither "
			     "protocol: h2 nor send_proxy goes with pool '" VIEW_FMT "'",
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
		finish_bind(d, &status->bind, bind);
	finish_status_auth(d, status, node_get(node, VIEW("auth")));
	struct addr addr;
	char *text = arena_printf(d->scratch, "unix:" VIEW_FMT, VIEW_ARG(status->socket));
	if (status->socket.len && !addr_parse(view_str(text), &addr))
		decode_error(d, socket ? socket : root,
			     "the path of a unix socket has at most %zu bytes",
			     sizeof(addr.un.sun_path) - 1);
	else if (status->socket.len)
		finish_bind(d, &addr, socket ? socket : root);
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
		if (pool->balance_shared || pool->sticky.shared)
			decode_error(
			    d, node_get(node_get(root, VIEW("pools")), pool->name),
			    "%s needs 'shared: {redis: {address: ...}}', by which nodes tell each "
			    "other",
			    pool->balance_shared ? "balance_shared" : "sticky.shared");
	}
}

/* Whatever route a request takes, its listener may have to answer. */
static void keep_of_listeners(struct decoder *d)
{
	for (size_t r = 0; r < d->conf->n_routes; r++)
		for (size_t l = 0; l < d->conf->n_listeners; l++)
			finish_keep_pages(d, &d->conf->routes[r], &d->conf->listeners[l].errors);
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
	if (d->report.diags->n_errors)
		return;
	warn_passed_by(d, root);
	warn_misfits(d, root);
	warn_of_circles(d, root);
}
