/* SPDX-License-Identifier: MIT */
/*
 * Backends that turn out to be listeners of this weir when names are looked up, sources name them
 * or operators add them.  What the file itself says is warned of where it is read (conf/circle.c).
 */
#include "control.h"

static void look_at(const struct conf *conf, const struct pool *pool, struct backend *b,
		    struct addr_interfaces *own)
{
	const struct conf_listener *l = conf_listener_at(conf, &b->address, own);
	bool news = l && !b->is_circle && !conf_warned_of_circle(conf, pool->conf, b->name, own);
	b->is_circle = l != NULL;
	if (!news)
		return;
	log_warn("backend '" VIEW_FMT "' (" VIEW_FMT ") of pool '" VIEW_FMT CONF_CIRCLE,
		 VIEW_ARG(b->name), VIEW_ARG(b->address_text), VIEW_ARG(b->pool_name),
		 VIEW_ARG(l->name));
	event_add(EVENT_SOURCE, b->pool_name, b->name,
		  "its address " VIEW_FMT " is the listener '" VIEW_FMT "' of this weir",
		  VIEW_ARG(b->address_text), VIEW_ARG(l->name));
}

void circles_warn(const struct generation *gen)
{
	struct addr_interfaces own = {0};
	for (uint32_t p = 0; p < gen->n_pools; p++)
		for (uint32_t i = 0; i < gen->pools[p].n; i++)
			look_at(gen->conf, &gen->pools[p], gen->pools[p].backends[i], &own);
	addr_interfaces_free(&own);
}
