/* SPDX-License-Identifier: MIT */
/*
 * How long an answer of the pool takes: the medians of its backends, each for
 * its part of the traffic.  Good enough to see that a deadline cannot be met.
 * And when an answer is late: the quantile that hedging goes by, exact for the
 * last second, smoothed over some.  And how long backends take beside each other, which says who
 * is slow, or faster than is right.
 */
#include "weir/base/defs.h"
#include "weir/pool/pool.h"

/* As many a second make fifty in the ten seconds that a rate covers. */
#define RATE_MIN 5

/* Of fewer the last ten seconds are taken, or the last minute, where so many came. */
#define FEW_MIN 5
#define SECOND_US UINT64_C(1000000)

static const struct {
	enum window window;
	uint64_t span_us;
} long_ago[] = {{WINDOW_10S, 10 * SECOND_US}, {WINDOW_1M, 70 * SECOND_US}};

/* Nothing is late before a millisecond. */
#define HEDGE_MIN_US 1000
/* Answers in a second that make a quantile. */
#define HEDGE_SAMPLES 20

static void work_out_hedge(struct pool *pool)
{
	struct hist_total total = {0};
	double share = pool->conf->retry.hedge.after_share;
	if (pool->state->windows)
		windows_newest_add(pool->state->windows, PHASE_wait, &total);
	if (total.n < HEDGE_SAMPLES)
		return;
	uint64_t us = hist_total_quantile(&total, share);
	uint64_t old = atomic_load_explicit(&pool->state->hedge_after_us, memory_order_relaxed);
	us = old ? (3 * old + us) / 4 : us;
	atomic_store_explicit(&pool->state->hedge_after_us, us < HEDGE_MIN_US ? HEDGE_MIN_US : us,
			      memory_order_relaxed);
}

/* Whom health finds slow beside the others: it goes by this. */
static void publish_waits(struct pool *pool)
{
	for (uint32_t i = 0; i < pool->n; i++) {
		struct backend *b = pool->backends[i];
		struct hist_total wait = {0};
		if (b->windows)
			windows_read(b->windows, PHASE_wait, WINDOW_10S, &wait);
		atomic_store_explicit(&b->n_waits, wait.n, memory_order_relaxed);
		atomic_store_explicit(&b->wait_p50_us, hist_total_quantile(&wait, 0.5),
				      memory_order_relaxed);
	}
}

/* Of a few in a second it is an accident. */
static void publish_newest(struct backend *b, bool often, uint64_t last_second_us)
{
	uint64_t us = often ? last_second_us : 0, span_us = SECOND_US;
	for (size_t i = 0; i < ARRAY_LEN(long_ago) && !us; i++) {
		struct hist_summary wait;
		windows_summary(b->windows, PHASE_wait, long_ago[i].window, &wait);
		us = wait.n >= FEW_MIN ? wait.p50_us : 0;
		span_us = long_ago[i].span_us;
	}
	atomic_store_explicit(&b->newest_span_us, span_us, memory_order_relaxed);
	atomic_store_explicit(&b->newest_us, us, memory_order_relaxed);
}

void pool_typical(struct pool *pool)
{
	if (pool->conf->outlier.on && pool->conf->outlier.latency_factor)
		publish_waits(pool);
	if (pool->conf->retry.hedge.on && pool->conf->retry.hedge.after_share > 0)
		work_out_hedge(pool);
	static const double half[] = {0.5};
	double rate = 0, sum = 0;
	for (uint32_t i = 0; i < pool->n; i++) {
		struct backend *b = pool->backends[i];
		uint64_t us = 0;
		double part = rate_per_s(&b->rate);
		if (part > 0 && b->windows)
			windows_newest(b->windows, PHASE_wait, half, 1, &us);
		if (b->windows)
			publish_newest(b, part >= RATE_MIN, us);
		if (!us)
			continue;
		rate += part;
		sum += part * (double)us;
	}
	atomic_store_explicit(&pool->state->typical_us,
			      rate >= RATE_MIN ? (uint64_t)(sum / rate) : 0, memory_order_relaxed);
}
