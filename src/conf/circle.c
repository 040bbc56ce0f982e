/* SPDX-License-Identifier: MIT */
/*
 * Backends that are listeners of the same weir: a request would come back, again and again.  Names
 * and members are looked at where they become addresses (boot/circles.c); what goes round over
 * other machines ends at limits.hops.
 */
#include "circle.h"

#include <stdio.h>

#include "weir/base/addr.h"
#include "weir/base/parse.h"

/* Whether who connects there comes out at a socket that is bound so. */
static bool leads_to(const struct addr *bind, const struct addr *to, struct addr_interfaces *own)
{
	if (addr_eq(bind, to))
		return true;
	bool other_family = bind->sa.sa_family == AF_INET && to->sa.sa_family == AF_INET6;
	return !addr_is_unix(bind) && !addr_is_unix(to) && addr_port(bind) == addr_port(to) &&
	       addr_unreachable(bind) && !other_family && addr_is_here(own, to);
}

const struct conf_listener *conf_listener_at(const struct conf *conf, const struct addr *to,
					     struct addr_interfaces *own)
{
	for (size_t i = 0; i < conf->n_listeners; i++)
		for (size_t k = 0; k < conf->listeners[i].n_binds; k++)
			if (leads_to(&conf->listeners[i].binds[k], to, own))
				return &conf->listeners[i];
	return NULL;
}

/* By the two addresses of localhost, which is not looked up; other names are not known here. */
static const struct conf_listener *listener_named(const struct conf *conf, struct view name,
						  struct addr_interfaces *own)
{
	static const char *const hosts[] = {"127.0.0.1", "[::1]"};
	const struct view host = VIEW("localhost:");
	const struct conf_listener *found = NULL;
	uint64_t port;
	if (!view_istarts(name, host) || !parse_u64(view_skip(name, host.len), &port))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(hosts) && !found; i++) {
		char text[ADDR_TEXT_MAX];
		struct addr to;
		snprintf(text, sizeof(text), "%s:%u", hosts[i], (unsigned)port);
		if (addr_parse(view_str(text), &to))
			found = conf_listener_at(conf, &to, own);
	}
	return found;
}

/* The listener that a row of the file is; NULL: none. */
static const struct conf_listener *
listener_of(const struct conf *conf, const struct conf_backend *b, struct addr_interfaces *own)
{
	return b->address.len ? conf_listener_at(conf, &b->address, own)
			      : listener_named(conf, b->address_text, own);
}

bool conf_warned_of_circle(const struct conf *conf, const struct conf_pool *pool, struct view name,
			   struct addr_interfaces *own)
{
	for (size_t i = 0; i < pool->n_listed; i++)
		if (view_eq(pool->listed[i].name, name))
			return listener_of(conf, &pool->listed[i], own) != NULL;
	return false;
}

void warn_of_circles(struct decoder *d, struct node *root)
{
	const struct conf *conf = d->conf;
	struct node *pools = node_get(root, VIEW("pools"));
	struct addr_interfaces own = {0};
	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct conf_pool *pool = &conf->pools[i];
		for (size_t k = 0; k < pool->n_listed; k++) {
			const struct conf_listener *l = listener_of(conf, &pool->listed[k], &own);
			if (l)
				decode_warning(d, node_get(pools, pool->name),
					       "backend '" VIEW_FMT
					       "' of pool '" VIEW_FMT CONF_CIRCLE,
					       VIEW_ARG(pool->listed[k].address_text),
					       VIEW_ARG(pool->name), VIEW_ARG(l->name));
		}
	}
	addr_interfaces_free(&own);
}
