/* SPDX-License-Identifier: MIT */
/*
 * A small world for the pool code: a configuration made by hand, real loops and
 * pool workers, and generations built of it.  Used by the unit tests, where one
 * thread turns all loops, and by the race tests, where each loop has its own.
 */
#ifndef TESTS_UNIT_POOL_WORLD_H
#define TESTS_UNIT_POOL_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/pool/pool.h"
#include "weir/pool/upconn.h"

#define WORLD_WORKERS 4
#define WORLD_BACKENDS 80

struct world {
	unsigned n_workers;
	struct loop loops[WORLD_WORKERS];
	struct pool_worker pws[WORLD_WORKERS];
	struct pool_worker *pw_list[WORLD_WORKERS];
	struct pool_registry reg;
	struct list overrides;
	char names[WORLD_BACKENDS][16];
	struct conf_backend backends[WORLD_BACKENDS];
	struct conf_pool conf;
};

/* One generation of the world's only pool. */
struct world_gen {
	struct arena *arena;
	struct pool pool;
	struct pool_view views[WORLD_WORKERS];
};

static inline void world_init(struct world *w, unsigned n_workers, size_t n_backends)
{
	*w = (struct world){.n_workers = n_workers};
	list_init(&w->overrides);
	for (unsigned i = 0; i < n_workers; i++) {
		check(loop_init(&w->loops[i], "test") == ERR_OK);
		pool_worker_init(&w->pws[i], i, &w->loops[i], 1000, 1000);
		check(pool_worker_mask(&w->pws[i], 4) != NULL);
		w->pw_list[i] = &w->pws[i];
	}
	pool_registry_init(&w->reg, n_workers, w->pw_list);
	for (size_t i = 0; i < n_backends; i++) {
		snprintf(w->names[i], sizeof(w->names[i]), "b%hu", (unsigned short)i);
		w->backends[i] = (struct conf_backend){
		    .name = view_str(w->names[i]),
		    .address_text = view_str(w->names[i]),
		    .weight = 1,
		};
	}
	w->conf = (struct conf_pool){
	    .name = VIEW("app"),
	    .balance = VIEW("round-robin"),
	    .backends = w->backends,
	    .n_backends = n_backends,
	    .overprovision = 1.4,
	    .panic = 0.5,
	    .queue = {.on = true, .length = 16, .timeout_us = 1000000},
	    .retry = {.on = true, .attempts = 1, .budget = 0.2},
	    .keepalive = {.idle_us = 30000000, .max_idle = 128},
	};
}

static inline void world_build(struct world *w, struct world_gen *gen)
{
	memset(gen, 0, sizeof(*gen));
	gen->arena = arena_new();
	pool_build(&gen->pool, &w->conf, &w->reg, &w->overrides, gen->arena);
	for (unsigned i = 0; i < w->n_workers; i++)
		pool_view_init(&gen->views[i], &gen->pool, &w->pws[i], gen->arena);
}

static inline void world_release(struct world *w, struct world_gen *gen)
{
	(void)w;
	pool_release(&gen->pool);
	arena_free(gen->arena);
}

/* Every loop has a few turns, without waiting. */
static inline void world_turn(struct world *w)
{
	for (int turn = 0; turn < 8; turn++)
		for (unsigned i = 0; i < w->n_workers; i++)
			ev_run(w->loops[i].ev, EVRUN_NOWAIT);
}

static inline void world_fini(struct world *w)
{
	pool_registry_fini(&w->reg);
	for (unsigned i = 0; i < w->n_workers; i++) {
		loop_fini(&w->loops[i]);
		pool_worker_fini(&w->pws[i]);
	}
}

static inline uint32_t in_flight_of(const struct world_gen *gen, uint32_t i)
{
	return backend_in_flight(gen->pool.backends[i]);
}

#endif
