/* SPDX-License-Identifier: MIT */
/*
 * Meters of routes and listeners by name: counted by the generations that have
 * them, so that a reload keeps the statistics of a name that stays.
 */
#include <stdlib.h>

#include "control.h"

#include "weir/base/check.h"
#include "weir/stats/pack.h"

/* A control thread's own: never touched by workers, who see the meter alone. */
struct named_meter {
	struct list link;
	char kind;        /* 'r' or 'l' */
	struct view name; /* owns */
	unsigned refs;
	struct meter *meter; /* owns */
};

static struct named_meter *named_get(struct control *control, char kind, struct view name)
{
	list_each (it, &control->meters) {
		struct named_meter *n = list_entry(it, struct named_meter, link);
		if (n->kind == kind && view_eq(n->name, name)) {
			n->refs++;
			return n;
		}
	}
	struct named_meter *n = calloc(1, sizeof(*n));
	check(n != NULL);
	n->kind = kind;
	n->name = view_own(name);
	n->meter = meter_new(control->n_workers, clock_us());
	check(n->meter != NULL);
	n->refs = 1;
	list_push_back(&control->meters, &n->link);
	return n;
}

static void named_put(struct named_meter *n)
{
	check(n->refs > 0);
	if (--n->refs)
		return;
	list_del(&n->link);
	meter_free(n->meter);
	view_disown(&n->name);
	free(n);
}

void meters_get(struct control *control, struct generation *gen)
{
	const struct conf *conf = gen->conf;
	size_t n = 0;
	gen->route_meters = arena_array(gen->arena, conf->n_routes, sizeof(*gen->route_meters));
	gen->listener_meters =
	    arena_array(gen->arena, conf->n_listeners, sizeof(*gen->listener_meters));
	gen->named_meters =
	    arena_array(gen->arena, conf->n_routes + conf->n_listeners, sizeof(*gen->named_meters));
	for (size_t i = 0; i < conf->n_routes; i++, n++) {
		gen->named_meters[n] = named_get(control, 'r', conf->routes[i].name);
		gen->route_meters[i] = gen->named_meters[n]->meter;
	}
	for (size_t i = 0; i < conf->n_listeners; i++, n++) {
		gen->named_meters[n] = named_get(control, 'l', conf->listeners[i].name);
		gen->listener_meters[i] = gen->named_meters[n]->meter;
	}
	gen->n_named_meters = n;
}

void meters_put(struct generation *gen)
{
	for (size_t i = 0; i < gen->n_named_meters; i++)
		named_put(gen->named_meters[i]);
	gen->n_named_meters = 0;
}

void meters_tick(struct control *control, uint64_t now_us)
{
	list_each (it, &control->meters)
		meter_fold(list_entry(it, struct named_meter, link)->meter, now_us);
}

/* ---- for the process that takes over ---- */

enum { BLOCK_METER = 1 };

static const struct counter_field meter_fields[] = {
    {"exchanges", offsetof(struct meter_local, exchanges)},
};

static void put_meter(const struct named_meter *n, struct str *out)
{
	struct meter *m = n->meter;
	size_t at = pack_begin(out, BLOCK_METER);
	pack_u64(out, (unsigned char)n->kind);
	pack_view(out, n->name);
	windows_pack(m->ok, out);
	windows_pack(m->failed, out);
	counter_rows_pack(out, &(struct counter_rows){.fields = meter_fields,
						      .n_fields = ARRAY_LEN(meter_fields),
						      .first = m->local,
						      .stride = sizeof(m->local[0]),
						      .n = m->n_workers});
	pack_end(out, at);
}

void meters_pack(const struct control *control, struct str *out)
{
	list_each (it, &control->meters) {
		const struct named_meter *n = list_entry(it, struct named_meter, link);
		if (n->meter->ok && n->meter->failed)
			put_meter(n, out);
	}
}

static struct meter *find_meter(const struct control *control, char kind, struct view name)
{
	list_each (it, &control->meters) {
		struct named_meter *n = list_entry(it, struct named_meter, link);
		if (n->kind == kind && view_eq(n->name, name))
			return n->meter;
	}
	return NULL;
}

static void take_meter(struct unpack *in, struct control *control)
{
	char kind = (char)unpack_max(in, 127);
	struct meter *m = find_meter(control, kind, unpack_view(in));
	uint64_t now = clock_us();
	struct windows *ok = windows_unpack(in, now), *failed = windows_unpack(in, now);
	if (!m || !ok || !failed) {
		windows_free(ok);
		windows_free(failed);
		return;
	}
	windows_seed(ok, &m->local[0].ok);
	windows_seed(failed, &m->local[0].failed);
	windows_free(m->ok);
	windows_free(m->failed);
	m->ok = ok;
	m->failed = failed;
	counters_unpack(in, meter_fields, ARRAY_LEN(meter_fields), &m->local[0]);
}

void meters_unpack(struct unpack *in, struct control *control)
{
	struct unpack block;
	uint32_t id;
	while (unpack_block(in, &id, &block)) {
		if (id == BLOCK_METER)
			take_meter(&block, control);
		in->bad |= block.bad;
	}
}
