/* SPDX-License-Identifier: MIT */
/*
 * Who may be picked: from states, weights and the worker's own experience to
 * eligibility bits, the share of its picks that a backend keeps, and the part of
 * the exchanges that begins in each tier.
 *
 * Worked out on a change, never on the request path; a pick reads the result.
 */
#include <string.h>

#include "weir/base/bitset.h"
#include "weir/pool/pool.h"

/* Slow start begins with a tenth. */
#define RAMP_FLOOR (SHARE_FULL / 10)

/* In smaller tiers half of the backends down is an ordinary day, not a wrong verdict. */
#define PANIC_MIN_BACKENDS 6

static size_t words_of(const struct pool *pool)
{
	return BITSET_WORDS(pool->n);
}

static uint32_t count_both(const uint64_t *a, const uint64_t *b, size_t words)
{
	uint32_t n = 0;
	for (size_t w = 0; w < words; w++)
		n += bits_count(a[w] & b[w]);
	return n;
}

/* ---- states ---- */

static bool is_in_state(const struct pool *pool, uint32_t i, enum backend_state state)
{
	return pool->weights[i] > 0 && backend_state(pool->backends[i]) == state;
}

/*
 * Ejected ones that may be well: their check passes, or there is none.  Traffic spoke
 * against them, but when nobody else is left, or nobody else can be reached, they
 * are better than no backend at all.
 */
static bool fill_resort(const struct pool *pool, uint64_t *bits)
{
	for (uint32_t i = 0; i < pool->n; i++)
		bitset_assign(
		    bits, i,
		    is_in_state(pool, i, BACKEND_ejected) &&
			atomic_load_explicit(&pool->backends[i]->resort, memory_order_relaxed));
	return !bitset_is_empty(bits, pool->n);
}

/*
 * All that are known to be good; those not checked yet only when there is none, and
 * ejected ones only when there is none of these either: a tier that stands by comes
 * before them.  True when there is any.
 */
static bool fill_usable(const struct pool *pool, uint64_t *bits)
{
	for (uint32_t i = 0; i < pool->n; i++)
		bitset_assign(bits, i, is_in_state(pool, i, BACKEND_up));
	if (!bitset_is_empty(bits, pool->n))
		return true;
	for (uint32_t i = 0; i < pool->n; i++)
		bitset_assign(bits, i, is_in_state(pool, i, BACKEND_unknown));
	return !bitset_is_empty(bits, pool->n) || fill_resort(pool, bits);
}

/* Adds those that only health keeps out; false when the tier is in no state to panic. */
static bool panic_tier(const struct pool *pool, const uint64_t *members, uint64_t *bits)
{
	uint32_t n_sick = 0, n_good = 0;
	for (uint32_t i = bitset_next(members, pool->n, 0); i < pool->n;
	     i = bitset_next(members, pool->n, i + 1)) {
		bool good = bitset_has(bits, i);
		n_sick += !good && (is_in_state(pool, i, BACKEND_down) ||
				    is_in_state(pool, i, BACKEND_ejected));
		n_good += good;
	}
	uint32_t n = n_sick + n_good;
	if (n < PANIC_MIN_BACKENDS || n_good >= pool->conf->panic * n)
		return false;
	for (uint32_t i = bitset_next(members, pool->n, 0); i < pool->n;
	     i = bitset_next(members, pool->n, i + 1))
		if (is_in_state(pool, i, BACKEND_down) || is_in_state(pool, i, BACKEND_ejected))
			bitset_put(bits, i);
	return true;
}

/* ---- tiers ---- */

static uint32_t n_weighted(const struct pool *pool, const uint64_t *members)
{
	uint32_t n = 0;
	for (uint32_t i = bitset_next(members, pool->n, 0); i < pool->n;
	     i = bitset_next(members, pool->n, i + 1))
		n += pool->weights[i] > 0;
	return n;
}

/* How much of the whole load the tier could carry, in percent. */
static unsigned tier_health(const struct pool *pool, const uint64_t *members, const uint64_t *bits)
{
	uint32_t total = n_weighted(pool, members);
	uint32_t up = count_both(members, bits, words_of(pool));
	if (up == 0)
		return 0;
	if (pool->conf->overprovision <= 0)
		return 100;
	double percent = pool->conf->overprovision * 100 * up / total;
	return percent < 1 ? 1 : percent > 100 ? 100 : (unsigned)percent;
}

/*
 * Envoy's priority levels: each tier takes what its health allows of what the
 * tiers before it left; together they take all.  True when their health is
 * enough for everything.
 */
static bool load_tiers(const struct pool *pool, const uint64_t *bits, uint8_t *load)
{
	unsigned sum = 0, left = 100, last = 0;
	for (uint32_t t = 0; t < pool->n_tiers; t++) {
		load[t] = (uint8_t)tier_health(pool, pool->tiers[t].members, bits);
		sum += load[t];
	}
	unsigned norm = sum < 100 ? sum : 100;
	for (uint32_t t = 0; t < pool->n_tiers && norm; t++) {
		unsigned part = (load[t] * 100 + norm / 2) / norm;
		load[t] = (uint8_t)(part < left ? part : left);
		left -= load[t];
		if (load[t])
			last = t;
	}
	if (norm)
		load[last] += (uint8_t)left; /* what rounding lost */
	return sum >= 100;
}

/* What each tier takes; true when too little is left, and the verdicts of health are ignored. */
static bool share_out(const struct pool *pool, uint64_t *bits, uint8_t *load)
{
	bool enough = load_tiers(pool, bits, load), panicked = false;
	for (uint32_t t = 0; t < pool->n_tiers && !enough; t++)
		panicked |= panic_tier(pool, pool->tiers[t].members, bits);
	if (panicked)
		load_tiers(pool, bits, load);
	return panicked;
}

void pool_candidates(const struct pool *pool, uint64_t *bits, uint8_t percent[])
{
	fill_usable(pool, bits);
	share_out(pool, bits, percent);
}

static void find_tiers(struct pool_view *view)
{
	const struct pool *pool = view->pool;
	view->panicked = share_out(pool, view->eligible, view->tier_load);
	unsigned n_loaded = 0;
	view->first_tier = 0;
	for (uint32_t t = pool->n_tiers; t-- > 0;) {
		if (view->tier_load[t] == 0)
			continue;
		n_loaded++;
		view->first_tier = t;
	}
	view->spread = n_loaded > 1;
}

/* ---- shares ---- */

static uint64_t now_of(const struct pool_view *view)
{
	return view->sl->pw->loop->now_us;
}

/* The share slow start leaves at this time. */
static uint32_t ramp_of(const struct pool_view *view, uint32_t i)
{
	const struct pool *pool = view->pool;
	uint64_t window = pool->conf->slow_start_us;
	if (window == 0)
		return SHARE_FULL;
	uint64_t from =
	    atomic_load_explicit(&pool->backends[i]->ramp_from_us, memory_order_relaxed);
	if (from == 0)
		return SHARE_FULL;
	uint64_t past = now_of(view) > from ? now_of(view) - from : 0;
	if (past >= window)
		return SHARE_FULL;
	uint32_t share = (uint32_t)((double)past / (double)window * SHARE_FULL);
	return share < RAMP_FLOOR ? RAMP_FLOOR : share;
}

/* More than half of a tier warming up: there is nobody to spare them. */
static bool ramps_count(const struct pool_view *view, const uint64_t *members)
{
	uint32_t n = 0, n_ramping = 0;
	for (uint32_t i = bitset_next(members, view->pool->n, 0); i < view->pool->n;
	     i = bitset_next(members, view->pool->n, i + 1)) {
		if (!bitset_has(view->eligible, i))
			continue;
		n++;
		n_ramping += ramp_of(view, i) < SHARE_FULL;
	}
	return n_ramping > 0 && n_ramping * 2 <= n;
}

/* Its share now; what it had not had before it began to warm up is no longer due. */
static void set_share(struct pool_view *view, uint32_t i, uint32_t share)
{
	if (share < SHARE_FULL && view->shares[i] >= SHARE_FULL)
		view->credits[i] = 0;
	view->shares[i] = (uint16_t)(share < SHARE_FULL ? share : SHARE_FULL);
}

/*
 * A backend with half a share gets half as much as it would beside the others: as if its
 * weight were so much smaller.  Of n equal ones that is s / (n - 1 + s) of all.
 */
static void fill_earnings(struct pool_view *view, const uint64_t *members)
{
	const struct pool *pool = view->pool;
	uint64_t all = 0, counted = 0;
	for (uint32_t i = bitset_next(members, pool->n, 0); i < pool->n;
	     i = bitset_next(members, pool->n, i + 1)) {
		if (!bitset_has(view->eligible, i))
			continue;
		all += pool->weights[i];
		counted += (uint64_t)pool->weights[i] * view->shares[i];
	}
	for (uint32_t i = bitset_next(members, pool->n, 0); i < pool->n && counted;
	     i = bitset_next(members, pool->n, i + 1)) {
		if (!bitset_has(view->eligible, i) || view->shares[i] >= SHARE_FULL)
			continue;
		uint64_t mine = (uint64_t)pool->weights[i] * view->shares[i];
		/* rounded up: who is held keeps its keys */
		uint64_t keeps = (view->shares[i] * all * SHARE_FULL + counted - 1) / counted;
		view->earns[i] = (uint32_t)(mine * CREDIT_ONE / counted);
		view->keeps[i] = (uint16_t)(keeps < SHARE_FULL ? keeps : SHARE_FULL);
		view->sharing[view->n_sharing++] = i;
	}
}

/* True while somebody warms up. */
static bool fill_shares(struct pool_view *view)
{
	const struct pool *pool = view->pool;
	bool ramping = false;
	view->n_sharing = 0;
	for (uint32_t t = 0; t < pool->n_tiers; t++) {
		const uint64_t *members = pool->tiers[t].members;
		bool ramps = pool->conf->slow_start_us && ramps_count(view, members);
		for (uint32_t i = bitset_next(members, pool->n, 0); i < pool->n;
		     i = bitset_next(members, pool->n, i + 1)) {
			uint32_t ramp = ramp_of(view, i);
			uint32_t share = backend_share(pool->backends[i]);
			ramping |= ramp < SHARE_FULL && bitset_has(view->eligible, i);
			set_share(view, i, ramps ? share * ramp / SHARE_FULL : share);
		}
		fill_earnings(view, members);
	}
	view->shared = view->n_sharing > 0;
	return ramping;
}

/* ---- the whole ---- */

static bool is_avoided(const struct pool_view *view, uint32_t i)
{
	return view->pool->backends[i]->local[view->sl->pw->id]->avoid_until_us > now_of(view);
}

static bool any_reachable(const struct pool_view *view, const uint64_t *bits)
{
	for (uint32_t i = bitset_next(bits, view->pool->n, 0); i < view->pool->n;
	     i = bitset_next(bits, view->pool->n, i + 1))
		if (!is_avoided(view, i))
			return true;
	return false;
}

/*
 * Nobody who is up can be reached: the ejected take over, or help where they could not be
 * reached lately either, so that one that is back is found at once.  True when they do.
 */
static bool resort(struct pool_view *view)
{
	if (!view->has_resort || any_reachable(view, view->eligible))
		return false;
	bool keep = !any_reachable(view, view->resort);
	for (size_t w = 0; w < words_of(view->pool); w++)
		view->eligible[w] = view->resort[w] | (keep ? view->eligible[w] : 0);
	return true;
}

/* Takes out whom this worker avoids, unless that leaves nobody; true when there is one. */
static bool drop_avoided(struct pool_view *view)
{
	const struct pool *pool = view->pool;
	uint32_t n_avoided = 0, n_left = 0;
	for (uint32_t i = 0; i < pool->n; i++) {
		if (!bitset_has(view->eligible, i))
			continue;
		if (is_avoided(view, i))
			n_avoided++;
		else
			n_left++;
	}
	for (uint32_t i = 0; n_avoided && n_left && i < pool->n; i++) {
		if (!bitset_has(view->eligible, i) || !is_avoided(view, i))
			continue;
		bitset_del(view->eligible, i);
		bitset_put(view->resort, i);
		view->has_resort = true;
	}
	return n_avoided > 0;
}

static bool refresh(struct pool_view *view, bool avoiding)
{
	bool again = false;
	fill_usable(view->pool, view->eligible);
	view->has_resort = fill_resort(view->pool, view->resort);
	if (avoiding)
		again |= resort(view); /* those who are avoided are looked at again */
	find_tiers(view);
	if (avoiding) {
		again |= drop_avoided(view);
		again |= fill_shares(view);
	}
	odd_refresh(view);
	/* a trial needs no way of its own: who may not try it is turned away at the claim */
	view->plain = view->pool->n_tiers == 1 && !view->pool->limited && !view->shared;
	return again;
}

static void *new_local(const struct strategy *strategy, const struct strategy_table *table,
		       struct arena *arena)
{
	if (!strategy->local_size)
		return NULL;
	void *local = arena_zalloc_line(arena, strategy->local_size(table));
	if (strategy->local_init)
		strategy->local_init(table, local, rng_entropy());
	return local;
}

void pool_view_init(struct pool_view *view, struct pool *pool, struct pool_worker *pw,
		    struct arena *arena)
{
	*view = (struct pool_view){.pool = pool, .sl = pool->state->local[pw->id]};
	view->eligible = arena_array(arena, BITSET_WORDS(pool->n) + 1, sizeof(uint64_t));
	view->to_try = arena_array(arena, BITSET_WORDS(pool->n) + 1, sizeof(uint64_t));
	view->resort = arena_array(arena, BITSET_WORDS(pool->n) + 1, sizeof(uint64_t));
	view->shares = arena_array(arena, pool->n, sizeof(uint16_t));
	view->keeps = arena_array(arena, pool->n, sizeof(uint16_t));
	view->earns = arena_array(arena, pool->n, sizeof(uint32_t));
	view->credits = arena_array(arena, pool->n, sizeof(uint32_t));
	view->sharing = arena_array(arena, pool->n, sizeof(uint32_t));
	view->tier_load = arena_array(arena, pool->n_tiers, sizeof(uint8_t));
	view->locals = arena_array(arena, pool->n_tiers, sizeof(void *));
	view->fallback_locals = arena_array(arena, pool->n_tiers, sizeof(void *));
	for (uint32_t t = 0; t < pool->n_tiers; t++) {
		view->locals[t] = new_local(pool->strategy, pool->tiers[t].table, arena);
		if (pool->fallback)
			view->fallback_locals[t] =
			    new_local(pool->fallback, pool->tiers[t].fallback, arena);
	}
	refresh(view, false); /* the worker looks at its own state and clock when it takes over */
}

bool pool_view_refresh(struct pool_view *view)
{
	return refresh(view, true);
}
