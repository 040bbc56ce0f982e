/* SPDX-License-Identifier: MIT */
/* Worlds with parameters that nobody has chosen. */
#include "world.h"

#include <math.h>
#include <stdio.h>

#include "weir/base/defs.h"
#include "weir/base/rng.h"

#define ONE_OF(rng, ...) \
	((const double[]){__VA_ARGS__})[rng_below(rng, ARRAY_LEN(((const double[]){__VA_ARGS__})))]

/* Fixed, exponential, gamma, two rates, Pareto, lognormal, two kinds. */
static const struct {
	const char *name;
	enum sim_times times;
	double cv2, mix, p95; /* by the mean */
} services[] = {
    {"fixed", SIM_FIXED, 0, 0, 1},        {"exponential", SIM_BY_CV2, 1, 0, 3},
    {"gamma", SIM_BY_CV2, 0.25, 0, 1.94}, {"uneven", SIM_BY_CV2, 4, 0, 3.72},
    {"Pareto", SIM_PARETO, 0, 0, 2.46},   {"lognormal", SIM_LOGNORMAL, 0, 0, 3.14},
    {"two kinds", SIM_MIX, 0, 0.2, 3},
};

enum drawn { ONLY_LOAD, STEPS, DEPLOY, TWO_DEPLOYS, LOCK, CLOSED, N_DRAWN };
static const char *const drawn_names[N_DRAWN] = {"load",        "steps", "deploy",
						 "two deploys", "lock",  "closed"};

static void draw_load(struct rng *rng, struct world *w, bool steps)
{
	w->low = ONE_OF(rng, 0.05, 0.15, 0.25);
	w->high = ONE_OF(rng, 0.5, 0.7, 0.85);
	w->last = ONE_OF(rng, 0.4, 0.6, 0.8, 0.9);
	w->steps = steps;
}

/* What is slower then is not full, or load would be a cause, too. */
static void draw_deploy(struct rng *rng, struct world *w, bool two)
{
	w->factor = ONE_OF(rng, 0.25, 0.5, 1.5, 2, 4);
	w->again = two ? ONE_OF(rng, 0.5, 1.5, 2) : 0;
	double most = fmax(w->factor, 1) * fmax(w->again, 1);
	w->low = 0.1 / most;
	w->high = 0.35 / most;
	w->last = 0.25 / most;
	w->told = TOLD_SPEED;
	w->may_miss = true;
}

static void draw_lock(struct rng *rng, struct world *w)
{
	w->plan.workers = 8;
	w->plan.service_us = 1;
	w->plan.shared_workers = 1;
	w->plan.shared_us = ONE_OF(rng, 2000, 7000, 40000);
	w->capacity = 1e6 / w->plan.shared_us;
	w->plan.slo_p95_us = (uint64_t)(4 * w->plan.shared_us);
	w->low = 0.3;
	w->high = w->last = 0.93;
	w->truth = SHARED;
}

struct world world_draw(uint64_t seed)
{
	static char name[64];
	struct rng rng;
	struct world w = {.name = name, .plan = {.interval = 2}};
	rng_init(&rng, seed);
	size_t times = rng_below(&rng, ARRAY_LEN(services));
	enum drawn drawn = (enum drawn)(seed % N_DRAWN);
	struct sim_plan *p = &w.plan;
	p->times = services[times].times;
	p->cv2 = services[times].cv2;
	p->mix = services[times].mix;
	p->backends = (unsigned)ONE_OF(&rng, 2, 3, 6, 10);
	p->workers = (unsigned)ONE_OF(&rng, 1, 2, 3, 7, 12);
	p->service_us = ONE_OF(&rng, 8000, 25000, 60000);
	w.capacity = p->backends * p->workers * 1e6 / p->service_us;
	p->slo_p95_us = (uint64_t)(p->service_us * ONE_OF(&rng, 0, 2, 5, 12));
	draw_load(&rng, &w, drawn == STEPS);
	if (drawn == DEPLOY || drawn == TWO_DEPLOYS)
		draw_deploy(&rng, &w, drawn == TWO_DEPLOYS);
	if (drawn == LOCK)
		draw_lock(&rng, &w);
	if (drawn == CLOSED)
		p->clients = (unsigned)ONE_OF(&rng, 5, 20, 100);
	if (p->slo_p95_us && drawn != LOCK)
		w.alone = services[times].p95 * p->service_us / (double)p->slo_p95_us *
			  (w.factor > 0 ? w.factor : 1) * (w.again > 0 ? w.again : 1);
	snprintf(name, sizeof(name), "%u %s, %ux%u, %s", (unsigned)seed, drawn_names[drawn],
		 p->backends, p->workers, services[times].name);
	return w;
}
