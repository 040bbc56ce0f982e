/* SPDX-License-Identifier: MIT */
/* Building a pool of one generation out of its configuration and what was changed at run time. */
#include <string.h>

#include "registry.h"
#include "subset.h"

#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/clock.h"

static const struct pool_override *find_override(const struct list *overrides, struct view pool,
						 struct view backend)
{
	list_each (it, overrides) {
		const struct pool_override *o = list_entry(it, struct pool_override, link);
		if (view_eq(o->pool, pool) && view_eq(o->backend, backend))
			return o;
	}
	return NULL;
}

/* The file has by now what was added at run time. */
static bool is_in_file(const struct conf_pool *conf, const struct pool_override *o)
{
	for (size_t i = 0; i < conf->n_backends; i++)
		if (view_eq(conf->backends[i].name, o->backend))
			return view_eq(conf->backends[i].address_text, o->added.address_text);
	return false;
}

enum backend_state pool_wanted_state(const struct pool_override *override, enum conf_member member)
{
	if (override && override->has_state && override->state == BACKEND_maintenance &&
	    !override->leaving)
		return BACKEND_maintenance;
	if (member == CONF_MEMBER_GONE)
		return BACKEND_gone;
	if (override && (override->leaving || override->has_state))
		return override->leaving ? BACKEND_draining : override->state;
	return member == CONF_MEMBER_DRAINING ? BACKEND_draining : BACKEND_up;
}

/* What an operator said goes for a backend at another address, too. */
static void set_state(struct backend *b, const struct pool_override *override,
		      enum conf_member member)
{
	enum backend_state state = pool_wanted_state(override, member);
	if (b->health || state == BACKEND_up)
		return;
	b->told = (uint8_t)state;
	atomic_store_explicit(&b->state, (uint8_t)state, memory_order_relaxed);
}

/* A newcomer to a pool that has been at work warms up; so does one that had no weight. */
static void welcome(const struct pool *pool, struct backend *b, uint32_t weight)
{
	if (weight && !b->weight && pool->state->refs > 1)
		atomic_store_explicit(&b->ramp_from_us, clock_us(), memory_order_relaxed);
	b->weight = weight;
}

static void add_backend(struct pool *pool, const struct conf_backend *conf,
			const struct pool_override *override, struct pool_registry *reg)
{
	if (override && override->remove)
		return;
	if (override && override->add && conf != &override->added &&
	    !is_in_file(pool->conf, override))
		return; /* replaced at run time */
	uint32_t i = pool->n++;
	pool->backends[i] = registry_backend_get(reg, pool->conf->name, conf);
	pool->members[i] = conf->member;
	set_state(pool->backends[i], override, (enum conf_member)conf->member);
	pool->weights[i] = override && override->has_weight ? override->weight : conf->weight;
	welcome(pool, pool->backends[i], pool->weights[i]);
	pool->max_requests[i] =
	    conf->max_requests ? conf->max_requests : pool->conf->limits.requests;
	pool->priorities[i] = conf->priority;
	pool->limited |= pool->max_requests[i] != 0;
	if (pool->adaptive)
		registry_limiter(reg, pool->backends[i], pool->max_requests[i]);
}

static void add_members(struct pool *pool, struct pool_registry *reg, const struct list *overrides,
			struct arena *arena)
{
	size_t most = pool->conf->n_backends;
	list_each (it, overrides)
		most++;
	pool->backends = arena_array(arena, most, sizeof(struct backend *));
	pool->weights = arena_array(arena, most, sizeof(uint32_t));
	pool->max_requests = arena_array(arena, most, sizeof(uint32_t));
	pool->priorities = arena_array(arena, most, sizeof(uint8_t));
	pool->members = arena_array(arena, most, sizeof(uint8_t));
	uint64_t *chosen = NULL;
	if (pool->conf->subset) {
		chosen =
		    arena_array(arena, BITSET_WORDS(pool->conf->n_backends) + 1, sizeof(*chosen));
		pool_subset(pool->conf->backends, pool->conf->n_backends, pool->conf->subset_node,
			    pool->conf->subset, arena, chosen);
	}
	for (size_t i = 0; i < pool->conf->n_backends; i++) {
		const struct conf_backend *b = &pool->conf->backends[i];
		if (chosen && !bitset_has(chosen, (uint32_t)i))
			continue;
		add_backend(pool, b, find_override(overrides, pool->conf->name, b->name), reg);
	}
	list_each (it, overrides) {
		const struct pool_override *o = list_entry(it, struct pool_override, link);
		if (o->add && view_eq(o->pool, pool->conf->name) && !is_in_file(pool->conf, o))
			add_backend(pool, &o->added, o, reg);
	}
}

static struct pool_tier *tier_of(struct pool *pool, uint8_t priority, struct arena *arena)
{
	uint32_t at = 0;
	while (at < pool->n_tiers && pool->tiers[at].priority < priority)
		at++;
	if (at == pool->n_tiers || pool->tiers[at].priority != priority) {
		memmove(&pool->tiers[at + 1], &pool->tiers[at],
			(pool->n_tiers - at) * sizeof(pool->tiers[0]));
		pool->tiers[at] = (struct pool_tier){
		    .priority = priority,
		    .members = arena_array(arena, BITSET_WORDS(pool->n) + 1, sizeof(uint64_t)),
		};
		pool->n_tiers++;
	}
	return &pool->tiers[at];
}

/* Each tier has a table of its own: what one is given must not disturb the turns of another. */
static void build_tier(struct pool *pool, struct pool_tier *tier, struct arena *arena)
{
	struct strategy_member *members = arena_array(arena, pool->n, sizeof(*members));
	for (uint32_t i = 0; i < pool->n; i++)
		members[i] = (struct strategy_member){
		    .name = pool->backends[i]->name,
		    .weight = bitset_has(tier->members, i) ? pool->weights[i] : 0,
		};
	tier->table = pool->strategy->build(members, pool->n, &pool->options, arena);
	if (pool->fallback)
		tier->fallback = pool->fallback->build(members, pool->n, &pool->options, arena);
}

/* The configuration was validated against the same rows. */
static void choose_strategies(struct pool *pool)
{
	const struct conf_pool *conf = pool->conf;
	pool->strategy = strategy_find(conf->balance);
	check(pool->strategy);
	pool->wants_reports = pool->strategy->needs & NEEDS_REPORTS;
	pool->options.tau_ms = (uint32_t)(conf->peak_ewma.tau_us / 1000);
	pool->options.hot_percent = (uint32_t)(conf->prequal.hot * 100 + 0.5);
	if (!(pool->strategy->needs & NEEDS_KEY))
		return;
	pool->fallback = strategy_find(conf->hash.fallback);
	check(pool->fallback);
	pool->wants_reports = pool->fallback->needs & NEEDS_REPORTS;
	pool->options.bound_percent = (uint32_t)(conf->hash.bound * 100 + 0.5);
}

void pool_build(struct pool *pool, const struct conf_pool *conf, struct pool_registry *reg,
		const struct list *overrides, struct arena *arena)
{
	*pool = (struct pool){
	    .conf = conf, .adaptive = conf->limits.adaptive, .limited = conf->limits.adaptive};
	pool->state = registry_state_get(reg, conf->name);
	pool->state->budget = conf->retry.on ? conf->retry.budget : 0;
	pool->state->hedge_budget = conf->retry.hedge.on ? conf->retry.hedge.budget : 0;
	add_members(pool, reg, overrides, arena);

	const _Atomic uint64_t **in_flight = arena_array(arena, pool->n, sizeof(*in_flight));
	const _Atomic uint32_t **others = arena_array(arena, pool->n, sizeof(*others));
	struct strategy_memory **memory = arena_array(arena, pool->n, sizeof(*memory));
	pool->tiers = arena_array(arena, 257, sizeof(*pool->tiers));
	for (uint32_t i = 0; i < pool->n; i++) {
		in_flight[i] = &pool->backends[i]->in_flight;
		others[i] = &pool->backends[i]->others;
		memory[i] = &pool->backends[i]->memory;
		bitset_put(tier_of(pool, pool->priorities[i], arena)->members, i);
	}
	pool->loads = (struct strategy_loads){
	    .in_flight = in_flight,
	    .others = conf->balance_shared ? others : NULL,
	    .memory = memory,
	    .total = &pool->state->in_flight,
	};
	pool->stream_loads = pool->loads;
	pool->stream_loads.others = NULL; /* of other nodes only requests are known */
	pool->stream_loads.streams = 1;
	choose_strategies(pool);
	for (uint32_t t = 0; t < pool->n_tiers; t++)
		build_tier(pool, &pool->tiers[t], arena);
	pool_build_pins(pool, reg, arena);
}

void pool_release(struct pool *pool)
{
	for (uint32_t i = 0; i < pool->n; i++)
		registry_backend_put(pool->backends[i]);
	pool_release_pins(pool);
	registry_state_put(pool->state);
}

int32_t pool_backend_index(const struct pool *pool, struct view name)
{
	for (uint32_t i = 0; i < pool->n; i++)
		if (view_eq(pool->backends[i]->name, name))
			return (int32_t)i;
	return -1;
}
