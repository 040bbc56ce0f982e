/* SPDX-License-Identifier: MIT */
/* What is kept of a busy backend, in bytes: all phases, failures, history and levels in use. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <math.h>

#include "weir/base/rng.h"
#include "weir/stats/history.h"
#include "weir/stats/minute.h"
#include "weir/stats/scaling.h"
#include "weir/stats/slow.h"
#include "weir/stats/window.h"

#define SECOND UINT64_C(1000000)
#define SECONDS 2000 /* the history is full twice */
#define PER_SECOND 100
#define FAILS 50 /* one in so many */
#define IN_FLIGHT 40

struct busy {
	struct rng rng;
	struct hist_set ok, failed; /* a worker's: they are counted elsewhere */
	struct levels *levels;
	struct windows *windows, *broken;
	struct history *history;
	struct scaling_part *part;
	struct scaling *pool;
	struct minute *minute;
	uint64_t requests, errors;
};

static double uniform(struct rng *rng)
{
	return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

/* From 30 us to some seconds: a factor of four either way is two in three. */
static uint64_t duration_us(struct rng *rng)
{
	double a = uniform(rng), b = uniform(rng);
	return (uint64_t)(20000 * exp(1.4 * sqrt(-2 * log(1 - a)) * cos(6.283185307 * b))) + 30;
}

static void ask(struct busy *b)
{
	uint64_t us[N_PHASES];
	bool fails = rng_below(&b->rng, FAILS) == 0;
	for (int p = 0; p < N_PHASES; p++)
		us[p] = duration_us(&b->rng);
	struct hist_set *set = fails ? &b->failed : &b->ok;
	hist_sets_record_all(&set, 1, us);
	levels_served(b->levels, rng_below(&b->rng, IN_FLIGHT), rng_below(&b->rng, 4),
		      us[PHASE_total]);
	b->requests++;
	b->errors += fails;
}

static void second(struct busy *b, uint64_t now_us)
{
	static const double q[] = {0.5, 0.99};
	const struct hist_set *ok = &b->ok, *failed = &b->failed;
	const struct levels *levels = b->levels;
	struct history_row row = {.at_us = now_us, .in_flight = (float)(20 * uniform(&b->rng))};
	uint64_t us[2], requests = b->requests, errors = b->errors;
	uint32_t n = (uint32_t)(PER_SECOND / 2 + rng_below(&b->rng, PER_SECOND));
	for (uint32_t i = 0; i < n; i++)
		ask(b);
	windows_fold(b->windows, &ok, 1, now_us);
	windows_fold(b->broken, &failed, 1, now_us);
	windows_newest(b->windows, PHASE_total, q, 2, us);
	row.requests = (uint32_t)(b->requests - requests);
	row.errors = (uint32_t)(b->errors - errors);
	row.p50_us = (uint32_t)us[0];
	row.p99_us = (uint32_t)us[1];
	row.queue = (uint16_t)rng_below(&b->rng, 10);
	history_push(b->history, &row);
	minute_second(b->minute, &row, b->windows);
	scaling_count(b->pool, n);
	scaling_part_fold(b->part, b->pool, &levels, 1);
}

static size_t used(void)
{
	return mallinfo2().uordblks;
}

/*
 * 51 KiB before counts of slots had as many bits as they need, and the minute was sparse.  Beside
 * it a backend has some 11 KiB: its health, its slowest exchanges, itself.
 */
#define MOST (46 * 1024)

Test(memory, of_a_busy_backend)
{
	struct busy b = {.levels = levels_new(), .pool = scaling_new()};
	rng_init(&b.rng, 7);
	b.windows = windows_new(0);
	b.broken = windows_new(0);
	b.history = history_new();
	b.part = scaling_part_new();
	b.minute = minute_new();
	for (uint32_t s = 1; s <= SECONDS; s++)
		second(&b, s * SECOND);
	size_t before = used();
	windows_free(b.windows);
	windows_free(b.broken);
	history_free(b.history);
	scaling_part_free(b.part);
	minute_free(b.minute);
	cr_assert(before - used() <= MOST, "%zu bytes", before - used());
	levels_free(b.levels);
	scaling_free(b.pool);
	hist_set_fini(&b.ok);
	hist_set_fini(&b.failed);
}
