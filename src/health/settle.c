/* SPDX-License-Identifier: MIT */
/*
 * The one place where the state of a backend is worked out of what operators, checks and
 * traffic say.
 */
#include <stdio.h>

#include "target.h"

#include "weir/base/clock.h"

enum backend_state target_state(const struct health_target *t)
{
	if (t->admin != BACKEND_up)
		return t->admin;
	if (t->pool->settings && t->vitals.is == VITALS_DOWN)
		return BACKEND_down;
	if (t->ejected)
		return BACKEND_ejected;
	return t->pool->settings && t->vitals.is == VITALS_UNKNOWN ? BACKEND_unknown : BACKEND_up;
}

/* A backend on its way back says how far it is. */
static void down_reason(const struct health_target *t, char *out, size_t size)
{
	const char *last = t->facts.n_checks ? t->facts.checks[0].reason : "";
	if (t->vitals.is == VITALS_DOWN && t->vitals.against)
		snprintf(out, size, "%u of %u checks passed: %.70s", t->vitals.against,
			 t->pool->settings->conf.rise, last);
	else
		snprintf(out, size, "%s", last);
}

/* Why it is in this state: not always what made it change. */
static const char *reason_of(const struct health_target *t, enum backend_state state)
{
	switch (state) {
	case BACKEND_draining:
	case BACKEND_maintenance:
	case BACKEND_gone:
		return t->admin_why;
	case BACKEND_ejected:
		return t->eject_reason;
	case BACKEND_unknown:
		return "not checked yet";
	default:
		return t->odd.why;
	}
}

/* Ejected, and nothing but traffic speaks against it: see pool/eligible.c.  True when new. */
static bool set_resort(struct health_target *t, enum backend_state now)
{
	bool resort = now == BACKEND_ejected && (!t->pool->settings || t->vitals.is == VITALS_UP);
	return atomic_exchange_explicit(&t->backend->resort, resort, memory_order_relaxed) !=
	       resort;
}

void target_settle(struct health_target *t, const char *why)
{
	struct backend *b = t->backend;
	enum backend_state was = backend_state(b), now = target_state(t);
	/* even in the same state: it may be down for another reason by now */
	if (now == BACKEND_down)
		down_reason(t, t->reason, sizeof(t->reason));
	else
		snprintf(t->reason, sizeof(t->reason), "%s", reason_of(t, now));
	bool new_resort = set_resort(t, now);
	if (now == was) {
		if (new_resort)
			t->health->host.look(t->health->host.ctx);
		target_tell(t);
		return;
	}
	/* back from outside, or added later and found to be well; at the start of the process
	 * nobody is, and nobody ramps */
	bool is_new = atomic_load_explicit(&b->ramp_from_us, memory_order_relaxed) != 0;
	if (now == BACKEND_up &&
	    (!backend_state_takes_new(was) || (was == BACKEND_unknown && is_new)))
		atomic_store_explicit(&b->ramp_from_us, t->health->loop->now_us,
				      memory_order_relaxed);
	t->since_us = clock_wall_us();
	snprintf(t->why, sizeof(t->why), "%s", why);
	atomic_store_explicit(&b->state, (uint8_t)now, memory_order_relaxed);
	t->health->host.look(t->health->host.ctx);
	target_tell(t);
}
