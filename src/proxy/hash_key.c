/* SPDX-License-Identifier: MIT */
/*
 * What a hashing strategy looks at, taken out of a request.  An empty value is
 * none: all clients without one would meet at a single backend.
 */
#include "hash_key.h"

#include "weir/route/source.h"

uint64_t hash_key_of(const struct exchange *ex, const struct exchange_request *req,
		     struct message *msg)
{
	const struct pool *pool = ex->view->pool;
	char room[SOURCE_ROOM];
	struct view text =
	    source_text(pool->conf->hash.on, pool->conf->hash.name, req->peer, msg, room);
	return text.len ? strategy_key(pool->strategy, text) : 0;
}
