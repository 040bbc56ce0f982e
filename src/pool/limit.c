/* SPDX-License-Identifier: MIT */
/*
 * Adaptive limits: how many requests at once a backend answers without queueing (a gradient of
 * latency).
 */
#include "weir/pool/limit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

#define TOLERANCE 1.25
#define GRADIENT_MIN 0.5
#define GRADIENT_MAX 2.0
#define DROP_FACTOR 0.9
#define BASELINE_AGE_US (UINT64_C(600) * 1000000)
#define AT_MIN_WINDOWS 5
/* The first lets drain what is in flight, the second measures. */
#define REFRESH_WINDOWS 2
/* A new baseline counts this much beside the one so far. */
#define BASELINE_WEIGHT 0.3

void limit_init(struct limit *limit, uint32_t max, uint64_t now_us)
{
	*limit = (struct limit){.max = max, .baseline_at_us = now_us};
	limit->value = max < LIMIT_START ? max : LIMIT_START;
}

static void set_baseline(struct limit *limit, uint64_t us, uint64_t now_us)
{
	limit->baseline_us = us ? us : 1;
	limit->baseline_at_us = now_us;
	limit->n_at_min = 0;
}

static void learn_baseline(struct limit *limit, const struct limit_window *w, uint64_t now_us)
{
	if (w->n_low >= LIMIT_WINDOW_SAMPLES) {
		double us = (double)w->low_us;
		if (limit->baseline_us)
			us = us * BASELINE_WEIGHT +
			     (double)limit->baseline_us * (1 - BASELINE_WEIGHT);
		set_baseline(limit, (uint64_t)us, now_us);
	} else if (!limit->baseline_us || limit->n_at_min >= AT_MIN_WINDOWS) {
		set_baseline(limit, w->latency_us, now_us);
	} else if (w->latency_us < limit->baseline_us) {
		limit->baseline_us = w->latency_us ? w->latency_us : 1;
	}
}

/* True while the limit is halved to see what the backend can do at low load. */
static bool refresh(struct limit *limit, const struct limit_window *w, uint64_t now_us)
{
	if (limit->refreshing) {
		if (--limit->refreshing == 0)
			set_baseline(limit, w->latency_us, now_us);
		return true;
	}
	if (now_us - limit->baseline_at_us < BASELINE_AGE_US)
		return false;
	limit->refreshing = REFRESH_WINDOWS;
	return true;
}

static double next_value(const struct limit *limit, const struct limit_window *w)
{
	double gradient = (double)limit->baseline_us * TOLERANCE / (double)limit->latency_us;
	if (gradient < GRADIENT_MIN)
		gradient = GRADIENT_MIN;
	if (gradient > GRADIENT_MAX)
		gradient = GRADIENT_MAX;
	double shrunk = limit->value * gradient, next = shrunk + sqrt(shrunk);
	if (next > limit->value && w->peak < limit->value / 2)
		next = limit->value;
	return w->n_drops ? next * DROP_FACTOR : next;
}

void limit_update(struct limit *limit, const struct limit_window *w, uint64_t now_us)
{
	double least = limit->max < LIMIT_MIN ? limit->max : LIMIT_MIN;
	if (w->n < LIMIT_WINDOW_SAMPLES) { /* hardly an answer: only drops can be the reason */
		limit->value = fmax(limit->value * DROP_FACTOR, least);
		return;
	}
	limit->latency_us = w->latency_us ? w->latency_us : 1;
	if (refresh(limit, w, now_us))
		return;
	learn_baseline(limit, w, now_us);
	limit->value = fmin(fmax(next_value(limit, w), least), limit->max);
	limit->n_at_min = limit->value <= least + 0.5 ? (uint8_t)(limit->n_at_min + 1) : 0;
}

uint32_t limit_now(const struct limit *limit)
{
	double value = limit->refreshing ? limit->value / 2 : limit->value;
	uint32_t n = (uint32_t)value;
	return n ? n : 1;
}

/* ---- of one backend ---- */

struct limiter {
	struct limit limit;
	struct hist_total all, low; /* as they were at the last window */
	uint64_t drops;
	unsigned n_workers;
	struct limit_local *local; /* [n_workers]; owns */
};

struct limiter *limiter_new(unsigned n_workers, uint32_t max, uint64_t now_us)
{
	struct limiter *limiter = calloc(1, sizeof(*limiter));
	check(limiter != NULL);
	size_t size = n_workers * sizeof(*limiter->local);
	limiter->local = aligned_alloc(WEIR_CACHE_LINE, size);
	check(limiter->local != NULL);
	memset(limiter->local, 0, size);
	limiter->n_workers = n_workers;
	limit_init(&limiter->limit, max, now_us);
	return limiter;
}

void limiter_free(struct limiter *limiter)
{
	if (!limiter)
		return;
	for (unsigned i = 0; i < limiter->n_workers; i++) {
		hist_fini(&limiter->local[i].all);
		hist_fini(&limiter->local[i].low);
	}
	free(limiter->local);
	free(limiter);
}

void limiter_set_max(struct limiter *limiter, uint32_t max)
{
	limiter->limit.max = max;
	limiter->limit.value = fmin(limiter->limit.value, max);
}

const struct limit *limiter_limit(const struct limiter *limiter)
{
	return &limiter->limit;
}

/* *now minus *before. */
static void subtract(struct hist_total *out, const struct hist_total *now,
		     const struct hist_total *before)
{
	*out = (struct hist_total){.max_us = now->max_us};
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		out->count[i] = (now->count[i] - before->count[i]) & HIST_COUNT_MASK;
		out->n += out->count[i];
	}
}

static void read_totals(struct limiter *limiter, struct hist_total *all, struct hist_total *low,
			struct limit_window *w)
{
	*all = *low = (struct hist_total){0};
	uint64_t drops = 0;
	for (unsigned i = 0; i < limiter->n_workers; i++) {
		struct limit_local *local = &limiter->local[i];
		hist_total_add_hist(all, &local->all);
		hist_total_add_hist(low, &local->low);
		drops += counter_get(&local->drops);
		uint32_t peak = atomic_load_explicit(&local->peak, memory_order_relaxed);
		w->peak = peak > w->peak ? peak : w->peak;
	}
	w->n_drops = drops - limiter->drops;
}

/* The window is used up. */
static void begin_window(struct limiter *limiter, const struct hist_total *all,
			 const struct hist_total *low, uint64_t n_drops)
{
	limiter->all = *all;
	limiter->low = *low;
	limiter->drops += n_drops;
	for (unsigned i = 0; i < limiter->n_workers; i++)
		atomic_store_explicit(&limiter->local[i].peak, 0, memory_order_relaxed);
}

uint32_t limiter_tick(struct limiter *limiter, uint64_t now_us)
{
	struct hist_total all, low, diff;
	struct limit_window w = {0};
	read_totals(limiter, &all, &low, &w);
	subtract(&diff, &all, &limiter->all);
	w.n = diff.n;
	w.latency_us = hist_total_quantile(&diff, 0.5);
	subtract(&diff, &low, &limiter->low);
	w.n_low = diff.n;
	w.low_us = hist_total_quantile(&diff, 0.5);
	if (w.n + w.n_drops >= LIMIT_WINDOW_SAMPLES) {
		limit_update(&limiter->limit, &w, now_us);
		begin_window(limiter, &all, &low, w.n_drops);
	}
	return limit_now(&limiter->limit);
}

void limiter_note(struct limiter *limiter, unsigned worker, uint32_t limit, uint32_t others,
		  bool error, uint64_t latency_us)
{
	struct limit_local *local = &limiter->local[worker];
	if (others + 1 > atomic_load_explicit(&local->peak, memory_order_relaxed))
		atomic_store_explicit(&local->peak, others + 1, memory_order_relaxed);
	if (error) {
		counter_add(&local->drops, 1);
		return;
	}
	hist_record(&local->all, latency_us);
	if (others <= limit / 4)
		hist_record(&local->low, latency_us);
}

/* ---- for the process that takes over ---- */

void limiter_pack(const struct limiter *limiter, struct str *out)
{
	const struct limit *limit = &limiter->limit;
	pack_double(out, limit->value);
	pack_u64(out, limit->latency_us);
	pack_u64(out, limit->baseline_us);
	pack_u64(out, limit->baseline_at_us);
	pack_u64(out, limit->n_at_min);
}

uint32_t limiter_unpack(struct unpack *in, struct limiter *limiter, uint64_t now_us)
{
	struct limit next = {.max = limiter->limit.max, .value = unpack_double(in)};
	next.latency_us = unpack_u64(in);
	next.baseline_us = unpack_u64(in);
	next.baseline_at_us = unpack_max(in, now_us);
	next.n_at_min = (uint8_t)unpack_max(in, UINT8_MAX);
	next.value = fmin(next.value, next.max);
	if (!in->bad && next.value >= 1)
		limiter->limit = next;
	return limit_now(&limiter->limit);
}
