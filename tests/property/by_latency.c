/* SPDX-License-Identifier: MIT */
/* What peak-ewma and prequal promise: two backends, or three, and a clock. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "model.h"
#include "weir/base/defs.h"

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)
#define PICKS 1000

static struct model m;
static uint64_t now;
static uint32_t counts[3];

static void begin(const char *keyword, uint32_t n, struct strategy_options options)
{
	model_init(&m, strategy_find(view_str(keyword)), NULL, n, 7);
	m.table = m.strategy->build(m.members, n, &options, m.arena);
	now = 1000 * SECOND;
}

static uint32_t pick(void)
{
	struct strategy_input input = {.random = rng_next(&m.rng), .now_us = now};
	return m.strategy->pick(m.table, m.local, &input, m.eligible, &m.loads);
}

static void done(uint32_t i, uint64_t took, bool error)
{
	const struct strategy_result result = {
	    .error = error,
	    .duration_us = took,
	    .now_us = now,
	    .others = strategy_load(&m.loads, i),
	};
	m.strategy->done(m.table, m.local, &m.loads, i, &result);
}

/* Picks, a millisecond apart, that say nothing back. */
static void count(void)
{
	memset(counts, 0, sizeof(counts));
	for (int k = 0; k < PICKS; k++, now += MS)
		counts[pick()]++;
}

/* ---- peak-ewma ---- */

Test(peak_ewma, half_is_forgotten_after_tau_ln_2)
{
	static const uint32_t taus_ms[] = {0, 100, 1000, 60000};
	for (size_t k = 0; k < ARRAY_LEN(taus_ms); k++) {
		for (int late = 0; late < 2; late++) {
			begin("peak-ewma", 2, (struct strategy_options){.tau_ms = taus_ms[k]});
			double tau = taus_ms[k] ? taus_ms[k] : 5000;
			done(0, SECOND, false);
			now += (uint64_t)(tau * log(2) * (late ? 1.05 : 0.95)) * MS;
			done(1, SECOND / 2, false);
			for (int p = 0; p < 100; p++)
				cr_assert_eq(pick(), !late, "tau %.0f ms", tau);
			model_fini(&m);
		}
	}
}

Test(peak_ewma, a_peak_counts_at_once)
{
	begin("peak-ewma", 2, (struct strategy_options){0});
	done(0, 10 * MS, false);
	done(0, 100 * MS, false);
	done(1, 99 * MS, false);
	cr_assert_eq(pick(), 1);
	done(1, 101 * MS, false);
	cr_assert_eq(pick(), 0);
	model_fini(&m);
}

Test(peak_ewma, the_faster_of_two_gets_most)
{
	begin("peak-ewma", 2, (struct strategy_options){0});
	uint32_t n = 0;
	for (int k = 0; k < PICKS; k++, now += 10 * MS) {
		uint32_t i = pick();
		n += i == 0;
		done(i, i ? 100 * MS : 10 * MS, false);
	}
	cr_assert(n > PICKS * 8 / 10 && n < PICKS, "%u", n);
	model_fini(&m);
}

Test(peak_ewma, a_fast_error_is_a_slow_answer)
{
	begin("peak-ewma", 2, (struct strategy_options){0});
	done(0, 100, true);
	done(1, 900 * MS, false);
	cr_assert_eq(pick(), 1);
	model_fini(&m);
}

Test(peak_ewma, one_that_has_never_answered_is_tried_and_then_waited_for)
{
	begin("peak-ewma", 2, (struct strategy_options){0});
	done(0, MS, false);
	cr_assert_eq(pick(), 1);
	m.in_flight[1] = 1;
	cr_assert_eq(pick(), 0);
	done(1, 0, false); /* its client left: nothing is learned */
	m.in_flight[1] = 0;
	cr_assert_eq(pick(), 1);
	model_fini(&m);
}

/* ---- prequal ---- */

/* 1, 8 and 64 ms, seen with so many in flight as there are. */
static void teach(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		for (int k = 0; k < 20; k++)
			done(i, MS << 3 * i, false);
}

Test(prequal, cold_ones_go_by_latency_and_are_all_asked_once_a_second)
{
	begin("prequal", 3, (struct strategy_options){0});
	teach(3);
	count();
	cr_assert(counts[0] > PICKS * 7 / 10 && counts[2] < PICKS / 20, "%u %u %u", counts[0],
		  counts[1], counts[2]);
	now += SECOND; /* without an answer */
	count();
	cr_assert(counts[1] >= 1 && counts[2] >= 1 && counts[2] < PICKS / 20, "%u %u", counts[1],
		  counts[2]);
	model_fini(&m);
}

Test(prequal, hot_is_what_is_above_the_quantile)
{
	m = (struct model){0};
	for (int most = 0; most < 2; most++) {
		begin("prequal", 3, (struct strategy_options){.hot_percent = most ? 99 : 0});
		for (uint32_t i = 0; i < 3; i++)
			m.in_flight[i] = 2 * (3 - i);
		teach(3);
		count(); /* until enough answers are known to have a quantile */
		count();
		uint32_t best = most ? 0 : 1; /* the fastest, or the fastest that is not hot */
		cr_assert(counts[best] > PICKS * 8 / 10, "%d: %u %u %u", most, counts[0], counts[1],
			  counts[2]);
		model_fini(&m);
	}
}

Test(prequal, an_error_makes_hot_for_a_second)
{
	begin("prequal", 3, (struct strategy_options){0});
	teach(3);
	done(0, 100, true);
	memset(counts, 0, sizeof(counts));
	for (int k = 0; k < 900; k++, now += MS)
		counts[pick()]++;
	cr_assert_eq(counts[0], 0, "the fastest, but it failed");
	now += SECOND / 5;
	count();
	cr_assert(counts[0] > PICKS / 2, "%u", counts[0]);
	model_fini(&m);
}

Test(prequal, a_report_counts_for_a_second)
{
	begin("prequal", 3, (struct strategy_options){0});
	const struct strategy_report report = {.in_flight = 40, .at_us = now};
	atomic_store(&m.memory[0].report, strategy_report_pack(report));
	teach(3);
	memset(counts, 0, sizeof(counts));
	for (int k = 0; k < 900; k++, now += MS)
		counts[pick()]++;
	cr_assert(counts[0] < 20, "others keep it busy: %u", counts[0]);
	now += SECOND / 5;
	count();
	cr_assert(counts[0] > PICKS / 2, "nobody has said so for a while: %u", counts[0]);
	model_fini(&m);
}

Test(prequal, without_any_knowledge_it_serves_all)
{
	begin("prequal", 3, (struct strategy_options){0});
	count();
	for (int i = 0; i < 3; i++)
		cr_assert(counts[i] > PICKS / 5, "%u", counts[i]);
	model_fini(&m);
}
