/* SPDX-License-Identifier: MIT */
/* Verdicts, ejections and counts for the process that takes over. */
#include <stdio.h>

#include "target.h"

#define BLOCK_TARGET 1

/* ---- out ---- */

static void put_check(const struct health_check *c, struct str *out)
{
	pack_u64(out, c->at_wall_us);
	pack_u64(out, c->duration_us);
	pack_u64(out, c->status);
	pack_u64(out, c->ok);
	pack_view(out, view_str(c->reason));
}

static void put_facts(const struct health_facts *f, struct str *out)
{
	pack_u64(out, f->n_passed);
	pack_u64(out, f->n_failed);
	pack_u64(out, f->n_loads);
	pack_u64(out, f->n_loads_lost);
	pack_u64(out, f->n_checks);
	for (uint32_t i = 0; i < f->n_checks; i++)
		put_check(&f->checks[i], out);
	pack_u64(out, N_EJECTIONS);
	for (int i = 0; i < N_EJECTIONS; i++) {
		pack_view(out, view_str(ejection_name((enum ejection)i)));
		pack_u64(out, f->ejections[i]);
	}
}

static void put_target(const struct health_target *t, struct str *out)
{
	size_t at = pack_begin(out, BLOCK_TARGET);
	pack_view(out, t->backend->key);
	pack_u64(out, t->vitals.is);
	pack_u64(out, t->vitals.against);
	pack_u64(out, t->ejected);
	pack_u64(out, t->n_ejected);
	pack_u64(out, t->back_at_us);
	pack_view(out, view_str(t->eject_reason));
	put_facts(&t->facts, out);
	pack_view(out, view_str(ejection_name(t->eject_cause)));
	pack_end(out, at);
}

void health_pack(const struct health *h, struct str *out)
{
	list_each (it, &h->pools) {
		const struct health_pool *hp = list_entry(it, struct health_pool, link);
		list_each (node, &hp->targets)
			put_target(list_entry(node, struct health_target, link), out);
	}
}

/* ---- in ---- */

static void take_text(struct unpack *in, char *to, size_t size)
{
	struct view v = unpack_view(in);
	in->bad |= v.len >= size;
	if (!in->bad)
		snprintf(to, size, VIEW_FMT, VIEW_ARG(v));
}

static void take_check(struct unpack *in, struct health_check *c)
{
	c->at_wall_us = unpack_u64(in);
	c->duration_us = unpack_u64(in);
	c->status = (uint16_t)unpack_max(in, UINT16_MAX);
	c->ok = unpack_bool(in);
	take_text(in, c->reason, sizeof(c->reason));
}

/* N_EJECTIONS: none that this version knows. */
static enum ejection cause_named(struct view name)
{
	int i = 0;
	while (i < N_EJECTIONS && !view_eq(name, view_str(ejection_name((enum ejection)i))))
		i++;
	return (enum ejection)i;
}

/* Causes that this version does not know are left out. */
static void take_ejections(struct unpack *in, struct health_facts *f)
{
	for (size_t n = unpack_count(in, 64); n && !in->bad; n--) {
		enum ejection cause = cause_named(unpack_view(in));
		uint64_t times = unpack_u64(in);
		if (cause < N_EJECTIONS)
			f->ejections[cause] = times;
	}
}

static void take_facts(struct unpack *in, struct health_facts *f)
{
	f->n_passed = unpack_u64(in);
	f->n_failed = unpack_u64(in);
	f->n_loads = unpack_u64(in);
	f->n_loads_lost = unpack_u64(in);
	f->n_checks = (uint32_t)unpack_count(in, CHECKS_KEPT);
	for (uint32_t i = 0; i < f->n_checks; i++)
		take_check(in, &f->checks[i]);
	take_ejections(in, f);
}

/* An older process does not say it, and a newer one may have others. */
static enum ejection take_cause(struct unpack *in)
{
	enum ejection cause = cause_named(in->left ? unpack_view(in) : VIEW_NONE);
	return cause < N_EJECTIONS ? cause : EJECTION_trial;
}

static struct health_target *find_target(struct health *h, struct view key)
{
	list_each (it, &h->pools) {
		struct health_pool *hp = list_entry(it, struct health_pool, link);
		list_each (node, &hp->targets) {
			struct health_target *t = list_entry(node, struct health_target, link);
			if (view_eq(t->backend->key, key))
				return t;
		}
	}
	return NULL;
}

static void take_target(struct unpack *in, struct health *h)
{
	struct health_target *t = find_target(h, unpack_view(in));
	struct health_target next = {.facts = {.n_passed = 0}};
	next.vitals.is = (enum vitals_is)unpack_max(in, VITALS_DOWN);
	next.vitals.against = (uint32_t)unpack_max(in, UINT32_MAX);
	next.ejected = unpack_bool(in);
	next.n_ejected = (uint32_t)unpack_max(in, UINT32_MAX);
	next.back_at_us = unpack_u64(in);
	take_text(in, next.eject_reason, sizeof(next.eject_reason));
	take_facts(in, &next.facts);
	next.eject_cause = take_cause(in);
	if (in->bad || !t)
		return;
	next.facts.checked = t->facts.checked;
	next.facts.asked_load = t->facts.asked_load;
	t->facts = next.facts;
	t->n_ejected = next.n_ejected;
	t->eject_cause = next.eject_cause;
	snprintf(t->eject_reason, sizeof(t->eject_reason), "%s", next.eject_reason);
	if (t->pool->settings)
		t->vitals = next.vitals;
	target_settle(t, "as the process before found it");
	if (next.ejected)
		target_stay_ejected(t, next.back_at_us);
	target_tell(t);
}

void health_unpack(struct unpack *in, struct health *h)
{
	struct unpack block;
	uint32_t id;
	h->control_waits = true;
	while (unpack_block(in, &id, &block)) {
		if (id == BLOCK_TARGET)
			take_target(&block, h);
		in->bad |= block.bad;
	}
	h->control_waits = false;
}
