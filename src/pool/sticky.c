/* SPDX-License-Identifier: MIT */
/*
 * Pins in a pool: whether the backend of a pin still takes its client, and the
 * lease on it.
 *
 *              up, unknown, draining   ejected, down, maintenance
 *   prefer     yes                     no
 *   wait       yes                     no
 *   strict     yes                     no
 *
 * An ejected one that is in use, because there is nobody else (eligible.c), takes
 * its pins, too.  What strict changes is that nobody else is asked, not even while
 * this worker avoids the backend for refusing connections.
 *
 * A weight of 0 is no reason to refuse a pin: it keeps away new clients only.
 * What "no" leads to is the exchange's business.
 */
#include "registry.h"

#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/clock.h"

/* A learned pin without sticky.ttl. */
#define LEARN_TTL_S 1800

struct pool_serial {
	uint32_t serial; /* 0: free */
	uint32_t index;
};

/* ---- building: control thread ---- */

static void map_serials(struct pool *pool, struct arena *arena)
{
	uint32_t size = 4;
	while (size < 2 * pool->n)
		size *= 2;
	pool->serial_mask = size - 1;
	pool->by_serial = arena_array(arena, size, sizeof(*pool->by_serial));
	for (uint32_t i = 0; i < pool->n; i++) {
		uint32_t serial = pool->backends[i]->serial, at = serial & pool->serial_mask;
		while (pool->by_serial[at].serial)
			at = (at + 1) & pool->serial_mask;
		pool->by_serial[at] = (struct pool_serial){serial, i};
	}
}

/* The pool's table, made anew when its size was changed. */
static struct learned *table_of(struct pool_state *state, uint32_t entries)
{
	struct learned *old = state->learned;
	if (old && learned_entries(old) == entries / LEARN_BUCKET * LEARN_BUCKET)
		return learned_get(old);
	struct learned *table = learned_new(entries);
	check(table != NULL);
	if (old)
		learned_copy(table, old, clock_us() / 1000000);
	learned_put(old);
	state->learned = table;
	return learned_get(table);
}

void pool_build_pins(struct pool *pool, struct pool_registry *reg, struct arena *arena)
{
	const struct conf_pool *conf = pool->conf;
	if (!conf->sticky.on)
		return;
	if (conf->sticky.learn.ptr) {
		map_serials(pool, arena);
		pool->learned = table_of(pool->state, conf->sticky.entries);
		learned_share(pool->learned, conf->sticky.shared);
		pool->learn_ttl_s = conf->sticky.ttl_us / 1000000;
		if (!pool->learn_ttl_s)
			pool->learn_ttl_s = LEARN_TTL_S;
		return;
	}
	pool->pins = pins_build(conf, pool->backends, pool->n,
				view_of(reg->secret, sizeof(reg->secret)), arena);
}

void pool_release_pins(struct pool *pool)
{
	learned_put(pool->learned);
}

int32_t pool_serial_index(const struct pool *pool, uint32_t serial)
{
	uint32_t at = serial & pool->serial_mask;
	for (; pool->by_serial[at].serial; at = (at + 1) & pool->serial_mask)
		if (pool->by_serial[at].serial == serial)
			return (int32_t)pool->by_serial[at].index;
	return -1;
}

/* Cookies that end with the browser's session: so long without a request is the end. */
#define QUIET_S 30

struct pool_sessions pool_sessions(const struct pool *pool, uint32_t i)
{
	const struct backend *b = pool->backends[i];
	uint64_t now = clock_us(), wall = clock_wall_us();
	uint64_t last = atomic_load_explicit(&b->pinned_us, memory_order_relaxed);
	uint64_t drains_s = wall > b->since_us ? (wall - b->since_us) / 1000000 : 0;
	uint64_t ttl_s = pool->conf->sticky.ttl_us / 1000000;
	struct pool_sessions s = {.quiet_s = now > last ? (now - last) / 1000000 : 0};
	if (drains_s < s.quiet_s)
		s.quiet_s = drains_s;
	if (pool->learned)
		s.n = learned_count(pool->learned, b->serial, now / 1000000, pool->learn_ttl_s);
	s.over = pool->learned ? s.n == 0 : s.quiet_s >= (ttl_s ? ttl_s : QUIET_S);
	return s;
}

/* ---- leases: workers ---- */

static bool takes_pin(const struct pool_view *view, const struct pool_worker *pw, uint32_t i)
{
	const struct pool *pool = view->pool;
	struct backend *b = pool->backends[i];
	bool strict = pool->conf->sticky.mode == CONF_STICKY_STRICT;
	switch (backend_state(b)) {
	case BACKEND_up:
	case BACKEND_unknown:
		break;
	case BACKEND_draining:
		atomic_store_explicit(&b->pinned_us, pw->loop->now_us, memory_order_relaxed);
		break;
	case BACKEND_ejected:
		return bitset_has(view->eligible, i);
	default:
		return false;
	}
	/* it refused connections a moment ago */
	return strict || b->local[pw->id]->avoid_until_us <= pw->loop->now_us;
}

enum pool_verdict pool_take_pinned(struct pool_view *view, struct pool_worker *pw, uint32_t index,
				   struct lease *lease)
{
	const struct pool *pool = view->pool;
	lease->backend = NULL;
	if (index >= pool->n || !takes_pin(view, pw, index))
		return POOL_EMPTY;
	/* others wait already: a slot that comes free is theirs */
	if (unlikely(pool->limited && pool->conf->queue.on && queue_has_line(pool->state)))
		return POOL_FULL;
	return pool_take_pinned_slot(view, pw, index, lease);
}

enum pool_verdict pool_take_pinned_slot(struct pool_view *view, struct pool_worker *pw,
					uint32_t index, struct lease *lease)
{
	const struct pool *pool = view->pool;
	lease->backend = NULL;
	if (index >= pool->n || !takes_pin(view, pw, index))
		return POOL_EMPTY;
	enum pool_verdict verdict = pool_take_index(view, index, lease);
	lease->bound = true;
	return verdict;
}
