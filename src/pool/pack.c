/* SPDX-License-Identifier: MIT */
/* What was learned about pools and backends, for the process that takes over. */
#include "weir/pool/pack.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/stats/pack.h"

/* Between two processes there is less time, unless one started long after the other ended. */
#define STALE_US UINT64_C(5000000)

/* Numbers of the format: one that is given away is never used for anything else. */
enum block { BLOCK_BACKEND = 1, BLOCK_POOL = 2 };

enum part {
	PART_COUNTERS = 1,
	PART_WINDOWS = 2,
	PART_FAILED = 3,
	PART_HISTORY = 4,
	PART_CURVES = 5,
	PART_MEMORY = 6,
	PART_LIMIT = 7,
	PART_SLOW = 8,
	PART_RATE = 9,
	PART_PROTOCOL = 10,
	PART_SCALING = 11,
	PART_LEARNED = 12,
	PART_BUDGET = 13,
};

static const struct counter_field backend_fields[] = {
#define COUNTER(name, sentence) {#name, offsetof(struct backend_counters, name)},
#include "weir/tbl/backend_counters.def"
#undef COUNTER
};

static const struct counter_field pool_fields[] = {
#define COUNTER(name, sentence) {#name, offsetof(struct pool_counters, name)},
#include "weir/tbl/pool_counters.def"
#undef COUNTER
};

/* ---- out: backends ---- */

static void put_counters(const struct backend *b, struct str *out)
{
	const void *bases[WORKERS_MAX];
	for (unsigned i = 0; i < b->n_workers; i++)
		bases[i] = &b->local[i]->counters;
	counters_pack(out, backend_fields, ARRAY_LEN(backend_fields), bases, b->n_workers);
}

/* With what the last second has seen of them: readers look at differences. */
static void put_curves(const struct backend *b, struct str *out)
{
	const struct levels *levels[WORKERS_MAX];
	for (unsigned i = 0; i < b->n_workers; i++)
		levels[i] = atomic_load_explicit(&b->local[i]->levels, memory_order_acquire);
	levels_pack(levels, b->n_workers, out);
	pack_u64(out, b->ticked_area_us);
	pack_u64(out, b->ticked_us);
	pack_u64(out, b->scaling != NULL);
	if (b->scaling)
		scaling_part_pack(b->scaling, out);
}

static void put_slow(const struct backend *b, uint64_t now_us, struct str *out)
{
	const struct slow_ring *ring = atomic_load_explicit(&b->slow, memory_order_acquire);
	if (ring)
		slow_pack(ring, now_us, out);
}

static void put_protocol(const struct backend *b, struct str *out)
{
	pack_u64(out, atomic_load(&b->learned_idle_us));
	pack_u64(out, atomic_load(&b->ramp_from_us));
	pack_u64(out, atomic_load(&b->pinned_us));
}

#define PART(id, put)                                 \
	do {                                          \
		size_t part_at = pack_begin(out, id); \
		put;                                  \
		pack_end(out, part_at);               \
	} while (0)

/* What a later start does not go on with: counters begin anew, and so do windows. */
static void put_backend_running(const struct backend *b, uint64_t now_us, struct str *out)
{
	PART(PART_COUNTERS, put_counters(b, out));
	if (b->windows)
		PART(PART_WINDOWS, windows_pack(b->windows, out));
	if (b->failed)
		PART(PART_FAILED, windows_pack(b->failed, out));
	PART(PART_SLOW, put_slow(b, now_us, out));
	PART(PART_RATE, rate_pack(&b->rate, out));
}

static void put_backend(const struct backend *b, uint64_t now_us, enum pool_pack what,
			struct str *out)
{
	const struct limiter *limiter = atomic_load(&b->limiter);
	pack_view(out, b->key);
	pack_u64(out, b->serial);
	if (what == POOL_PACK_ALL)
		put_backend_running(b, now_us, out);
	if (b->history)
		PART(PART_HISTORY, history_pack(b->history, out));
	PART(PART_CURVES, put_curves(b, out));
	PART(PART_MEMORY, strategy_memory_pack(&b->memory, out));
	if (limiter)
		PART(PART_LIMIT, limiter_pack(limiter, out));
	PART(PART_PROTOCOL, put_protocol(b, out));
}

/* ---- out: pools ---- */

static void put_pool_counters(const struct pool_state *s, struct str *out)
{
	const void *bases[WORKERS_MAX];
	for (unsigned i = 0; i < s->n_workers; i++)
		bases[i] = &s->local[i]->counters;
	counters_pack(out, pool_fields, ARRAY_LEN(pool_fields), bases, s->n_workers);
}

static void put_budget(const struct pool_state *s, struct str *out)
{
	for (unsigned i = 0; i < ARRAY_LEN(s->budget_requests); i++) {
		pack_u64(out, s->budget_requests[i]);
		pack_u64(out, s->budget_retries[i]);
	}
	pack_u64(out, s->budget_at);
	pack_u64(out, s->hedge_requests);
	pack_u64(out, atomic_load(&s->typical_us));
	pack_u64(out, atomic_load(&s->hedge_after_us));
}

static void put_pool(const struct pool_state *s, enum pool_pack what, struct str *out)
{
	bool all = what == POOL_PACK_ALL;
	pack_view(out, s->name);
	if (all)
		PART(PART_COUNTERS, put_pool_counters(s, out));
	if (all && s->windows)
		PART(PART_WINDOWS, windows_pack(s->windows, out));
	if (s->history)
		PART(PART_HISTORY, history_pack(s->history, out));
	if (s->scaling)
		PART(PART_SCALING, scaling_pack(s->scaling, out));
	if (s->learned)
		PART(PART_LEARNED, learned_pack(s->learned, out));
	if (all)
		PART(PART_BUDGET, put_budget(s, out));
}

void pool_registry_pack(const struct pool_registry *reg, uint64_t now_us, enum pool_pack what,
			struct str *out)
{
	list_each (it, &reg->backends)
		PART(BLOCK_BACKEND,
		     put_backend(list_entry(it, struct backend, registry_link), now_us, what, out));
	list_each (it, &reg->states)
		PART(BLOCK_POOL,
		     put_pool(list_entry(it, struct pool_state, registry_link), what, out));
}

/* ---- in ---- */

/* Serial numbers of the old process, ascending, and those that backends have now. */
struct serials {
	struct serial_pair {
		uint32_t old, now;
	} *rows; /* owns */
	size_t n, cap;
};

struct reader {
	struct pool_registry *reg;
	uint64_t now_us;
	const char *(*outcome)(struct view name);
	struct serials serials;
	struct pool_inherited found;
};

static void note_serial(struct serials *s, uint32_t old, uint32_t now)
{
	if (s->n && s->rows[s->n - 1].old >= old)
		return;
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->rows = reallocarray(s->rows, s->cap, sizeof(*s->rows));
		check(s->rows != NULL);
	}
	s->rows[s->n++] = (struct serial_pair){old, now};
}

static int compare_serials(const void *a, const void *b)
{
	uint32_t x = ((const struct serial_pair *)a)->old, y = ((const struct serial_pair *)b)->old;
	return (x > y) - (x < y);
}

static uint32_t serial_now(void *arg, uint32_t serial)
{
	const struct serials *s = arg;
	const struct serial_pair key = {serial, 0};
	const struct serial_pair *found =
	    s->n ? bsearch(&key, s->rows, s->n, sizeof(key), compare_serials) : NULL;
	return found ? found->now : 0;
}

/* ---- in: backends ---- */

static void take_windows(struct unpack *in, struct windows **windows, struct hist_set *set,
			 uint64_t now_us)
{
	struct windows *next = windows_unpack(in, now_us);
	if (!next)
		return;
	if (set)
		windows_seed(next, set);
	windows_free(*windows);
	*windows = next;
}

static void take_history(struct unpack *in, struct history **history, uint64_t now_us)
{
	struct history *next = history_unpack(in, now_us);
	if (!next)
		return;
	history_free(*history);
	*history = next;
}

/* Both or none: the one says how far the other has been read. */
static void take_curves(struct unpack *in, struct backend *b, uint64_t now_us)
{
	struct levels *levels = levels_unpack(in);
	uint64_t area_us = unpack_u64(in), ticked_us = unpack_max(in, now_us);
	if (now_us - ticked_us > STALE_US) /* a second of an hour is none */
		ticked_us = now_us;
	struct scaling_part *part = unpack_bool(in) ? scaling_part_unpack(in) : NULL;
	if (in->bad || !part) {
		levels_free(levels);
		scaling_part_free(part);
		return;
	}
	scaling_part_free(b->scaling);
	b->scaling = part;
	b->ticked_area_us = area_us;
	b->ticked_us = ticked_us;
	atomic_store(&b->local[0]->levels, levels);
}

static void take_slow(struct unpack *in, struct backend *b, const struct reader *r)
{
	struct slow_ring *ring = in->left ? slow_ring_new() : NULL;
	/* a version before had one for each worker */
	while (ring && in->left && slow_unpack(in, ring, r->now_us, r->outcome))
		;
	if (ring)
		free(atomic_exchange(&b->slow, ring));
}

static void take_protocol(struct unpack *in, struct backend *b)
{
	uint64_t idle_us = unpack_u64(in), ramp_us = unpack_u64(in), pinned_us = unpack_u64(in);
	if (in->bad)
		return;
	atomic_store(&b->learned_idle_us, idle_us);
	atomic_store(&b->ramp_from_us, ramp_us);
	atomic_store(&b->pinned_us, pinned_us);
}

static void take_part(struct unpack *in, uint32_t id, struct backend *b, const struct reader *r)
{
	struct backend_local *local = b->local[0];
	struct limiter *limiter = atomic_load(&b->limiter);
	switch (id) {
	case PART_COUNTERS:
		counters_unpack(in, backend_fields, ARRAY_LEN(backend_fields), &local->counters);
		break;
	case PART_WINDOWS:
		take_windows(in, &b->windows, &local->ok, r->now_us);
		break;
	case PART_FAILED:
		take_windows(in, &b->failed, &local->failed, r->now_us);
		break;
	case PART_HISTORY:
		take_history(in, &b->history, r->now_us);
		break;
	case PART_CURVES:
		take_curves(in, b, r->now_us);
		break;
	case PART_MEMORY:
		strategy_memory_unpack(in, &b->memory);
		break;
	case PART_LIMIT:
		if (limiter)
			atomic_store(&b->limit, limiter_unpack(in, limiter, r->now_us));
		break;
	case PART_SLOW:
		take_slow(in, b, r);
		break;
	case PART_RATE:
		rate_unpack(in, &b->rate, r->now_us);
		break;
	case PART_PROTOCOL:
		take_protocol(in, b);
		break;
	default: /* of another version */
		break;
	}
}

static struct backend *find_backend(const struct pool_registry *reg, struct view key)
{
	list_each (it, &reg->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		if (view_eq(b->key, key))
			return b;
	}
	return NULL;
}

/* Readers look at differences: nothing is ahead of the counters it was made of. */
static void settle_backend(struct backend *b)
{
	uint64_t requests = counter_get(&b->local[0]->counters.requests);
	b->ticked_requests = requests; /* the next row is about what came since */
	b->ticked_errors = counter_get(&b->local[0]->counters.errors);
	for (uint32_t i = 0; i < b->rate.n; i++)
		if (b->rate.total[i] > requests)
			b->rate = (struct rate){.n = 0};
}

static void take_backend(struct unpack *in, struct reader *r)
{
	struct backend *b = find_backend(r->reg, unpack_view(in));
	uint32_t serial = (uint32_t)unpack_max(in, UINT32_MAX), id;
	struct unpack part;
	if (in->bad || !b)
		return;
	note_serial(&r->serials, serial, b->serial);
	r->found.n_backends++;
	while (unpack_block(in, &id, &part)) {
		take_part(&part, id, b, r);
		r->found.n_lost += part.bad;
	}
	settle_backend(b);
}

/* ---- in: pools ---- */

static void take_budget(struct unpack *in, struct pool_state *s)
{
	uint64_t requests[ARRAY_LEN(s->budget_requests)], retries[ARRAY_LEN(s->budget_retries)];
	const struct pool_counters *total = &s->local[0]->counters;
	/* nothing is ahead of the counters it was made of */
	for (unsigned i = 0; i < ARRAY_LEN(requests); i++) {
		requests[i] = unpack_max(in, counter_get(&total->requests));
		retries[i] = unpack_max(in, counter_get(&total->retries));
	}
	unsigned at = (unsigned)unpack_max(in, ARRAY_LEN(requests) - 1);
	uint64_t hedge = unpack_max(in, counter_get(&total->requests));
	uint64_t typical_us = unpack_u64(in), after_us = unpack_u64(in);
	if (in->bad)
		return;
	memcpy(s->budget_requests, requests, sizeof(requests));
	memcpy(s->budget_retries, retries, sizeof(retries));
	s->budget_at = at;
	s->hedge_requests = hedge;
	atomic_store(&s->typical_us, typical_us);
	atomic_store(&s->hedge_after_us, after_us);
}

static void take_pool_part(struct unpack *in, uint32_t id, struct pool_state *s, struct reader *r)
{
	switch (id) {
	case PART_COUNTERS:
		counters_unpack(in, pool_fields, ARRAY_LEN(pool_fields), &s->local[0]->counters);
		break;
	case PART_WINDOWS:
		take_windows(in, &s->windows, NULL, r->now_us);
		break;
	case PART_HISTORY:
		take_history(in, &s->history, r->now_us);
		break;
	case PART_SCALING:
		if (s->scaling)
			scaling_unpack(in, s->scaling);
		break;
	case PART_LEARNED:
		if (s->learned)
			learned_unpack(in, s->learned, r->now_us / 1000000, serial_now,
				       &r->serials);
		break;
	case PART_BUDGET:
		take_budget(in, s);
		break;
	default: /* of another version */
		break;
	}
}

static void take_pool(struct unpack *in, struct reader *r)
{
	struct view name = unpack_view(in);
	struct unpack part;
	uint32_t id;
	list_each (it, &r->reg->states) {
		struct pool_state *s = list_entry(it, struct pool_state, registry_link);
		if (!view_eq(s->name, name))
			continue;
		r->found.n_pools++;
		while (unpack_block(in, &id, &part)) {
			take_pool_part(&part, id, s, r);
			r->found.n_lost += part.bad;
		}
	}
}

struct pool_inherited pool_registry_unpack(struct unpack *in, struct pool_registry *reg,
					   uint64_t now_us,
					   const char *(*outcome)(struct view name))
{
	struct reader r = {.reg = reg, .now_us = now_us, .outcome = outcome};
	struct unpack block;
	uint32_t id;
	while (unpack_block(in, &id, &block)) {
		if (id == BLOCK_BACKEND)
			take_backend(&block, &r);
		else if (id == BLOCK_POOL)
			take_pool(&block, &r);
		r.found.n_lost += block.bad;
	}
	free(r.serials.rows);
	return r.found;
}

/* ---- secrets ---- */

void pool_secrets_pack(const struct pool_registry *reg, struct str *out)
{
	pack_view(out, view_of(reg->secret, sizeof(reg->secret)));
	learn_secret_pack(out);
}

void pool_secrets_unpack(struct unpack *in, struct pool_registry *reg)
{
	struct view secret = unpack_view(in);
	in->bad |= secret.len != sizeof(reg->secret);
	if (in->bad)
		return;
	memcpy(reg->secret, secret.ptr, sizeof(reg->secret));
	learn_secret_unpack(in);
}
