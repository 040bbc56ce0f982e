/* SPDX-License-Identifier: MIT */
/* Taking leases; they are given back in lease.c. */
#include "weir/pool/pool.h"

#include "flight.h"
#include "registry.h"

#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/hash.h"
#include "weir/pool/upconn.h"

/* Picks a backend that warms up may have in hand: a strategy that draws is late now and then. */
#define CREDITS_MAX (16 * CREDIT_ONE)
/* From then on it is not left to the strategy. */
#define CREDITS_OWED (2 * CREDIT_ONE)

/*
 * Counts one in; false when the backend is at its limit.  Never counts past the
 * limit, not even for a moment: another worker would find a free slot taken and
 * wait for a wake-up that nobody owes it.
 */
static bool claim_slot(const struct pool *pool, uint32_t i, uint32_t max)
{
	struct backend *b = pool->backends[i];
	_Atomic uint64_t *in_flight = &b->in_flight;
	if (likely(max == 0)) {
		atomic_fetch_add_explicit(in_flight, 1, memory_order_relaxed);
		return true;
	}
	uint64_t now = atomic_load(in_flight);
	uint32_t before = atomic_load(&b->before);
	while (flight_all(now) + before < max)
		if (atomic_compare_exchange_weak(in_flight, &now, now + 1))
			return true;
	return false;
}

/* The backend has a place, but there is no way to it. */
static enum pool_verdict way_to(const struct pool *pool, const struct pool_worker *pw, uint32_t i,
				uint32_t max)
{
	const struct backend *b = pool->backends[i];
	if (likely(!atomic_load(&b->crowded)))
		return POOL_TAKEN;
	enum upconn_way way = upconn_way(pool, pw, b);
	if (way != WAY_CROWDED)
		return way == WAY_NONE ? POOL_FULL : POOL_TAKEN;
	return max && backend_in_flight(b) >= max ? POOL_FULL : POOL_CROWDED;
}

static enum pool_verdict claim(const struct pool *pool, struct pool_worker *pw, uint32_t i,
			       uint32_t max)
{
	struct backend *b = pool->backends[i];
	enum pool_verdict verdict = way_to(pool, pw, i, max);
	if (unlikely(verdict != POOL_TAKEN))
		return verdict;
	if (!fault_may_try(&b->fault))
		return POOL_FULL;
	if (!claim_slot(pool, i, max)) {
		fault_leave_trial(&b->fault);
		return POOL_FULL;
	}
	if (unlikely(pool->options.bound_percent))
		atomic_fetch_add_explicit(&pool->state->in_flight, 1, memory_order_relaxed);
	return POOL_TAKEN;
}

static bool falls_back(const struct pool *pool, uint64_t key)
{
	return unlikely(pool->fallback && key == 0);
}

static uint32_t pick(struct pool_view *view, struct pool_worker *pw, uint32_t tier, uint64_t key,
		     const struct pool_tried *tried, const uint64_t *eligible)
{
	struct pool_way way = pool_way_of(view, tier, falls_back(view->pool, key));
	struct strategy_input input = {.key = key, .wary = tried && tried->wary};
	if (way.strategy->needs & NEEDS_RANDOM)
		input.random = rng_next(&pw->rng);
	if (way.strategy->needs & NEEDS_NOW)
		input.now_us = pw->loop->now_us;
	/* keys are bounded by requests */
	bool stream = unlikely(tried && tried->stream) && !(way.strategy->needs & NEEDS_KEY);
	return way.strategy->pick(way.table, way.local, &input, eligible,
				  stream ? &view->pool->stream_loads : &view->pool->loads);
}

/* So many backends are asked at each arrival; of larger pools at some. */
#define ASKED_MAX 8

/*
 * What is in flight at the pool's other backends, which tells a shared bottleneck from
 * load of its own.  A count of the pool would be written by all workers at each request.
 */
static uint16_t count_elsewhere(const struct pool *pool, struct pool_worker *pw, uint32_t own)
{
	uint32_t sum = 0;
	if (!WEIR_STATS || (pool->n > ASKED_MAX && pw->n_asked++ % (pool->n / ASKED_MAX) != 0))
		return LEVEL_UNKNOWN;
	for (uint32_t i = 0; i < pool->n; i++)
		if (i != own)
			sum += flight_requests(atomic_load_explicit(&pool->backends[i]->in_flight,
								    memory_order_relaxed));
	return sum < LEVEL_UNKNOWN ? (uint16_t)sum : LEVEL_UNKNOWN - 1;
}

static enum pool_verdict taken(struct pool_view *view, uint32_t tier, uint32_t i, uint64_t key,
			       struct lease *lease)
{
	struct backend *backend = view->pool->backends[i];
	uint32_t now =
	    flight_requests(atomic_load_explicit(&backend->in_flight, memory_order_relaxed));
	uint32_t others = now ? now - 1 : 0; /* another worker may have dropped one since */
	pool_leave_level(backend, view->sl->pw, others);
	*lease = (struct lease){
	    .view = view,
	    .backend = backend,
	    .index = i,
	    .tier = (uint16_t)tier,
	    .fallback = falls_back(view->pool, key),
	    .others = others < UINT16_MAX ? (uint16_t)others : UINT16_MAX,
	    .elsewhere = count_elsewhere(view->pool, view->sl->pw, i),
	    .on_trial = atomic_load_explicit(&backend->fault.trial, memory_order_relaxed),
	    .bound = key != 0,
	    .answer = ANSWER_NONE,
	};
	return POOL_TAKEN;
}

/* The tier this exchange begins with; by its key, so that affinity holds. */
static uint32_t draw_tier(const struct pool_view *view, struct pool_worker *pw, uint64_t key)
{
	if (likely(!view->spread))
		return view->first_tier;
	uint64_t random = key ? hash_mix(key) : rng_next(&pw->rng);
	uint32_t at = rng_scale((uint32_t)(random >> 32), 100), t = 0;
	while (t + 1 < view->pool->n_tiers && at >= view->tier_load[t])
		at -= view->tier_load[t++];
	return t;
}

static bool candidates_of(const struct pool_view *view, const uint64_t *eligible,
			  const struct pool_tried *tried, uint32_t *tier, uint64_t *mask)
{
	const struct pool *pool = view->pool;
	uint32_t words = (uint32_t)BITSET_WORDS(pool->n);
	for (uint32_t k = 0; k < pool->n_tiers; k++, *tier = (*tier + 1) % pool->n_tiers) {
		for (uint32_t w = 0; w < words; w++)
			mask[w] = eligible[w] & pool->tiers[*tier].members[w];
		for (uint32_t x = 0; tried && x < tried->n; x++)
			if (tried->index[x] < pool->n)
				bitset_del(mask, tried->index[x]);
		if (!bitset_is_empty(mask, pool->n))
			return true;
	}
	return false;
}

/*
 * Candidates into `mask`: those of `*tier`, else of the next one that has
 * any, going round; `*tier` says which.  A tier that is only busy does not call
 * another.  When this exchange has tried them all, those that are ejected.
 */
static bool candidates(const struct pool_view *view, const struct pool_tried *tried, uint32_t *tier,
		       uint64_t *mask)
{
	return candidates_of(view, view->eligible, tried, tier, mask) ||
	       (unlikely(view->has_resort) && !(tried && tried->choosy) &&
		candidates_of(view, view->resort, tried, tier, mask));
}

/*
 * Takes those out of `mask` that have had their share: before the strategy is asked, not
 * after it, since one that looks for the least loaded would find nobody but them.  Each
 * take in a tier earns them a part of a pick, and a pick uses one up; of keys the
 * key's own draw decides, so that the same ones stay.
 */
static void withhold(struct pool_view *view, uint32_t tier, uint64_t key, uint64_t *mask)
{
	const uint64_t *members = view->pool->tiers[tier].members;
	for (uint32_t k = 0; k < view->n_sharing; k++) {
		uint32_t i = view->sharing[k];
		if (!bitset_has(members, i))
			continue;
		if (key) {
			if (hash_mix(key ^ hash_mix(i + 1)) % SHARE_FULL >= view->keeps[i])
				bitset_del(mask, i);
			continue;
		}
		uint32_t credit = view->credits[i] + view->earns[i];
		view->credits[i] = credit < CREDITS_MAX ? credit : CREDITS_MAX;
		if (credit < CREDIT_ONE)
			bitset_del(mask, i);
	}
}

static void use_credit(struct pool_view *view, uint32_t i, uint64_t key)
{
	if (key || view->shares[i] >= SHARE_FULL)
		return;
	uint32_t credit = view->credits[i];
	view->credits[i] = credit < CREDIT_ONE ? 0 : credit - CREDIT_ONE;
}

/* It has no more in flight than the others of its tier on average: it is not slow itself. */
static bool is_quiet(const struct pool_view *view, uint32_t tier, uint32_t own)
{
	const uint64_t *members = view->pool->tiers[tier].members;
	uint64_t sum = 0, n = 0;
	for (uint32_t i = bitset_next(members, view->pool->n, 0); i < view->pool->n;
	     i = bitset_next(members, view->pool->n, i + 1)) {
		if (i == own || !bitset_has(view->eligible, i))
			continue;
		sum += backend_in_flight(view->pool->backends[i]);
		n++;
	}
	return backend_in_flight(view->pool->backends[own]) * n <= sum;
}

/*
 * One that warms up and that the strategy has left out for a while: it remembers one slow answer
 * for long, and what is still cold gives some.  STRATEGY_NONE: there is none.
 */
static uint32_t owed(const struct pool_view *view, uint32_t tier, uint64_t key,
		     const uint64_t *mask)
{
	const struct pool_way way = pool_way_of(view, tier, falls_back(view->pool, key));
	for (uint32_t k = 0; k < view->n_sharing && way.strategy->needs & NEEDS_WARMTH; k++) {
		uint32_t i = view->sharing[k];
		bool warms_up = backend_share(view->pool->backends[i]) == SHARE_FULL;
		if (warms_up && bitset_has(mask, i) && view->credits[i] >= CREDITS_OWED &&
		    is_quiet(view, tier, i))
			return i;
	}
	return STRATEGY_NONE;
}

/* A backend that warms up has that share of its limit, too; at least one.  Streams come on top of
 * what was adapted. */
static uint32_t limit_of(const struct pool_view *view, uint32_t i, bool by_share)
{
	uint32_t max = pool_limit(view->pool, i);
	if (likely(max == 0 || !by_share))
		return max;
	uint32_t streams = view->pool->adaptive ? backend_streams(view->pool->backends[i]) : 0;
	uint32_t own = max > streams ? max - streams : 0;
	uint32_t part = (uint32_t)((uint64_t)own * view->shares[i] / SHARE_FULL);
	return (part ? part : 1) + streams;
}

struct wish {
	const struct pool_tried *tried;
	uint64_t key;
	uint32_t tier;
	bool crowded; /* somebody was POOL_CROWDED */
};

static uint32_t next_of(struct pool_view *view, struct pool_worker *pw, const struct wish *wish,
			const uint64_t *mask, bool by_share)
{
	uint32_t i = by_share ? owed(view, wish->tier, wish->key, mask) : STRATEGY_NONE;
	return i != STRATEGY_NONE ? i : pick(view, pw, wish->tier, wish->key, wish->tried, mask);
}

/*
 * One of `mask`, which is used up.  Whoever turns out to be at its limit is taken
 * out and the strategy is asked again.
 */
static uint32_t pick_of(struct pool_view *view, struct pool_worker *pw, struct wish *wish,
			uint64_t *mask, bool by_share)
{
	uint32_t i;
	while ((i = next_of(view, pw, wish, mask, by_share)) != STRATEGY_NONE) {
		enum pool_verdict verdict = claim(view->pool, pw, i, limit_of(view, i, by_share));
		if (verdict == POOL_TAKEN)
			break;
		wish->crowded |= verdict == POOL_CROWDED;
		bitset_del(mask, i);
	}
	return i;
}

/*
 * The general way: tiers, tried backends, limits and shares.  Shares say who is
 * preferred, not who is allowed: when nobody else takes it, they do not count.
 */
enum pool_verdict pool_take_slot(struct pool_view *view, struct pool_worker *pw,
				 const struct pool_tried *tried, uint64_t key, struct lease *lease)
{
	uint64_t *mask = pool_worker_mask(pw, (uint32_t)BITSET_WORDS(view->pool->n));
	struct wish wish = {.tried = tried, .key = key, .tier = draw_tier(view, pw, key)};
	uint32_t i = STRATEGY_NONE;
	lease->backend = NULL;
	if (!mask || !candidates(view, tried, &wish.tier, mask))
		return POOL_EMPTY;
	if (unlikely(view->shared)) {
		withhold(view, wish.tier, key, mask);
		i = pick_of(view, pw, &wish, mask, true);
		if (i == STRATEGY_NONE)
			candidates(view, tried, &wish.tier, mask);
	}
	if (i == STRATEGY_NONE)
		i = pick_of(view, pw, &wish, mask, false);
	if (unlikely(view->shared && i != STRATEGY_NONE))
		use_credit(view, i, key);
	if (i == STRATEGY_NONE)
		return wish.crowded ? POOL_CROWDED : POOL_FULL;
	return taken(view, wish.tier, i, key, lease);
}

enum pool_verdict pool_take_index(struct pool_view *view, uint32_t i, struct lease *lease)
{
	const struct pool *pool = view->pool;
	uint32_t tier = 0;
	lease->backend = NULL;
	enum pool_verdict verdict = claim(pool, view->sl->pw, i, pool_limit(pool, i));
	if (verdict != POOL_TAKEN)
		return verdict;
	while (!bitset_has(pool->tiers[tier].members, i))
		tier++;
	return taken(view, tier, i, 0, lease);
}

/* What keeps those in `mask` from taking one more. */
static enum pool_verdict why_full(const struct pool *pool, const struct pool_worker *pw,
				  const uint64_t *mask)
{
	for (uint32_t i = bitset_next(mask, pool->n, 0); i < pool->n;
	     i = bitset_next(mask, pool->n, i + 1))
		if (way_to(pool, pw, i, pool_limit(pool, i)) == POOL_CROWDED)
			return POOL_CROWDED;
	return POOL_FULL;
}

/* Others wait already: a slot that comes free is theirs.  POOL_TAKEN: nobody does. */
static enum pool_verdict must_wait(const struct pool_view *view, struct pool_worker *pw,
				   const struct pool_tried *tried)
{
	const struct pool *pool = view->pool;
	if (likely(!queue_has_line(pool->state)))
		return POOL_TAKEN;
	uint64_t *mask = pool_worker_mask(pw, (uint32_t)BITSET_WORDS(pool->n));
	uint32_t tier = view->first_tier;
	bool waits = pool->conf->queue.on && mask && candidates(view, tried, &tier, mask);
	return waits ? why_full(pool, pw, mask) : POOL_TAKEN;
}

/* A look at one that answered otherwise than the others: see odd.h. */
static bool take_try(struct pool_view *view, struct pool_worker *pw, const struct pool_tried *tried,
		     uint64_t key, struct lease *lease)
{
	const struct pool *pool = view->pool;
	bool wary = tried && tried->wary;
	if (key || (tried && tried->n))
		return false;
	view->try_us = pw->loop->now_us + ODD_LOOK_US;
	for (uint32_t i = odd_next_try(view, 0, wary); i < pool->n;
	     i = odd_next_try(view, i + 1, wary)) {
		if (pool_take_index(view, i, lease) == POOL_TAKEN) {
			lease->is_try = true;
			return true;
		}
		odd_try_failed(pool->backends[i], pw->loop->now_us);
	}
	return false;
}

enum pool_verdict pool_take(struct pool_view *view, struct pool_worker *pw,
			    const struct pool_tried *tried, uint64_t key, struct lease *lease)
{
	const struct pool *pool = view->pool;
	lease->backend = NULL;
	if (unlikely(pw->loop->now_us >= view->try_us) && take_try(view, pw, tried, key, lease))
		return POOL_TAKEN;
	if (likely(view->plain && (!tried || tried->n == 0))) {
		uint32_t i = pick(view, pw, 0, key, tried, view->eligible);
		if (likely(i != STRATEGY_NONE && claim(pool, pw, i, 0) == POOL_TAKEN))
			return taken(view, 0, i, key, lease);
	}
	enum pool_verdict verdict = must_wait(view, pw, tried);
	return verdict != POOL_TAKEN ? verdict : pool_take_slot(view, pw, tried, key, lease);
}
