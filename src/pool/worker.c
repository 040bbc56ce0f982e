/* SPDX-License-Identifier: MIT */
/* A worker's part of the pools: buffers, connections, chance. */
#include "weir/pool/worker.h"

#include <stdlib.h>
#include <string.h>

#include "weir/pool/upconn.h"

static void retire_upconn(void *obj)
{
	timer_del(&((struct upconn *)obj)->timer);
}

void pool_worker_init(struct pool_worker *pw, unsigned id, struct loop *loop, uint32_t max_upconns,
		      uint32_t max_bufs)
{
	*pw = (struct pool_worker){.id = id, .loop = loop};
	buf_pool_init(&pw->bufs, max_bufs);
	slab_init(&pw->upconns, sizeof(struct upconn), max_upconns);
	pw->upconns.retire = retire_upconn;
	rng_init(&pw->rng, rng_entropy());
}

void pool_worker_fini(struct pool_worker *pw)
{
	slab_fini(&pw->upconns);
	buf_pool_fini(&pw->bufs);
	free(pw->mask);
	pw->mask = NULL;
}

uint64_t *pool_worker_mask(struct pool_worker *pw, uint32_t words)
{
	if (words > pw->mask_words) {
		uint64_t *mask = realloc(pw->mask, words * sizeof(*mask));
		if (!mask)
			return NULL;
		pw->mask = mask;
		pw->mask_words = words;
	}
	return pw->mask;
}
