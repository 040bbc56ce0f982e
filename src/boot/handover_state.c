/* SPDX-License-Identifier: MIT */
/*
 * What one process tells the next at a hand-over: early what is needed to serve, later what was
 * learned.
 */
#include "handover_state.h"
#include "members.h"
#include "shared.h"
#include "tracer.h"

#include <string.h>

#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/filter/compress.h"
#include "weir/filter/mirror.h"
#include "weir/filter/rate_limit.h"
#include "weir/pool/pack.h"
#include "weir/stats/pack.h"

/* Numbers of the format: one that is given away is never used for anything else. */
enum block {
	BLOCK_RUNTIME = 1,
	BLOCK_SECRETS = 2,
	BLOCK_TICKETS = 3,
	BLOCK_POOLS = 4,
	BLOCK_METERS = 5,
	BLOCK_COUNTERS = 6,
	BLOCK_OUTCOMES = 7,
	BLOCK_REJECTS = 8,
	BLOCK_LISTENERS = 9,
	BLOCK_EVENTS = 10,
	BLOCK_HEALTH = 11,
	BLOCK_TRACER = 12,
	BLOCK_CLOCK = 13,
	BLOCK_MEMBERS = 14,
	BLOCK_NODE = 15,
	BLOCK_RATE_LIMITS = 16,
	BLOCK_MIRRORS = 17,
	BLOCK_COMPRESS = 18,
};

#define PUT(out, id, put)                                  \
	do {                                               \
		size_t block_at = pack_begin((out), (id)); \
		put;                                       \
		pack_end((out), block_at);                 \
	} while (0)

/* ---- counters of workers and listeners ---- */

static const struct counter_field worker_fields[] = {
#define COUNTER(name, sentence) {#name, offsetof(struct worker_counters, name)},
#include "weir/tbl/worker_counters.def"
#undef COUNTER
};

static const struct counter_field listener_fields[] = {
    {"accepted", offsetof(struct listener_local, accepted)},
    {"refused", offsetof(struct listener_local, refused)},
};

/* An array of counters, by the names of its members. */
static void name_fields(struct counter_field *fields, size_t n, size_t offset,
			const char *(*name)(size_t i))
{
	for (size_t i = 0; i < n; i++)
		fields[i] = (struct counter_field){name(i), offset + i * sizeof(struct counter)};
}

static const char *outcome_name(size_t i)
{
	return outcome_row((enum outcome)i)->name;
}

static const char *name_of_reject(size_t i)
{
	return reject_name((enum reject)i);
}

struct fields {
	struct counter_field outcomes[N_OUTCOMES], rejects[REJECT_N];
};

static void fields_init(struct fields *f)
{
	name_fields(f->outcomes, N_OUTCOMES, offsetof(struct worker_counters, outcomes),
		    outcome_name);
	name_fields(f->rejects, REJECT_N, offsetof(struct worker_counters, rejects),
		    name_of_reject);
}

static void put_workers(const struct control *control, struct str *out)
{
	struct fields f;
	struct arena *arena = arena_new();
	unsigned n = control->n_workers;
	const void **bases = arena_array(arena, n, sizeof(const void *));
	fields_init(&f);
	for (unsigned i = 0; i < n; i++)
		bases[i] = &control->workers[i]->counters;
	PUT(out, BLOCK_COUNTERS,
	    counters_pack(out, worker_fields, ARRAY_LEN(worker_fields), bases, n));
	PUT(out, BLOCK_OUTCOMES, counters_pack(out, f.outcomes, N_OUTCOMES, bases, n));
	PUT(out, BLOCK_REJECTS, counters_pack(out, f.rejects, REJECT_N, bases, n));
	arena_free(arena);
}

static void put_listeners(const struct control *control, struct str *out)
{
	const struct generation *gen = control->current;
	for (uint32_t i = 0; i < gen->n_listeners; i++) {
		const struct listener *l = gen->listeners[i].listener;
		struct arena *arena = arena_new();
		const void **bases = arena_array(arena, l->n_workers, sizeof(const void *));
		for (unsigned w = 0; w < l->n_workers; w++)
			bases[w] = &l->local[w];
		pack_view(out, view_str(l->text));
		PUT(out, 0,
		    counters_pack(out, listener_fields, ARRAY_LEN(listener_fields), bases,
				  l->n_workers));
		arena_free(arena);
	}
}

static void take_listeners(struct unpack *in, struct control *control)
{
	while (in->left && !in->bad) {
		struct view text = unpack_view(in);
		struct unpack counters;
		uint32_t id;
		if (!unpack_block(in, &id, &counters))
			return;
		list_each (it, &control->listeners) {
			struct listener *l = list_entry(it, struct listener, registry_link);
			if (view_eq(view_str(l->text), text))
				counters_unpack(&counters, listener_fields,
						ARRAY_LEN(listener_fields), &l->local[0]);
		}
	}
}

/* The text of its own that names an outcome. */
static const char *static_outcome(struct view name)
{
	for (size_t i = 0; i < N_OUTCOMES; i++)
		if (view_eq(name, view_str(outcome_name(i))))
			return outcome_name(i);
	return NULL;
}

/* ---- all of it ---- */

void state_pack_early(const struct control *control, struct str *out)
{
	PUT(out, BLOCK_RUNTIME, runtime_pack(control, out));
	PUT(out, BLOCK_MEMBERS, discover_pack(members_discover(control->members), out));
	PUT(out, BLOCK_SECRETS, pool_secrets_pack(&control->registry, out));
	PUT(out, BLOCK_TICKETS, tls_pack(control, out));
	PUT(out, BLOCK_NODE, shared_pack(control, out));
}

void state_unpack_early(struct view blocks, struct control *control)
{
	struct unpack in = unpack_of(blocks), block;
	uint32_t id;
	while (unpack_block(&in, &id, &block)) {
		if (id == BLOCK_RUNTIME)
			runtime_unpack(&block, control);
		else if (id == BLOCK_MEMBERS)
			discover_unpack(&block, members_discover(control->members));
		else if (id == BLOCK_SECRETS)
			pool_secrets_unpack(&block, &control->registry);
		else if (id == BLOCK_TICKETS)
			tls_unpack(&block, control);
		else if (id == BLOCK_NODE)
			shared_unpack(&block, control);
		if (block.bad)
			log_warn("part %u of what the process before changed at run time cannot be "
				 "read",
				 id);
	}
}

void state_pack(struct control *control, struct str *out)
{
	uint64_t now = clock_us();
	/* windows and rows have all that there is */
	pool_registry_tick(&control->registry, now);
	meters_tick(control, now);
	PUT(out, BLOCK_POOLS, pool_registry_pack(&control->registry, now, POOL_PACK_ALL, out));
	PUT(out, BLOCK_METERS, meters_pack(control, out));
	put_workers(control, out);
	PUT(out, BLOCK_LISTENERS, put_listeners(control, out));
	PUT(out, BLOCK_RATE_LIMITS, rate_limits_pack(out));
	PUT(out, BLOCK_MIRRORS, mirrors_pack(out));
	PUT(out, BLOCK_COMPRESS, compress_pack(out));
	PUT(out, BLOCK_EVENTS, events_pack(out));
	PUT(out, BLOCK_TRACER, tracer_pack(control->tracer, out));
	PUT(out, BLOCK_HEALTH, probing_pack(control->probing, out));
}

static void take_block(struct unpack *in, uint32_t id, struct control *control,
		       struct pool_inherited *pools)
{
	struct fields f;
	void *counters = &control->workers[0]->counters;
	fields_init(&f);
	switch (id) {
	case BLOCK_POOLS:
		*pools = pool_registry_unpack(in, &control->registry, clock_us(), static_outcome);
		break;
	case BLOCK_METERS:
		meters_unpack(in, control);
		break;
	case BLOCK_COUNTERS:
		counters_unpack(in, worker_fields, ARRAY_LEN(worker_fields), counters);
		break;
	case BLOCK_OUTCOMES:
		counters_unpack(in, f.outcomes, N_OUTCOMES, counters);
		break;
	case BLOCK_REJECTS:
		counters_unpack(in, f.rejects, REJECT_N, counters);
		break;
	case BLOCK_LISTENERS:
		take_listeners(in, control);
		break;
	case BLOCK_RATE_LIMITS:
		rate_limits_unpack(in);
		break;
	case BLOCK_MIRRORS:
		mirrors_unpack(in);
		break;
	case BLOCK_COMPRESS:
		compress_unpack(in);
		break;
	case BLOCK_TRACER:
		tracer_unpack(in, control->tracer);
		break;
	case BLOCK_EVENTS:
		events_unpack(in);
		break;
	default: /* for state_unpack_health, or of another version */
		break;
	}
}

static void say_found(struct str *said, const struct pool_inherited *pools, const char *more,
		      uint32_t n_lost)
{
	str_printf(said, "statistics of %u backend%s in %u pool%s, %s", pools->n_backends,
		   pools->n_backends == 1 ? "" : "s", pools->n_pools,
		   pools->n_pools == 1 ? "" : "s", more);
	if (n_lost + pools->n_lost)
		str_printf(said, "; %u parts could not be read and start afresh",
			   n_lost + pools->n_lost);
}

void state_unpack(struct view blocks, struct control *control, struct str *said)
{
	struct unpack in = unpack_of(blocks), block;
	struct pool_inherited pools = {0};
	uint32_t id, n_lost = 0;
	while (unpack_block(&in, &id, &block)) {
		take_block(&block, id, control, &pools);
		n_lost += block.bad;
	}
	say_found(said, &pools, "counters and events", n_lost + in.bad);
}

void state_unpack_health(struct view blocks, struct control *control)
{
	struct unpack in = unpack_of(blocks), block;
	uint32_t id;
	while (unpack_block(&in, &id, &block))
		if (id == BLOCK_HEALTH)
			probing_unpack(&block, control->probing);
}

/* ---- the same in one piece, for a file with a name ---- */

/* Changes whenever the machine starts. */
static struct view boot_id(char room[64])
{
	struct str text = str_fixed(room, 64), why = STR_INIT;
	if (file_read("/proc/sys/kernel/random/boot_id", 63, 0, &text, &why))
		str_reset(&text);
	str_fini(&why);
	return view_trim(str_as_view(&text));
}

static void put_clock(struct str *out)
{
	char room[64];
	pack_view(out, boot_id(room));
	pack_u64(out, clock_us());
	pack_u64(out, clock_ahead_us);
	pack_u64(out, clock_wall_us());
}

void state_seal_runtime(const struct control *control, struct str *out)
{
	state_leave_head(out);
	PUT(out, BLOCK_RUNTIME, runtime_pack(control, out));
	PUT(out, BLOCK_SECRETS, pool_secrets_pack(&control->registry, out));
	state_seal(out);
}

void state_seal_learned(struct control *control, struct str *out)
{
	state_leave_head(out);
	PUT(out, BLOCK_CLOCK, put_clock(out));
	PUT(out, BLOCK_POOLS,
	    pool_registry_pack(&control->registry, clock_us(), POOL_PACK_LEARNED, out));
	PUT(out, BLOCK_EVENTS, events_pack(out));
	state_seal(out);
}

static void take_clock(struct unpack *in)
{
	char room[64];
	struct view boot = unpack_view(in);
	uint64_t us = unpack_u64(in), ahead_us = unpack_u64(in), wall_us = unpack_u64(in);
	uint64_t now_wall_us = clock_wall_us();
	if (in->bad)
		return;
	if (boot.len && view_eq(boot, boot_id(room))) {
		clock_ahead_us = ahead_us;
		return;
	}
	uint64_t passed_us = now_wall_us > wall_us ? now_wall_us - wall_us : 0;
	uint64_t now_us = clock_us() - clock_ahead_us;
	clock_ahead_us = us + passed_us > now_us ? us + passed_us - now_us : 0;
}

void state_take_clock(struct view blocks)
{
	struct unpack in = unpack_of(blocks), block;
	uint32_t id;
	while (unpack_block(&in, &id, &block))
		if (id == BLOCK_CLOCK)
			take_clock(&block);
}

void state_unpack_learned(struct view blocks, struct control *control, struct str *said)
{
	struct unpack in = unpack_of(blocks), block;
	struct pool_inherited pools = {0};
	uint32_t id, n_lost = 0;
	while (unpack_block(&in, &id, &block)) {
		if (id == BLOCK_POOLS || id == BLOCK_EVENTS)
			take_block(&block, id, control, &pools);
		n_lost += block.bad;
	}
	say_found(said, &pools, "curves and events", n_lost + in.bad);
}
