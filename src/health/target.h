/* SPDX-License-Identifier: MIT */
/*
 * What health keeps about a pool and about a backend.  Private to health/;
 * control thread.
 */
#ifndef WEIR_HEALTH_TARGET_H
#define WEIR_HEALTH_TARGET_H

#include "check.h"
#include "settings.h"
#include "vitals.h"

#include "weir/base/rng.h"
#include "weir/health/health.h"

struct health_pool {
	struct list link;
	struct health *health;
	struct view name;                 /* owns */
	struct health_settings *settings; /* owns; NULL: no active checks */
	struct list targets;
	uint32_t n_targets;
	bool seen; /* while following a generation */
};

struct health_target {
	struct list link;
	struct health *health;
	struct health_pool *pool;
	struct backend *backend; /* lives as long as a generation names it; see health_follow */
	uint32_t index;          /* in its pool */
	bool seen;
	enum backend_state admin; /* draining, maintenance, or up: nothing said */
	/* active checks */
	struct timer due;
	struct list waiting;   /* due, but CHECKS_MAX others run */
	struct check *running; /* or NULL */
	uint32_t n_runs;       /* since the settings changed */
	struct vitals vitals;
	struct health_facts facts;
};

struct health {
	struct loop *loop;
	struct health_host host;
	struct rng rng;
	struct list pools;
	struct list waiting; /* struct health_target, longest first */
	bool starting;
	struct prober prober;
};

/* Works out the state anew and publishes it when it changed; `why` is a sentence. */
void target_settle(struct health_target *t, const char *why);

#endif
