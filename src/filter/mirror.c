/* SPDX-License-Identifier: MIT */
/*
 * mirror: draws the requests that are copied, and keeps what came of the copies.  The draw
 * is exact for each worker, so it is within one request a worker of the share in all.
 */
#include "weir/filter/mirror.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "filters.h"
#include "lot.h"
#include "pairs.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/hash.h"
#include "weir/base/list.h"
#include "weir/base/rng.h"
#include "weir/http/field.h"
#include "weir/stats/pack.h"

struct mirror {
	struct list link; /* control thread: in `mirrors` */
	unsigned refs;    /* control thread */
	uint64_t id;      /* of route and pool */
	_Atomic uint32_t in_flight;
	_Atomic uint32_t epoch;    /* from 1; control thread writes */
	_Atomic uint64_t since_us; /* of the epoch; the same */
	atomic_flag busy;          /* somebody reads, clears, or is at the examples */
	uint32_t next;             /* where the next one goes */
	struct mirror_example examples[MIRROR_EXAMPLES];
	unsigned n_workers;
	struct mirror_local {
		struct lot lot;
		struct mirror_counters counters;
		struct pairs pairs;
	} CACHE_ALIGNED local[];
};

/* Of one route in one generation. */
struct state {
	struct mirror *mirror;
	uint32_t share;
};

static struct list mirrors; /* control thread */

/* ---- control thread ---- */

static bool applies(const struct conf_route *route)
{
	return route->mirror.on;
}

static void mirror_free(struct mirror *mirror)
{
	for (unsigned i = 0; i < mirror->n_workers; i++)
		pairs_fini(&mirror->local[i].pairs);
	free(mirror);
}

static struct mirror *find(uint64_t id)
{
	if (!mirrors.next)
		list_init(&mirrors);
	list_each (it, &mirrors) {
		struct mirror *mirror = list_entry(it, struct mirror, link);
		if (mirror->id == id)
			return mirror;
	}
	return NULL;
}

static struct mirror *mirror_new(uint64_t id, unsigned n_workers)
{
	size_t size = sizeof(struct mirror) + n_workers * sizeof(struct mirror_local);
	struct mirror *mirror = aligned_alloc(WEIR_CACHE_LINE, size);
	check(mirror != NULL);
	memset(mirror, 0, size);
	mirror->id = id;
	mirror->epoch = 1;
	mirror->since_us = clock_us();
	mirror->n_workers = n_workers;
	for (unsigned w = 0; w < n_workers; w++)
		lot_init(&mirror->local[w].lot, rng_entropy());
	list_push_back(&mirrors, &mirror->link);
	return mirror;
}

static void *build(const struct conf *conf, const struct conf_route *route, unsigned n_workers,
		   struct str *why)
{
	struct view pool = conf->pools[route->mirror.pool].name;
	uint64_t id = hash_view(pool, hash_view(route->name, 0));
	struct mirror *mirror = find(id);
	struct state *state = calloc(1, sizeof(*state));
	(void)why;
	check(state != NULL);
	state->mirror = mirror ? mirror : mirror_new(id, n_workers);
	state->mirror->refs++;
	state->share = (uint32_t)(route->mirror.share * LOT_ALL + 0.5);
	return state;
}

static void release(void *opaque)
{
	struct state *state = opaque;
	if (--state->mirror->refs == 0) {
		list_del(&state->mirror->link);
		mirror_free(state->mirror);
	}
	free(state);
}

static struct mirror *mirror_of(const struct filter_set *set, const struct conf_route *route)
{
	const struct state *state = set->state[FILTER_mirror][route->index];
	return state ? state->mirror : NULL;
}

void mirror_begin_epoch(const struct filter_set *set, const struct conf_route *route)
{
	struct mirror *mirror = mirror_of(set, route);
	if (!mirror)
		return;
	atomic_store_explicit(&mirror->since_us, clock_us(), memory_order_relaxed);
	atomic_fetch_add_explicit(&mirror->epoch, 1, memory_order_release);
}

/* ---- examples ---- */

static bool begin(struct mirror *mirror)
{
	return !atomic_flag_test_and_set_explicit(&mirror->busy, memory_order_acquire);
}

static void end(struct mirror *mirror)
{
	atomic_flag_clear_explicit(&mirror->busy, memory_order_release);
}

static uint8_t copy_text(char to[MIRROR_TEXT_MAX], struct view v)
{
	size_t n = v.len < MIRROR_TEXT_MAX ? v.len : MIRROR_TEXT_MAX;
	if (n)
		memcpy(to, v.ptr, n);
	return (uint8_t)n;
}

/* Nobody waits: who finds another one here leaves it. */
static void keep_example(struct mirror *mirror, const struct mirror_pair *pair, unsigned differs)
{
	if (!begin(mirror))
		return;
	struct mirror_example *e = &mirror->examples[mirror->next++ % MIRROR_EXAMPLES];
	e->at_us = pair->now_us;
	e->differs = differs;
	for (size_t i = 0; i < MIRROR_SIDES; i++) {
		e->status[i] = pair->side[i].status;
		e->len[i] = pair->side[i].len;
	}
	e->request_id_len = copy_text(e->request_id, pair->request_id);
	e->target_len = copy_text(e->target, pair->target);
	end(mirror);
}

static void read_examples(const struct mirror *mirror, struct mirror_view *out)
{
	for (uint32_t i = 1; i <= MIRROR_EXAMPLES; i++) {
		const struct mirror_example *e =
		    &mirror->examples[(mirror->next - i) % MIRROR_EXAMPLES];
		if (e->at_us && e->at_us >= out->since_us)
			out->examples[out->n_examples++] = *e;
	}
}

bool mirror_count(const struct filter_set *set, const struct conf_route *route,
		  struct mirror_counts *out)
{
	const struct mirror *mirror = mirror_of(set, route);
	if (!mirror)
		return false;
	*out = (struct mirror_counts){
	    .in_flight = atomic_load_explicit(&mirror->in_flight, memory_order_relaxed)};
	for (unsigned w = 0; w < mirror->n_workers; w++) {
		const struct counter *counters = (const struct counter *)&mirror->local[w].counters;
		for (size_t i = 0; i < ARRAY_LEN(out->counters); i++)
			out->counters[i] += counter_get(&counters[i]);
	}
	return true;
}

static const struct counter_field mirror_fields[] = {
#define COUNTER(name, sentence) {#name, offsetof(struct mirror_local, counters.name)},
#include "weir/tbl/mirror_counters.def"
#undef COUNTER
};

static struct counter_rows rows_of(struct mirror *mirror)
{
	return (struct counter_rows){.fields = mirror_fields,
				     .n_fields = ARRAY_LEN(mirror_fields),
				     .first = mirror->local,
				     .stride = sizeof(mirror->local[0]),
				     .n = mirror->n_workers};
}

void mirrors_pack(struct str *out)
{
	if (!mirrors.next)
		return;
	list_each (it, &mirrors) {
		struct mirror *mirror = list_entry(it, struct mirror, link);
		struct counter_rows rows = rows_of(mirror);
		counter_rows_pack_block(out, mirror->id, &rows);
	}
}

static struct counter_rows find_rows(uint64_t id)
{
	struct mirror *mirror = find(id);
	return mirror ? rows_of(mirror) : (struct counter_rows){0};
}

void mirrors_unpack(struct unpack *in)
{
	counter_rows_unpack_blocks(in, find_rows);
}

bool mirror_read(const struct filter_set *set, const struct conf_route *route,
		 struct mirror_view *out)
{
	struct mirror *mirror = mirror_of(set, route);
	struct pairs_sum sum = {0};
	*out = (struct mirror_view){0};
	if (!mirror_count(set, route, &out->counts))
		return false;
	uint32_t epoch = atomic_load_explicit(&mirror->epoch, memory_order_relaxed);
	out->since_us = atomic_load_explicit(&mirror->since_us, memory_order_relaxed);
	while (!begin(mirror)) /* a worker copies two short texts meanwhile, or clears */
		sched_yield();
	for (unsigned w = 0; w < mirror->n_workers; w++)
		if (mirror->local[w].pairs.epoch == epoch)
			pairs_add(&sum, &mirror->local[w].pairs);
	read_examples(mirror, out);
	end(mirror);
	pairs_judge(&sum, out);
	return true;
}

/* ---- workers ---- */

struct mirror_counters *mirror_counters(struct mirror *mirror, unsigned worker)
{
	return &mirror->local[worker].counters;
}

bool mirror_take(struct mirror *mirror, unsigned worker, const struct conf_mirror *conf)
{
	uint32_t before = atomic_fetch_add_explicit(&mirror->in_flight, 1, memory_order_relaxed);
	if (before < conf->in_flight)
		return true;
	mirror_drop(mirror);
	counter_add(&mirror_counters(mirror, worker)->dropped_in_flight, 1);
	return false;
}

void mirror_drop(struct mirror *mirror)
{
	atomic_fetch_sub_explicit(&mirror->in_flight, 1, memory_order_relaxed);
}

/* False: not now, somebody reads. */
static bool is_of_epoch(struct mirror *mirror, struct pairs *pairs)
{
	uint32_t epoch = atomic_load_explicit(&mirror->epoch, memory_order_acquire);
	if (likely(pairs->epoch == epoch))
		return true;
	if (!begin(mirror))
		return false;
	pairs_clear(pairs, epoch);
	end(mirror);
	return true;
}

void mirror_note(struct mirror *mirror, unsigned worker, const struct mirror_pair *pair)
{
	struct pairs *pairs = &mirror->local[worker].pairs;
	uint64_t since = atomic_load_explicit(&mirror->since_us, memory_order_relaxed);
	if (pair->began_us < since || !is_of_epoch(mirror, pairs))
		return;
	unsigned differs = pairs_note(pairs, pair);
	if (differs)
		keep_example(mirror, pair, differs);
}

static bool is_named(const struct conf_mirror *conf, struct view method)
{
	for (size_t i = 0; i < conf->methods.n; i++)
		if (view_eq(conf->methods.rows[i], method))
			return true;
	return false;
}

static enum filter_verdict request(struct filter_call *call)
{
	const struct state *state = call->state;
	struct mirror_local *local = &state->mirror->local[call->worker];
	field_drop(call->msg, VIEW(MIRROR_FIELD)); /* who has it is a copy, and no client says so */
	if (call->msg->upgrade || !is_named(&call->route->mirror, call->msg->method_text) ||
	    !lot_draw(&local->lot, state->share))
		return FILTER_GO_ON;
	counter_add(&local->counters.drawn, 1);
	call->mirror = state->mirror;
	return FILTER_GO_ON;
}

const struct filter filter_mirror = {
    FILTER_ROW(mirror), .applies = applies, .build = build, .release = release, .request = request,
};
