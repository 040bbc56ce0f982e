/* SPDX-License-Identifier: MIT */
/*
 * prequal (Wydrowski et al., NSDI 2024): probing for requests in flight and
 * latency, and picking hot-cold lexicographically: among the backends that are
 * not hot, the one with the least latency, else the one with the least in flight.
 *
 * Each worker keeps a small pool of probe answers, each good for a second and a
 * few uses.  What a probe asks for lies in the backends' memory here: in flight
 * from this process, exactly; in flight at the backend from everybody, when it
 * says so in a load report (ORCA, in responses and in answers to health/load.c)
 * less than a second ago; and the latency that was seen lately with about so many
 * in flight.  So a probe costs a pick two loads and no request, and is never late.
 *
 * Tuned as simulation advises for backends of few workers: hot is what is above
 * the median, latencies are compared on a grid of factors of two (noise does not
 * decide), ties go to the fewer in flight.  A backend that has just failed is hot
 * for a second, whatever it says: a broken one looks idle.
 */
#include "prequal.h"

#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "level.h"
#include "strategies.h"

#include "weir/base/bitset.h"
#include "weir/base/defs.h"
#include "weir/base/rng.h"

#define DELTA 1    /* uses above what keeps the pool from running dry */
#define USES_MAX 4 /* of an answer in a small set, where the formula has no solution */
#define AGE_US 1000000
#define AVERSION_US 1000000
#define REPORT_US 1000000

/* The quantile of recent answers above which a backend is hot, and how many count. */
#define HOT_PERCENT 50 /* unless configured */
#define RECENT 128
#define RECENT_EVERY 16

#define SAMPLES_MAX 16
#define COUNT_SHIFT 24
#define LEVEL_MASK ((UINT32_C(1) << COUNT_SHIFT) - 1)

/* In flight for its weight, in 1/RIF_ONE. */
#define RIF_ONE 16

struct answer {
	uint32_t backend;
	uint32_t rif;   /* for its weight */
	uint32_t level; /* of latency */
	uint32_t uses;
	bool overdue; /* nothing is known: its one use is to find out */
	uint64_t at_us;
};

struct prequal_table {
	const struct draw_table *draw;
	uint64_t mean_weight;
	double uses; /* of an answer */
	uint32_t hot_percent;
};

struct prequal_local {
	uint32_t n;
	uint32_t hot_above;
	uint32_t n_picks;
	uint32_t at; /* in recent */
	bool remove_worst;
	struct answer pool[PREQUAL_POOL]; /* oldest first */
	uint32_t recent[RECENT];
};

double prequal_uses(uint32_t pool, uint32_t n)
{
	double rate = n ? (1 - (double)pool / n) * PREQUAL_PROBES - PREQUAL_REMOVED : 0;
	if (rate <= 0) {
		uint32_t uses = n ? pool / n + 1 : 1;
		return uses < USES_MAX ? uses : USES_MAX;
	}
	double uses = (1 + DELTA) / rate;
	return uses < 1 ? 1 : uses > USES_MAX ? USES_MAX : uses;
}

static const struct strategy_table *prequal_build(const struct strategy_member *members, uint32_t n,
						  const struct strategy_options *options,
						  struct arena *arena)
{
	struct prequal_table *table = arena_zalloc(arena, sizeof(*table));
	uint64_t total = 0;
	table->hot_percent = options->hot_percent ? options->hot_percent : HOT_PERCENT;
	table->draw = draw_table_new(members, n, arena);
	for (uint32_t i = 0; i < n; i++)
		total += members[i].weight;
	uint32_t n_weighted = table->draw->n_columns;
	table->mean_weight = n_weighted ? (total + n_weighted - 1) / n_weighted : 1;
	table->uses = prequal_uses(PREQUAL_POOL, n_weighted);
	return (const struct strategy_table *)table;
}

static size_t prequal_local_size(const struct strategy_table *table)
{
	(void)table;
	return sizeof(struct prequal_local);
}

/* ---- what is known of a backend ---- */

static unsigned tag_of(uint32_t in_flight)
{
	unsigned tag = in_flight ? 32 - (unsigned)__builtin_clz(in_flight) : 0;
	return tag < STRATEGY_TAGS ? tag : STRATEGY_TAGS - 1;
}

/* The mean level seen with the nearest number in flight; 0: never answered. */
static uint32_t level_near(const struct strategy_memory *memory, uint32_t in_flight)
{
	int tag = (int)tag_of(in_flight);
	for (int off = 0; off < STRATEGY_TAGS; off++) {
		for (int side = 0; side < 2; side++) {
			int t = side ? tag - off : tag + off;
			if (t < 0 || t >= STRATEGY_TAGS)
				continue;
			uint32_t level =
			    atomic_load_explicit(&memory->tagged[t], memory_order_relaxed);
			if (level)
				return level & LEVEL_MASK;
		}
	}
	return 0;
}

static uint32_t in_flight_of(const struct strategy_loads *loads, uint32_t i, uint64_t now_us)
{
	uint32_t own = strategy_load(loads, i);
	uint64_t report = atomic_load_explicit(&loads->memory[i]->report, memory_order_relaxed);
	struct strategy_report said = strategy_report_unpack(report);
	if (report == 0 || said.in_flight <= own || now_us - said.at_us > REPORT_US)
		return own;
	return said.in_flight;
}

static void prequal_done(const struct strategy_table *opaque, void *local,
			 const struct strategy_loads *loads, uint32_t i,
			 const struct strategy_result *result)
{
	struct strategy_memory *memory = loads->memory[i];
	(void)opaque;
	(void)local;
	if (result->error)
		atomic_store_explicit(&memory->averse_us, result->now_us + AVERSION_US,
				      memory_order_relaxed);
	if (result->error || result->duration_us == 0)
		return;
	atomic_store_explicit(&memory->asked_us, result->now_us, memory_order_relaxed);
	_Atomic uint32_t *tagged = &memory->tagged[tag_of(result->others)];
	uint32_t before = atomic_load_explicit(tagged, memory_order_relaxed);
	uint32_t n = before >> COUNT_SHIFT;
	int32_t mean = (int32_t)(before & LEVEL_MASK);
	n = n < SAMPLES_MAX ? n + 1 : n;
	mean += ((int32_t)level_of(result->duration_us) - mean) / (int32_t)n;
	/* a sample that another worker overwrites does no harm */
	atomic_store_explicit(tagged, n << COUNT_SHIFT | (uint32_t)mean, memory_order_relaxed);
}

/* ---- the pool of answers ---- */

static void drop(struct prequal_local *local, uint32_t k)
{
	local->n--;
	memmove(&local->pool[k], &local->pool[k + 1], (local->n - k) * sizeof(local->pool[0]));
}

/*
 * One answer a backend: the newer replaces the older, the oldest makes room.  But
 * one that is overdue keeps its only chance in a second.
 */
static void add(struct prequal_local *local, struct answer answer)
{
	uint32_t k = 0;
	while (k < local->n && local->pool[k].backend != answer.backend)
		k++;
	if (k < local->n && local->pool[k].overdue)
		return;
	if (k < local->n)
		drop(local, k);
	else if (local->n == PREQUAL_POOL)
		drop(local, 0);
	local->pool[local->n++] = answer;
	local->recent[local->at++ % RECENT] = answer.rif;
}

/*
 * Whoever is not picked gives no answers, and what is known of it grows stale:
 * after a second without any, one pick of all workers' is worth finding out.
 */
static bool is_overdue(struct strategy_memory *memory, uint32_t in_flight, uint64_t now_us)
{
	uint64_t last = atomic_load_explicit(&memory->asked_us, memory_order_relaxed);
	return in_flight == 0 && now_us > last + AGE_US &&
	       atomic_compare_exchange_strong_explicit(&memory->asked_us, &last, now_us,
						       memory_order_relaxed, memory_order_relaxed);
}

static void probe(const struct prequal_table *table, struct prequal_local *local,
		  const struct strategy_input *input, const struct strategy_loads *loads,
		  uint32_t i, uint64_t random)
{
	struct strategy_memory *memory = loads->memory[i];
	uint32_t in_flight = in_flight_of(loads, i, input->now_us);
	uint64_t rif = in_flight * RIF_ONE * table->mean_weight / table->draw->weights[i];
	bool averse =
	    atomic_load_explicit(&memory->averse_us, memory_order_relaxed) > input->now_us;
	uint32_t uses = (uint32_t)table->uses;
	uses += (uint32_t)random < (table->uses - uses) * 4294967296.0;
	bool overdue = !averse && is_overdue(memory, in_flight, input->now_us);
	add(local, (struct answer){
		       .backend = i,
		       .rif = averse || rif > UINT32_MAX ? UINT32_MAX : (uint32_t)rif,
		       .level = overdue ? 0 : level_near(memory, in_flight),
		       .uses = overdue ? 1 : uses,
		       .overdue = overdue,
		       .at_us = input->now_us,
		   });
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static void find_hot(const struct prequal_table *table, struct prequal_local *local)
{
	uint32_t sorted[RECENT], n = local->at < RECENT ? local->at : RECENT;
	if (local->n_picks++ % RECENT_EVERY != 0 || n == 0)
		return;
	memcpy(sorted, local->recent, n * sizeof(sorted[0]));
	qsort(sorted, n, sizeof(sorted[0]), by_value);
	local->hot_above = sorted[(uint64_t)n * table->hot_percent / 100];
}

/* Less is better: cold before hot; cold by latency, then in flight; hot by in flight. */
static uint64_t rank_of(const struct prequal_local *local, const struct answer *a)
{
	if (a->rif > local->hot_above)
		return UINT64_C(1) << 63 | a->rif;
	return (uint64_t)(a->level / LEVEL_ONE) << 32 | a->rif;
}

static void forget_old(struct prequal_local *local, uint64_t now_us)
{
	uint32_t k = 0;
	while (k < local->n && now_us - local->pool[k].at_us > AGE_US)
		k++;
	local->n -= k;
	memmove(local->pool, local->pool + k, local->n * sizeof(local->pool[0]));
}

/* By turns the oldest and the worst. */
static void remove_one(struct prequal_local *local)
{
	uint32_t worst = 0;
	if (local->n <= 2)
		return;
	local->remove_worst = !local->remove_worst;
	for (uint32_t k = 1; local->remove_worst && k < local->n; k++)
		if (rank_of(local, &local->pool[k]) > rank_of(local, &local->pool[worst]))
			worst = k;
	drop(local, worst);
}

/* The best answer of an eligible backend is used; ties go to a random one. */
static uint32_t use_best(const struct prequal_table *table, struct prequal_local *local,
			 const uint64_t *eligible, uint64_t random)
{
	uint32_t best = PREQUAL_POOL, n_eligible = 0, tied = 0;
	uint64_t least = 0;
	for (uint32_t k = 0; k < local->n; k++) {
		if (!bitset_has(eligible, local->pool[k].backend))
			continue;
		uint64_t rank = rank_of(local, &local->pool[k]);
		n_eligible++;
		if (best < PREQUAL_POOL && rank > least)
			continue;
		tied = best == PREQUAL_POOL || rank < least ? 1 : tied + 1;
		random = hash_mix(random + k);
		if (rng_scale((uint32_t)random, tied) == 0)
			best = k;
		least = rank;
	}
	if (n_eligible < 2)
		return STRATEGY_NONE;
	struct answer *a = &local->pool[best];
	uint32_t i = a->backend;
	if (a->rif < UINT32_MAX - RIF_ONE)
		a->rif += (uint32_t)(RIF_ONE * table->mean_weight / table->draw->weights[i]);
	if (--a->uses == 0)
		drop(local, best);
	return i;
}

static uint32_t prequal_pick(const struct strategy_table *opaque, void *opaque_local,
			     const struct strategy_input *input, const uint64_t *eligible,
			     const struct strategy_loads *loads)
{
	const struct prequal_table *table = (const struct prequal_table *)opaque;
	struct prequal_local *local = opaque_local;
	struct draws draws = draws_of(input->random);
	uint32_t last = STRATEGY_NONE;
	forget_old(local, input->now_us);
	for (int k = 0; k < PREQUAL_PROBES; k++) {
		last = draw_one(table->draw, eligible, last, &draws);
		if (last == STRATEGY_NONE)
			break;
		probe(table, local, input, loads, last, draws_next(&draws));
	}
	find_hot(table, local);
	uint32_t i = use_best(table, local, eligible, draws_next(&draws));
	if (i == STRATEGY_NONE)
		return draw_one(table->draw, eligible, STRATEGY_NONE, &draws);
	for (int k = 0; k < PREQUAL_REMOVED; k++)
		remove_one(local);
	return i;
}

/* What each backend said it has in flight when it said something last, by index. */
static void prequal_dump(const struct strategy_table *opaque, const struct strategy_loads *loads,
			 struct json *out)
{
	const struct prequal_table *table = (const struct prequal_table *)opaque;
	json_member_double(out, "uses_of_an_answer", table->uses);
	json_key(out, "reported");
	json_array_begin(out);
	for (uint32_t i = 0; i < table->draw->n; i++) {
		uint64_t report =
		    atomic_load_explicit(&loads->memory[i]->report, memory_order_relaxed);
		json_u64(out, strategy_report_unpack(report).in_flight);
	}
	json_array_end(out);
}

const struct strategy strategy_prequal = {
    STRATEGY_ROW(prequal), .build = prequal_build, .local_size = prequal_local_size,
    .pick = prequal_pick,  .done = prequal_done,   .dump = prequal_dump,
};
