/* SPDX-License-Identifier: MIT */
/* Gathering the evidence: curves, service times alone and now, arrivals. */
#include "scaling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "recent.h"

#define CURVE_MEMORY_S 600.0
#define WANTED 400 /* samples of S: a shorter span with so many is preferred */
#define WANTED_P99 1000
#define WANTED_AHEAD 4000 /* for forecasts: a p99 of fewer is off by more than what is forecast */
#define MET_MEMORY_S 300.0
#define ONE_MORE_MIN 100
#define ONE_MORE_COSTS 1.3
#define MET_MAX 0.35 /* of another node, on average, by who is called alone */

static const double now_spans_s[RECENT_NOW] = {5, 30, 300};
static const double alone_spans_s[RECENT_ALONE] = {30, 300, 1800};
static const double part_now_spans_s[RECENT_PART] = {5, 30};
static const double part_alone_spans_s[RECENT_PART] = {30, 300};

/* ---- one backend, once a second ---- */

struct scaling_part *scaling_part_new(void)
{
	return calloc(1, sizeof(struct scaling_part));
}

void scaling_part_forget_recents(struct scaling_part *part)
{
	if (part->recents) {
		recents_fini(part->recents->now, RECENT_PART);
		recents_fini(part->recents->alone, RECENT_PART);
	}
	free(part->recents);
	part->recents = NULL;
}

void scaling_part_free(struct scaling_part *part)
{
	if (!part)
		return;
	for (unsigned c = 0; c < LEVEL_CLASSES; c++)
		sparse_reset(&part->served[c]);
	for (unsigned i = 0; i < LEVEL_BLOCKS; i++)
		free(part->bins[i]);
	scaling_part_forget_recents(part);
	free(part->company);
	free(part);
}

/* What was learned about its speed is of another time. */
static void follow_epoch(struct scaling_part *part, const struct scaling *s)
{
	if (part->epoch == s->epoch)
		return;
	part->epoch = s->epoch;
	for (uint32_t k = 0; k < LEVEL_BINS; k++) {
		struct scaling_bin *bin = scaling_part_bin(part, k);
		if (bin) {
			bin->n = bin->us = 0;
			bin->usual_n = bin->usual_log = 0;
		}
	}
	memset(part->cells, 0, sizeof(part->cells));
	part->peer = (struct scaling_peer){0};
	part->slower = 0;
	if (part->company)
		memset(part->company, 0, sizeof(*part->company));
	if (!part->recents)
		return;
	recents_forget(part->recents->now, RECENT_PART);
	recents_forget(part->recents->alone, RECENT_PART);
}

static void add_to_curve(struct scaling_part *part, double level, double n, double us)
{
	uint32_t k = level_bin((uint32_t)fmin(level + 0.5, 1u << LEVEL_TOP_BITS));
	struct scaling_bin *bin = scaling_part_bin_make(part, k);
	if (!bin)
		return;
	bin->n += n;
	bin->us += us;
	if (part->company && part->others_rate > 0)
		part->company->beyond[k] += n * (level - level_value(k));
}

static void fold_level(struct scaling_part *part, struct scaling *s,
		       const struct levels *const *levels, size_t n, uint32_t k)
{
	uint64_t count = 0, us = 0;
	for (size_t i = 0; i < n; i++) {
		const struct level_bin *of = levels[i] ? levels_bin(levels[i], k) : NULL;
		count += of ? counter_get(&of->n) : 0;
		us += of ? counter_get(&of->us) : 0;
	}
	struct scaling_bin *bin = count ? scaling_part_bin_make(part, k) : NULL;
	if (!bin)
		return; /* without memory nothing is lost: the next fold takes it all */
	double new = (double)(count - bin->last_n), new_us = (double)(us - bin->last_us);
	bin->last_n = count;
	bin->last_us = us;
	s->served_s += new;
	if (new <= 0 || s->deaf)
		return;
	scaling_part_met(part, k, new, new_us);
	add_to_curve(part, scaling_part_level(part, k), new, new_us);
	scaling_part_waited(part, s, k, new, new_us);
}

static void fade_curve(struct scaling_part *part, uint32_t top)
{
	double keep = exp(-1 / CURVE_MEMORY_S);
	for (uint32_t k = 1; k <= top; k++) {
		struct scaling_bin *bin = scaling_part_bin(part, k);
		if (bin) {
			bin->n *= keep;
			bin->us *= keep;
		}
		if (part->company)
			part->company->beyond[k] *= keep;
	}
}

void scaling_part_begin_epoch(struct scaling_part *part)
{
	part->epoch--; /* not the pool's: its next fold forgets */
	part->opinion = (struct scaling_opinion){.verdict = VERDICT_not_enough_data};
}

void scaling_part_fold(struct scaling_part *part, struct scaling *s,
		       const struct levels *const *levels, size_t n)
{
	uint32_t top = 0;
	follow_epoch(part, s);
	for (size_t i = 0; i < n; i++) {
		uint32_t of = levels[i] ? levels_top(levels[i]) : 0;
		top = of > top ? of : top;
	}
	fade_curve(part, part->company ? LEVEL_BINS - 1 : top);
	for (uint32_t k = 1; k <= top; k++)
		fold_level(part, s, levels, n, k);
	scaling_part_second(part);
	if (s->n_blocks && s->n_counts % SCALING_BLOCK_S == 0)
		scaling_part_block(part, s, levels, n, top);
}

/* ---- what was served since the last look ---- */

/* Of other nodes, on average since the last look, while one is served that meets nobody here. */
static double others_met(const struct scaling_part *part)
{
	if (!part->company || part->others_sum <= 0)
		return 0;
	double n = (double)part->company->n[1], us = (double)part->company->us[1];
	return n > 0 ? part->others_sum / part->others_s * us / n / 1e6 : INFINITY;
}

/*
 * What a request of its class is called, when that many of other nodes' were there on average.
 * Some of those who are called alone have met one: how many is added up.
 */
static unsigned class_of(struct scaling *s, unsigned c, double met, double met_in_pool, double n)
{
	if (s->deaf)
		c = LEVEL_COMPANY;
	if (c == LEVEL_SOLO && met_in_pool > MET_MAX)
		c = LEVEL_ALONE;
	if (c == LEVEL_ALONE && met > MET_MAX)
		c = LEVEL_COMPANY;
	if (c != LEVEL_COMPANY) {
		s->met_n += n;
		s->met += n * (1 - exp(c == LEVEL_SOLO ? -met_in_pool : -met));
	}
	return c;
}

static void file(struct scaling *s, struct scaling_part *part, unsigned c, uint32_t bucket,
		 uint32_t n)
{
	recents_add(s->recent_now, RECENT_NOW, bucket, n);
	recents_add(part->recents->now, RECENT_PART, bucket, n);
	if (s->since_us) {
		s->since.weight[bucket] += n;
		s->since.n += n;
	}
	if (c == LEVEL_COMPANY)
		return;
	recents_add(s->recent_alone, RECENT_ALONE, bucket, n);
	recents_add(part->recents->alone, RECENT_PART, bucket, n);
	if (c == LEVEL_SOLO)
		recents_add(s->recent_solo, RECENT_ALONE, bucket, n);
}

/* A backend without requests needs none. */
static bool has_recents(struct scaling_part *part, uint64_t since_us)
{
	if (part->recents)
		return true;
	part->recents = calloc(1, sizeof(*part->recents));
	if (!part->recents)
		return false;
	for (size_t i = 0; i < RECENT_PART; i++) {
		part->recents->now[i].since_us[0] = part->recents->now[i].since_us[1] = since_us;
		part->recents->alone[i].since_us[0] = part->recents->alone[i].since_us[1] =
		    since_us;
	}
	return true;
}

/* What came since the last look.  Without memory nothing is lost: the next one takes it all. */
static uint32_t take_served(struct sparse *served, uint32_t bucket, uint64_t now)
{
	if (!now)
		return 0;
	uint32_t last = (uint32_t)sparse_get(served, bucket);
	return sparse_set(served, bucket, (uint32_t)now) ? ((uint32_t)now - last) & HIST_COUNT_MASK
							 : 0;
}

/* Of all workers. */
static void fold_served(struct scaling *s, const struct scaling_member *m, uint64_t last_us,
			double met_in_pool)
{
	double met = others_met(m->part);
	for (unsigned c = 0; c < LEVEL_CLASSES; c++) {
		struct hist_total now = {0};
		for (size_t i = 0; i < m->n_levels; i++)
			if (m->levels[i])
				hist_total_add_hist(&now,
						    atomic_load_explicit(&m->levels[i]->served[c],
									 memory_order_acquire));
		if (now.n == 0 || !has_recents(m->part, last_us))
			continue;
		for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
			uint32_t new = take_served(&m->part->served[c], i, now.count[i]);
			if (new)
				file(s, m->part, class_of(s, c, met, met_in_pool, new), i, new);
		}
	}
}

/* They came before the members were these. */
static void forget_now(struct scaling *s, const struct scaling_input *in)
{
	recents_forget(s->recent_now, RECENT_NOW);
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].part && in->members[i].part->recents)
			recents_forget(in->members[i].part->recents->now, RECENT_PART);
}

static void look_served(struct scaling *s, const struct scaling_input *in, uint64_t last_us)
{
	double met = 0, keep = exp(-(double)(in->now_us - last_us) / 1e6 / MET_MEMORY_S);
	for (size_t i = 0; i < in->n; i++)
		met += in->members[i].part ? others_met(in->members[i].part) : 0;
	s->met *= keep;
	s->met_n *= keep;
	recents_turn(s->recent_now, RECENT_NOW, now_spans_s, last_us, in->now_us);
	recents_turn(s->recent_alone, RECENT_ALONE, alone_spans_s, last_us, in->now_us);
	recents_turn(s->recent_solo, RECENT_ALONE, alone_spans_s, last_us, in->now_us);
	for (size_t i = 0; i < in->n; i++) {
		struct scaling_part *part = in->members[i].part;
		if (!part)
			continue;
		if (part->recents) {
			recents_turn(part->recents->now, RECENT_PART, part_now_spans_s, last_us,
				     in->now_us);
			recents_turn(part->recents->alone, RECENT_PART, part_alone_spans_s, last_us,
				     in->now_us);
		}
		fold_served(s, &in->members[i], last_us, met);
		part->others_sum = part->others_s = 0;
	}
	if (in->now_us <= s->drained_us)
		forget_now(s, in);
}

static void side_of_spread(const struct spread *s, struct scaling_side *out)
{
	out->n = s->n;
	out->p50_us = spread_quantile(s, 0.5);
	out->p95_us = spread_quantile(s, 0.95);
	spread_interval(s, 0.95, &out->p95_low_us, &out->p95_high_us);
	out->p95_least_us = out->p95_us;
}

/*
 * Does it cost anything to meet one other?  Where those who met one of their own node take as
 * long as those who met none of it, at the same time, there is another worker.
 */
static void look_company(struct scaling *s, const struct scaling_input *in)
{
	double n[2] = {0}, us[2] = {0};
	for (size_t i = 0; i < in->n; i++) {
		const struct scaling_part *part = in->members[i].part;
		for (unsigned k = 0; part && part->company && k < 2; k++) {
			n[k] += (double)part->company->n[k + 1];
			us[k] += (double)part->company->us[k + 1];
		}
	}
	if (n[0] >= ONE_MORE_MIN && n[1] >= ONE_MORE_MIN)
		s->one_is_free = us[1] / n[1] < ONE_MORE_COSTS * us[0] / n[0];
}

/* The share of those called alone who met others and may be the slower for it. */
static double doubtful_share(const struct scaling *s)
{
	double met = s->met_n > 0 ? s->met / s->met_n : 0;
	/* as many as Poisson says that they met on average: without those who met just one */
	return s->one_is_free && met > 0 ? met + (1 - met) * log(1 - met) : met;
}

/* Some of them may have met others, and been the slowest for it. */
static void doubt(struct scaling_side *side, const struct spread *spread, double met)
{
	double ignored;
	if (met <= 0)
		return;
	side->p95_least_us = spread_quantile(spread, 0.95 * (1 - met));
	spread_interval(spread, 0.95 * (1 - met), &side->p95_low_us, &ignored);
}

/*
 * Those who were alone in the whole pool, where there are enough: who was alone at its
 * backend may still have met the others at what they share.
 */
static void look_alone(struct scaling *s, const struct scaling_input *in)
{
	recents_pick(s->recent_solo, RECENT_ALONE, WANTED, &s->service);
	s->alone_in_pool = s->service.n >= SCALING_SAMPLES;
	if (!s->alone_in_pool)
		recents_pick(s->recent_alone, RECENT_ALONE, WANTED, &s->service);
	double met = doubtful_share(s);
	side_of_spread(&s->service, &s->alone);
	doubt(&s->alone, &s->service, met);
	s->alone_us = s->service.n >= SCALING_SAMPLES / 4 ? spread_mean(&s->service) : 0;
	for (size_t i = 0; i < in->n; i++) {
		struct scaling_part *part = in->members[i].part;
		struct spread own;
		if (!part || !part->recents)
			continue;
		recents_pick(part->recents->alone, RECENT_PART, WANTED, &own);
		side_of_spread(&own, &part->alone);
		doubt(&part->alone, &own, met);
	}
	/* where something is shared nothing is forecast */
	recents_pick(s->recent_alone, RECENT_ALONE, WANTED_AHEAD, &s->service);
	s->cv2_service = spread_cv2(&s->service);
}

/* ---- latency now ---- */

/* Sums a phase over the pool's backends. */
static double mean_phase(const struct scaling_input *in, enum phase phase)
{
	struct hist_total sum = {0}, part;
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].windows) {
			windows_read(in->members[i].windows, phase, WINDOW_10S, &part);
			hist_total_add(&sum, &part);
		}
	return hist_total_mean_us(&sum);
}

/*
 * What a client sees is the service and what weir adds to it.  The wait for a slot is
 * seldom the same for all: its mean is added as if the slow ones had twice of it.
 */
static void look_phases(struct scaling *s, const struct scaling_input *in)
{
	s->queue_us = mean_phase(in, PHASE_queue);
	s->connect_us = mean_phase(in, PHASE_connect);
	s->self_us = mean_phase(in, PHASE_self);
	double service = mean_phase(in, PHASE_wait) + mean_phase(in, PHASE_transfer);
	double own = s->queue_us + s->connect_us + s->self_us;
	s->total_us = service + own;
	s->seen_p95_us = s->now.p95_us + 2 * own;
	s->seen_p95_high_us = s->now.p95_high_us + 2 * own;
}

/*
 * A p99 needs more than what now is of; but what is older counts only where it is alike: after a
 * change it is of another time.
 */
static double p99_of_now(struct scaling *s, const struct spread *now)
{
	struct spread longer;
	recents_pick(s->recent_now, RECENT_NOW, WANTED_P99, &longer);
	double p95 = spread_quantile(&longer, 0.95);
	bool alike = p95 >= s->now.p95_low_us && p95 <= s->now.p95_high_us;
	return spread_quantile(alike ? &longer : now, 0.99);
}

static void look_now(struct scaling *s, const struct scaling_input *in)
{
	struct spread now;
	size_t at = recents_pick(s->recent_now, RECENT_NOW, SCALING_SAMPLES, &now);
	side_of_spread(&now, &s->now);
	s->now_p99_us = p99_of_now(s, &now);
	s->window_s = now_spans_s[at];
	s->now_since_us = s->recent_now[at].since_us[s->recent_now[at].n[1] > 0];
	look_phases(s, in);
	for (size_t i = 0; i < in->n; i++) {
		struct scaling_part *part = in->members[i].part;
		if (!part)
			continue;
		part->weight = in->members[i].weight;
		if (!part->recents)
			continue;
		at = recents_pick(part->recents->now, RECENT_PART, SCALING_SAMPLES, &now);
		side_of_spread(&now, &part->now);
		part->rate = recent_rate(&part->recents->now[at], in->now_us) + part->others_rate;
	}
}

/* ---- all of it ---- */

struct scaling *scaling_new(void)
{
	struct scaling *s = calloc(1, sizeof(*s));
	if (s)
		rng_init(&s->rng, 1); /* the same data give the same intervals */
	return s;
}

void scaling_forget_recents(struct scaling *s)
{
	recents_fini(s->recent_now, RECENT_NOW);
	recents_fini(s->recent_alone, RECENT_ALONE);
	recents_fini(s->recent_solo, RECENT_ALONE);
}

void scaling_free(struct scaling *s)
{
	if (s)
		scaling_forget_recents(s);
	free(s);
}

void scaling_look(struct scaling *s, const struct scaling_input *in)
{
	uint64_t last_us = s->looked_us ? s->looked_us : in->now_us;
	s->looked_us = in->now_us;
	s->looked_deaf = s->deaf;
	scaling_look_epoch(s, in);
	look_served(s, in, last_us);
	scaling_look_rate(s);
	scaling_look_peers(s, in);
	scaling_look_shift(s, in->pooled);
	scaling_look_slope(s);
	scaling_look_change(s, in); /* what it forgets is not read below */
	scaling_look_sizes(s, in);
	scaling_look_curve(s, in);
	look_company(s, in);
	look_alone(s, in);
	look_now(s, in);
	scaling_look_arrivals(s);
	s->growth = s->alone.p95_us > 0 && s->now.n > 0 ? s->now.p95_us / s->alone.p95_us : 0;
	scaling_predict(s, in);
	scaling_judge(s, in);
}
