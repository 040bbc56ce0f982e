/* SPDX-License-Identifier: MIT */
/*
 * auto: least-request, with a memory for who is slow.
 *
 * Counts in flight alone cannot keep a quiet pool away from a slow backend: as
 * soon as it is idle it is as good as the others.  So each backend has a latency
 * level (level.h), shared by all workers, and one that is clearly above the
 * pool's is called slow.  While nobody is slow, this is least-request to the
 * letter: noise decides nothing.  A slow one counts as busier by the square of
 * its ratio, so it is left out while the others have room and used when they have
 * none (their own latency rises with their queues, and the ratio falls).
 *
 * What is left alone cannot show that it has recovered.  So a slow backend gets
 * one exchange a second from all workers together, however many requests there
 * are: at 4000 a second that is less than one in a thousand.  An answer in time
 * earns it the next exchange at once, and a few in a row its share.  A request
 * that cannot be repeated is let off, as long as another comes within half a second.
 *
 *        above ENTER                      the mean back below LEAVE
 *   equal ----------> slow -- 1/s --> tried ------------------------> equal
 *                      ^                |  ^ in time: again at once
 *                      +---- late ------+--+
 *
 * An error counts as an answer after a second at least: failing fast is not
 * fast.  ERRORS_MAX in a row make a backend slow before the others have answered
 * at all.  Errors of all backends alike move the pool's level, and as slow as
 * everybody is as good as anybody.
 *
 * Looking at every backend costs a cache line each: up to 64 that is cheap, and
 * finds the idle one.  Above, two are drawn (power of two choices), which reads
 * two counters however many there are; who is slow is worked out ten times a
 * second.
 */
#include <string.h>

#include "draw.h"
#include "level.h"
#include "strategies.h"

#include "weir/base/bitset.h"

/* Backends up to which every counter is looked at. */
#define EXACT_MAX 64

/* Draws before the look at all, which cost a cache line each and often find an idle one. */
#define IDLE_TRIES 3

/* Draws for one that is not slow in a sampled pool. */
#define FAST_TRIES 6

/* Slow from 2.8 times the pool's latency on, until below twice. */
#define ENTER (LEVEL_ONE * 3 / 2)
#define LEAVE LEVEL_ONE

/* Answers before anything is concluded, and the mean's memory. */
#define SAMPLES_MIN 4
#define SAMPLES_MAX 32

/* Part of a good answer of a slow backend in its mean: a few make it forget. */
#define RECOVERY_GAIN 2

#define ERROR_US 1000000
#define ERRORS_MAX 5

/* Between two exchanges of one slow backend, and how many of them the pool does in that time. */
#define EXPLORE_US 1000000
#define EXPLORE_MAX 3

/* As many times longer for one that still owes an answer, and when to look at it again. */
#define BUSY_GAPS 4
#define BUSY_LOOK_US 10000

#define LOOK_US 20000
#define LOOK_SAMPLED_US 100000

/* memory.level: the mean in the low bits, the number of samples above. */
#define COUNT_SHIFT 24
#define LEVEL_MASK ((UINT32_C(1) << COUNT_SHIFT) - 1)

/* As far above the others as one counts that only fails. */
#define FAILING (LEVEL_ONE * 10)

/* Quarters of a level up to 2^40 us. */
#define GRID (LEVEL_ONE / 4)
#define N_GRID (41 * 4)

struct auto_table {
	const struct draw_table *draw;
	bool exact;
};

struct auto_local {
	uint64_t look_us;    /* when to find out anew who is slow */
	uint64_t explore_us; /* when a slow one may be tried next, at the earliest */
	uint64_t wary_us;    /* the same by a wary request */
	uint32_t pool_level;
	uint32_t n_slow;
	uint32_t *factors; /* [n] of slow ones: how much busier they count, 24.8 fixed point */
	uint64_t slow[];   /* bitset, then factors */
};

static const struct strategy_table *auto_build(const struct strategy_member *members, uint32_t n,
					       const struct strategy_options *options,
					       struct arena *arena)
{
	(void)options;
	struct auto_table *table = arena_zalloc(arena, sizeof(*table));
	table->draw = draw_table_new(members, n, arena);
	table->exact = table->draw->n_columns <= EXACT_MAX;
	return (const struct strategy_table *)table;
}

static size_t auto_local_size(const struct strategy_table *opaque)
{
	const struct draw_table *draw = ((const struct auto_table *)opaque)->draw;
	return sizeof(struct auto_local) + draw->n_words * sizeof(uint64_t) +
	       draw->n * sizeof(uint32_t);
}

static void auto_local_init(const struct strategy_table *opaque, void *opaque_local,
			    uint64_t random)
{
	const struct draw_table *draw = ((const struct auto_table *)opaque)->draw;
	struct auto_local *local = opaque_local;
	(void)random;
	local->factors = (uint32_t *)&local->slow[draw->n_words];
}

/* ---- who is slow ---- */

static uint32_t memory_of(const struct strategy_loads *loads, uint32_t i)
{
	return atomic_load_explicit(&loads->memory[i]->level, memory_order_relaxed);
}

static void set_slow(struct auto_local *local, uint32_t i, uint32_t above)
{
	if (!bitset_has(local->slow, i)) {
		bitset_put(local->slow, i);
		local->n_slow++;
		local->explore_us = local->wary_us = 0;
	}
	local->factors[i] = level_factor(2 * above);
}

static void set_equal(struct auto_local *local, uint32_t i)
{
	if (bitset_has(local->slow, i)) {
		bitset_del(local->slow, i);
		local->n_slow--;
	}
}

static uint32_t above_pool(const struct strategy_loads *loads, uint32_t i, uint32_t pool_level)
{
	uint32_t level = memory_of(loads, i) & LEVEL_MASK;
	return level > pool_level ? level - pool_level : 0;
}

static bool is_failing(const struct strategy_loads *loads, uint32_t i)
{
	return atomic_load_explicit(&loads->memory[i]->errors, memory_order_relaxed) >= ERRORS_MAX;
}

static bool is_slow(const struct strategy_loads *loads, uint32_t i, uint32_t pool_level,
		    uint32_t limit)
{
	return is_failing(loads, i) || (memory_of(loads, i) >> COUNT_SHIFT >= SAMPLES_MIN &&
					pool_level && above_pool(loads, i, pool_level) > limit);
}

static void judge(struct auto_local *local, const struct strategy_loads *loads, uint32_t i)
{
	uint32_t limit = bitset_has(local->slow, i) ? LEAVE : ENTER;
	if (is_slow(loads, i, local->pool_level, limit))
		set_slow(local, i,
			 is_failing(loads, i) ? FAILING : above_pool(loads, i, local->pool_level));
	else
		set_equal(local, i);
}

/*
 * The pool's level: that of the backend which a quarter are faster than.  Not
 * the fastest: of many equal ones that is an extreme.  0: not known.
 */
static uint32_t find_level(const struct draw_table *draw, const uint64_t *eligible,
			   const struct strategy_loads *loads)
{
	uint16_t counts[N_GRID] = {0};
	uint32_t n = 0, g = 0;
	for (uint32_t w = 0; w < draw->n_words; w++) {
		for (uint64_t b = eligible[w] & draw->weighted[w]; b; b &= b - 1) {
			uint32_t memory = memory_of(loads, w * 64 + (uint32_t)__builtin_ctzll(b));
			if (memory >> COUNT_SHIFT < SAMPLES_MIN)
				continue;
			uint32_t at = (memory & LEVEL_MASK) / GRID;
			counts[at < N_GRID ? at : N_GRID - 1]++;
			n++;
		}
	}
	if (n < 2)
		return 0;
	for (uint32_t left = (n - 1) / 4; left >= counts[g]; g++)
		left -= counts[g];
	return g * GRID + GRID / 2;
}

static void look(const struct auto_table *table, struct auto_local *local, const uint64_t *eligible,
		 const struct strategy_loads *loads, uint64_t now_us)
{
	const struct draw_table *draw = table->draw;
	local->look_us = now_us + (table->exact ? LOOK_US : LOOK_SAMPLED_US);
	local->pool_level = find_level(draw, eligible, loads);
	for (uint32_t w = 0; w < draw->n_words; w++)
		for (uint64_t b = draw->weighted[w]; b; b &= b - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(b);
			judge(local, loads, i);
		}
}

/* Half way back to the pool, in orders of magnitude. */
static bool is_recovering(const struct auto_local *local, uint32_t level, uint32_t mean)
{
	return level < local->pool_level + LEAVE / 2 || level < local->pool_level / 2 + mean / 2;
}

/* Shared by all workers: a sample that gets lost between load and store does no harm. */
static uint32_t learn(struct auto_local *local, struct strategy_memory *memory, uint32_t i,
		      const struct strategy_result *result)
{
	uint64_t took = result->duration_us;
	if (result->error && took < ERROR_US)
		took = ERROR_US;
	uint32_t before = atomic_load_explicit(&memory->level, memory_order_relaxed);
	uint32_t n = before >> COUNT_SHIFT, level = level_of(took);
	int32_t gain = (int32_t)(n < SAMPLES_MAX ? n + 1 : SAMPLES_MAX);
	if (unlikely(bitset_has(local->slow, i)) && !result->error &&
	    is_recovering(local, level, before & LEVEL_MASK)) {
		gain = RECOVERY_GAIN;
		local->explore_us = local->wary_us = 0;
		atomic_store_explicit(&memory->explored_us, 0, memory_order_relaxed);
	}
	int32_t mean = (int32_t)(before & LEVEL_MASK);
	mean += ((int32_t)level - mean) / gain;
	uint32_t after = (n < SAMPLES_MAX ? n + 1 : n) << COUNT_SHIFT | (uint32_t)mean;
	atomic_store_explicit(&memory->level, after, memory_order_relaxed);
	return (uint32_t)mean;
}

/* Writes only when something changes: a success after a success is the rule. */
static bool note_error(struct strategy_memory *memory, bool error)
{
	uint32_t errors = atomic_load_explicit(&memory->errors, memory_order_relaxed);
	if (unlikely(error || errors)) {
		errors = error ? errors + (errors < ERRORS_MAX) : 0;
		atomic_store_explicit(&memory->errors, errors, memory_order_relaxed);
	}
	return errors >= ERRORS_MAX;
}

static void auto_done(const struct strategy_table *opaque, void *opaque_local,
		      const struct strategy_loads *loads, uint32_t i,
		      const struct strategy_result *result)
{
	struct auto_local *local = opaque_local;
	(void)opaque;
	if (result->duration_us == 0)
		return;
	bool failing = note_error(loads->memory[i], result->error);
	uint32_t mean = learn(local, loads->memory[i], i, result);
	if (unlikely(local->n_slow || failing ||
		     (local->pool_level && mean > local->pool_level + ENTER)))
		judge(local, loads, i);
}

/* ---- picks ---- */

/* Between two exchanges of one slow backend. */
static uint64_t explore_gap(const struct auto_local *local)
{
	if (local->n_slow <= EXPLORE_MAX)
		return EXPLORE_US;
	return (uint64_t)EXPLORE_US * local->n_slow / EXPLORE_MAX;
}

/*
 * Claims backend i before other workers, if its time has come; else `*next` is
 * brought forward to when that will be.  One that still owes an answer waits
 * longer, but not for ever: it may be a long download.
 */
static bool claim_turn(uint64_t gap, const struct strategy_loads *loads, uint32_t i,
		       uint64_t now_us, uint64_t *next)
{
	_Atomic uint64_t *explored = &loads->memory[i]->explored_us;
	uint64_t last = atomic_load_explicit(explored, memory_order_relaxed);
	if (now_us >= last + gap &&
	    (strategy_load(loads, i) == 0 || now_us >= last + gap * BUSY_GAPS) &&
	    atomic_compare_exchange_strong_explicit(explored, &last, now_us, memory_order_relaxed,
						    memory_order_relaxed))
		return true;
	uint64_t due = last + gap > now_us ? last + gap : now_us + BUSY_LOOK_US;
	*next = due < *next ? due : *next;
	return false;
}

/* A slow one whose turn it is, or STRATEGY_NONE. */
static uint32_t explore(const struct draw_table *draw, struct auto_local *local,
			const uint64_t *eligible, const struct strategy_loads *loads,
			const struct strategy_input *input)
{
	uint64_t now_us = input->now_us, next = now_us + EXPLORE_US;
	uint64_t gap = explore_gap(local);
	gap += input->wary ? gap / 2 : 0;
	for (uint32_t w = 0; w < draw->n_words; w++) {
		for (uint64_t b = local->slow[w] & eligible[w]; b; b &= b - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(b);
			if (claim_turn(gap, loads, i, now_us, &next))
				return i;
		}
	}
	*(input->wary ? &local->wary_us : &local->explore_us) = next;
	return STRATEGY_NONE;
}

/* 0 when idle and not slow, else in flight + 1, and more for a slow one; 24.8 fixed point. */
static uint64_t cost_of(const struct auto_local *local, const struct strategy_loads *loads,
			uint32_t i)
{
	uint64_t load = strategy_load(loads, i);
	if (unlikely(local->n_slow && bitset_has(local->slow, i)))
		return (load + 1) * local->factors[i];
	return load ? (load + 1) << 8 : 0;
}

/* The cheapest for its weight; ties by a draw in proportion to weight, as in least_request.c. */
static uint32_t cheapest(const struct draw_table *draw, const struct auto_local *local,
			 const uint64_t *eligible, const struct strategy_loads *loads,
			 uint64_t random)
{
	uint32_t best = STRATEGY_NONE;
	uint64_t best_cost = 0, best_weight = 1, tied = 0;
	for (uint32_t w = 0; w < draw->n_words; w++) {
		for (uint64_t b = eligible[w] & draw->weighted[w]; b; b &= b - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(b);
			uint64_t cost = cost_of(local, loads, i), weight = draw->weights[i];
			uint64_t mine = cost * best_weight, theirs = best_cost * weight;
			if (best != STRATEGY_NONE && mine > theirs)
				continue;
			tied = best == STRATEGY_NONE || mine < theirs ? weight : tied + weight;
			random =
			    random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			if ((random >> 32) * tied >> 32 >= weight)
				continue;
			best = i;
			best_cost = cost;
			best_weight = weight;
		}
	}
	return best;
}

static uint32_t pick_exact(const struct draw_table *draw, const struct auto_local *local,
			   const struct strategy_input *input, const uint64_t *eligible,
			   const struct strategy_loads *loads)
{
	struct draws draws = draws_of(input->random);
	for (int try = 0; try < IDLE_TRIES; try++) {
		uint32_t i = draw_any(draw, draws_next(&draws));
		if (bitset_has(eligible, i) && cost_of(local, loads, i) == 0)
			return i;
	}
	return cheapest(draw, local, eligible, loads, draws_next(&draws));
}

/* One that is not slow, if a few draws find one. */
static uint32_t draw_fast(const struct draw_table *draw, const struct auto_local *local,
			  const uint64_t *eligible, uint32_t except, struct draws *draws)
{
	uint32_t i = draw_one(draw, eligible, except, draws);
	if (likely(local->n_slow == 0 || i == STRATEGY_NONE))
		return i;
	for (int try = 0; bitset_has(local->slow, i) && try < FAST_TRIES; try++) {
		uint32_t other = draw_one(draw, eligible, except, draws);
		i = bitset_has(local->slow, other) ? i : other;
	}
	return i;
}

static uint32_t cheaper(const struct draw_table *draw, const struct auto_local *local,
			const struct strategy_loads *loads, uint32_t a, uint32_t b)
{
	uint64_t cost_a = cost_of(local, loads, a), cost_b = cost_of(local, loads, b);
	return cost_b * draw->weights[a] < cost_a * draw->weights[b] ? b : a;
}

static uint32_t pick_sampled(const struct draw_table *draw, const struct auto_local *local,
			     const struct strategy_input *input, const uint64_t *eligible,
			     const struct strategy_loads *loads)
{
	struct draws draws = draws_of(input->random);
	uint32_t a = draw_fast(draw, local, eligible, STRATEGY_NONE, &draws);
	if (a == STRATEGY_NONE)
		return a;
	uint32_t b = draw_fast(draw, local, eligible, a, &draws);
	if (b == STRATEGY_NONE)
		return a;
	a = cheaper(draw, local, loads, a, b);
	if (likely(local->n_slow == 0))
		return a;
	/* any one, slow or not: so that slow ones help when the others have no room */
	return cheaper(draw, local, loads, a, draw_one(draw, eligible, STRATEGY_NONE, &draws));
}

static uint32_t auto_pick(const struct strategy_table *opaque, void *opaque_local,
			  const struct strategy_input *input, const uint64_t *eligible,
			  const struct strategy_loads *loads)
{
	const struct auto_table *table = (const struct auto_table *)opaque;
	const struct draw_table *draw = table->draw;
	struct auto_local *local = opaque_local;
	if (draw->n_columns == 0)
		return STRATEGY_NONE;
	if (unlikely(input->now_us >= local->look_us))
		look(table, local, eligible, loads, input->now_us);
	if (unlikely(local->n_slow &&
		     input->now_us >= (input->wary ? local->wary_us : local->explore_us))) {
		uint32_t i = explore(draw, local, eligible, loads, input);
		if (i != STRATEGY_NONE)
			return i;
	}
	return table->exact ? pick_exact(draw, local, input, eligible, loads)
			    : pick_sampled(draw, local, input, eligible, loads);
}

/* What a worker that looks now would find; members are told by their index. */
static void auto_dump(const struct strategy_table *opaque, const struct strategy_loads *loads,
		      struct json *out)
{
	const struct auto_table *table = (const struct auto_table *)opaque;
	const struct draw_table *draw = table->draw;
	uint32_t pool_level = find_level(draw, draw->weighted, loads);
	json_member_text(out, "uses", table->exact ? "least-request" : "p2c");
	json_member_u64(out, "latency_us", level_us(pool_level));
	json_key(out, "slow");
	json_array_begin(out);
	for (uint32_t i = 0; i < draw->n; i++)
		if (draw->weights[i] && is_slow(loads, i, pool_level, ENTER))
			json_u64(out, i);
	json_array_end(out);
}

const struct strategy strategy_auto = {
    STRATEGY_ROW(auto),
    .build = auto_build,
    .local_size = auto_local_size,
    .local_init = auto_local_init,
    .pick = auto_pick,
    .done = auto_done,
    .dump = auto_dump,
};
