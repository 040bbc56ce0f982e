/* SPDX-License-Identifier: MIT */
/* What auto promises: least-request among equals, and a memory for who is slow. */
#include <criterion/criterion.h>
#include <math.h>

#include "balance/level.h"
#include "model.h"
#include "weir/base/bitset.h"

#define WORKERS 8
#define SECOND UINT64_C(1000000)

/* A pool that is quiet: every request ends before the next, on one of many workers. */
struct quiet {
	struct model m;
	void *locals[WORKERS];
	double mean_us[256];
	bool fails[256];
	uint32_t counts[256];
	uint64_t now_us;
};

static void quiet_init(struct quiet *q, uint32_t n, double mean_us)
{
	memset(q, 0, sizeof(*q));
	model_init(&q->m, strategy_find(VIEW("auto")), NULL, n, 77);
	for (int w = 0; w < WORKERS; w++) {
		q->locals[w] = arena_zalloc(q->m.arena, q->m.strategy->local_size(q->m.table));
		q->m.strategy->local_init(q->m.table, q->locals[w], rng_next(&q->m.rng));
	}
	for (uint32_t i = 0; i < n; i++)
		q->mean_us[i] = mean_us;
	q->now_us = 1000 * SECOND;
}

static double random_part(struct quiet *q)
{
	return ((double)rng_below(&q->m.rng, 1000000) + 0.5) / 1000000;
}

/* `rate` a second for a while, exponential latencies; counts by backend in q->counts. */
static void quiet_run(struct quiet *q, double rate, double seconds)
{
	struct model *m = &q->m;
	memset(q->counts, 0, sizeof(q->counts));
	for (uint64_t k = 0; k < (uint64_t)(rate * seconds); k++) {
		void *local = q->locals[rng_below(&m->rng, WORKERS)];
		struct strategy_input input = {.random = rng_next(&m->rng), .now_us = q->now_us};
		uint32_t i = m->strategy->pick(m->table, local, &input, m->eligible, &m->loads);
		double took = -log(random_part(q)) * q->mean_us[i] + 1;
		q->now_us += (uint64_t)(1e6 / rate);
		m->strategy->done(m->table, local, &m->loads, i,
				  &(struct strategy_result){
				      .error = q->fails[i],
				      .duration_us = (uint64_t)took,
				      .now_us = q->now_us,
				  });
		q->counts[i]++;
	}
}

Test(level, is_a_logarithm)
{
	for (uint64_t us = 0; us < UINT64_C(1) << 40; us += us / 7 + 1) {
		double exact = log2((double)us + LEVEL_FLOOR_US) * LEVEL_ONE;
		cr_assert(fabs(level_of(us) - exact) < 0.01 * LEVEL_ONE, "%lu us", us);
	}
	cr_assert_eq(level_of(UINT64_MAX), level_of(UINT64_C(1) << 40));
	for (uint32_t level = 0; level < 13 * LEVEL_ONE; level += 999) {
		double exact = exp2((double)level / LEVEL_ONE) * 256;
		cr_assert(fabs(level_factor(level) / exact - 1) < 0.01, "level %u", level);
	}
	cr_assert_eq(level_factor(UINT32_MAX), 1 << 22);
	for (uint64_t us = 1000; us < UINT64_C(1) << 29; us *= 3)
		cr_assert(fabs((double)level_us(level_of(us)) / (double)us - 1) < 0.02, "%lu us",
			  us);
	cr_assert_eq(level_us(0), 0);
}

/* One a second from all workers together, and no share of the requests. */
Test(auto_memory, a_slow_backend_gets_one_a_second)
{
	struct quiet q;
	static const double rates[] = {400, 4000, 40000};
	for (int r = 0; r < 3; r++) {
		quiet_init(&q, 4, 1000);
		q.mean_us[3] = 50000;
		quiet_run(&q, rates[r], 2); /* what it takes to find out */
		quiet_run(&q, rates[r], 20);
		cr_assert(q.counts[3] >= 15 && q.counts[3] <= 30, "at %.0f/s: %u", rates[r],
			  q.counts[3]);
		model_fini(&q.m);
	}
}

Test(auto_memory, it_is_found_out_quickly)
{
	struct quiet q;
	quiet_init(&q, 4, 1000);
	quiet_run(&q, 4000, 2);
	q.mean_us[3] = 50000;
	quiet_run(&q, 4000, 5);
	cr_assert(q.counts[3] < 25, "%u", q.counts[3]);
	model_fini(&q.m);
}

Test(auto_memory, recovery_is_noticed_within_two_seconds)
{
	for (int slower = 5; slower <= 1000; slower *= 3) {
		struct quiet q;
		quiet_init(&q, 4, 1000);
		q.mean_us[3] = 1000 * slower;
		quiet_run(&q, 4000, 10);
		q.mean_us[3] = 1000;
		quiet_run(&q, 4000, 2);
		quiet_run(&q, 4000, 1);
		cr_assert(q.counts[3] > 800, "%d times slower before: %u", slower, q.counts[3]);
		model_fini(&q.m);
	}
}

/* Noise makes nobody slow: the shares are those of least-request. */
/* One in `every` may be repeated; the others are never tried on the slow one while there are such.
 */
Test(auto_memory, requests_that_cannot_be_repeated_are_no_guinea_pigs)
{
	for (unsigned every = 2; every < 2000; every *= 40) {
		struct quiet q;
		uint32_t wary = 0, other = 0;
		quiet_init(&q, 4, 1000);
		q.mean_us[1] = 50000;
		quiet_run(&q, 4000, 2);
		for (unsigned k = 0; k < 40000; k++, q.now_us += 250) { /* 10 s */
			struct strategy_input input = {.random = rng_next(&q.m.rng),
						       .now_us = q.now_us,
						       .wary = k % every != 0};
			uint32_t i = q.m.strategy->pick(q.m.table, q.locals[0], &input,
							q.m.eligible, &q.m.loads);
			*(input.wary ? &wary : &other) += i == 1;
			q.m.strategy->done(q.m.table, q.locals[0], &q.m.loads, i,
					   &(struct strategy_result){
					       .duration_us = i == 1 ? 50000 : 1000,
					       .now_us = q.now_us,
					   });
		}
		cr_assert_eq(wary, 0, "every %u: %u", every, wary);
		cr_assert(other >= 8 && other <= 12, "every %u: %u", every, other);
		model_fini(&q.m);
	}
}

/* But when there are no others, they find out as well. */
Test(auto_memory, wary_requests_alone_notice_a_recovery)
{
	struct quiet q;
	uint32_t n = 0;
	quiet_init(&q, 4, 1000);
	q.mean_us[1] = 50000;
	quiet_run(&q, 4000, 2);
	for (unsigned k = 0; k < 8000; k++, q.now_us += 250) { /* 2 s */
		struct strategy_input input = {
		    .random = rng_next(&q.m.rng), .now_us = q.now_us, .wary = true};
		uint32_t i =
		    q.m.strategy->pick(q.m.table, q.locals[0], &input, q.m.eligible, &q.m.loads);
		n += i == 1;
		q.m.strategy->done(
		    q.m.table, q.locals[0], &q.m.loads, i,
		    &(struct strategy_result){.duration_us = 1000, .now_us = q.now_us});
	}
	cr_assert(n > 200, "it has recovered, and gets its share: %u", n);
	model_fini(&q.m);
}

Test(auto_memory, equal_backends_stay_equal)
{
	static const uint32_t sizes[] = {2, 4, 16, 64, 100};
	for (int k = 0; k < 5; k++) {
		struct quiet q;
		uint32_t n = sizes[k];
		quiet_init(&q, n, 1000);
		quiet_run(&q, n * 1000, 10);
		for (uint32_t i = 0; i < n; i++)
			cr_assert(fabs(q.counts[i] / 10000.0 - 1) < 0.08, "n %u: %u", n,
				  q.counts[i]);
		model_fini(&q.m);
	}
}

Test(auto_memory, differences_below_a_factor_of_two_do_not_count)
{
	struct quiet q;
	quiet_init(&q, 4, 10000);
	q.mean_us[0] = 15000;
	quiet_run(&q, 1000, 20);
	cr_assert(q.counts[0] > 4000, "%u", q.counts[0]);
	model_fini(&q.m);
}

Test(auto_memory, failing_fast_is_slow)
{
	struct quiet q;
	quiet_init(&q, 4, 5000);
	q.mean_us[2] = 100;
	q.fails[2] = true;
	quiet_run(&q, 1000, 20);
	cr_assert(q.counts[2] <= 40, "%u of 20000", q.counts[2]);
	q.fails[2] = false;
	q.mean_us[2] = 5000;
	quiet_run(&q, 1000, 2);
	quiet_run(&q, 1000, 10);
	cr_assert(q.counts[2] > 2000, "it is taken back: %u", q.counts[2]);
	model_fini(&q.m);
}

/* When everybody fails, or everybody is slow, nobody is worse than the others. */
Test(auto_memory, all_alike_is_equal)
{
	struct quiet q;
	quiet_init(&q, 4, 1000);
	quiet_run(&q, 1000, 5);
	for (int i = 0; i < 4; i++)
		q.fails[i] = true;
	quiet_run(&q, 1000, 20);
	for (int i = 0; i < 4; i++)
		cr_assert(q.counts[i] > 3500, "%u", q.counts[i]);
	model_fini(&q.m);
}

/* Nothing known is no reason to wait. */
Test(auto_memory, a_new_backend_has_its_share_at_once)
{
	struct quiet q;
	quiet_init(&q, 4, 1000);
	bitset_del(q.m.eligible, 1);
	quiet_run(&q, 1000, 10);
	bitset_put(q.m.eligible, 1);
	quiet_run(&q, 1000, 1);
	cr_assert(q.counts[1] > 150, "%u of 1000", q.counts[1]);
	model_fini(&q.m);
}

/* Above 64, where two are drawn: a third of the pool slow, and it hardly shows. */
Test(auto_memory, slow_ones_in_a_sampled_pool)
{
	struct quiet q;
	uint32_t slow = 0, total = 0;
	quiet_init(&q, 200, 1000);
	for (uint32_t i = 0; i < 60; i++)
		q.mean_us[i] = 50000;
	quiet_run(&q, 20000, 3);
	quiet_run(&q, 20000, 10);
	for (uint32_t i = 0; i < 200; i++) {
		slow += i < 60 ? q.counts[i] : 0;
		total += q.counts[i];
	}
	cr_assert(slow < total / 500, "%u of %u", slow, total);
	model_fini(&q.m);
}

/* It is left alone as long as the others have room, not for ever. */
Test(auto_memory, a_slow_backend_helps_when_the_others_are_busy)
{
	struct quiet q;
	quiet_init(&q, 4, 1000);
	q.mean_us[3] = 5000;
	quiet_run(&q, 4000, 10);
	for (int i = 0; i < 3; i++)
		q.m.in_flight[i] = 10000;
	quiet_run(&q, 1000, 1);
	cr_assert_eq(q.counts[3], 1000);
	model_fini(&q.m);
}

/* One that never answers is not asked every second. */
Test(auto_memory, one_that_owes_an_answer_is_tried_less)
{
	struct quiet q;
	quiet_init(&q, 4, 1000);
	q.mean_us[3] = 50000;
	quiet_run(&q, 4000, 5);
	q.m.in_flight[3] = 1;
	quiet_run(&q, 4000, 20);
	cr_assert(q.counts[3] >= 3 && q.counts[3] <= 8, "%u", q.counts[3]);
	model_fini(&q.m);
}

/* Weights and slowness together. */
Test(auto_memory, weights_hold_among_the_fast)
{
	static const uint32_t weights[4] = {1, 2, 4, 4};
	struct quiet q;
	quiet_init(&q, 4, 1000);
	for (int i = 0; i < 4; i++)
		q.m.members[i].weight = weights[i];
	q.m.table = q.m.strategy->build(q.m.members, 4, &q.m.options, q.m.arena);
	q.mean_us[3] = 20000;
	quiet_run(&q, 7000, 2);
	quiet_run(&q, 7000, 10);
	for (int i = 0; i < 3; i++)
		cr_assert(fabs(q.counts[i] / (10000.0 * weights[i]) - 1) < 0.03, "%u: %u",
			  weights[i], q.counts[i]);
	model_fini(&q.m);
}
