/* SPDX-License-Identifier: MIT */
/* Who leads: as if each one was compared to all others, and in no more time than a look may take.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "health/odd.h"
#include "weir/base/rng.h"

#define SMALL 12
#define LARGE 60000
#define ROUNDS 20000

static struct loop loop = {.now_us = UINT64_C(1000000000)};
static struct health health = {.loop = &loop};
static struct health_pool hp;
static struct backend backends[SMALL]; /* in a large pool they all are the first of them */

static void begin(struct health_target *targets, uint32_t n)
{
	hp = (struct health_pool){.health = &health, .n_targets = n};
	list_init(&hp.targets);
	memset(targets, 0, n * sizeof(*targets));
	memset(backends, 0, sizeof(backends));
	for (uint32_t i = 0; i < n; i++) {
		struct backend *b = &backends[n > SMALL ? 0 : i];
		targets[i] = (struct health_target){
		    .health = &health, .pool = &hp, .backend = b, .weight = 1};
		atomic_store(&b->state, BACKEND_up);
		list_push_back(&hp.targets, &targets[i].link);
	}
}

static void make_one(struct health_target *t, struct rng *rng)
{
	static const uint64_t times_us[] = {0, 1, 500, 900, 1500, 1501, 3000, 4500, 9000};
	static const double answers[] = {0, 1, 15, 16, 40, 48, 100, 400};
	t->weight = rng_below(rng, 4);
	t->ejected = rng_below(rng, 10) == 0;
	for (unsigned s = 0; s < ODD_SPANS; s++)
		t->odd.recent[s].n = answers[rng_below(rng, ARRAY_LEN(answers))];
	atomic_store(&t->backend->newest_us, times_us[rng_below(rng, ARRAY_LEN(times_us))]);
}

/* By the words of the guide: three times the requests of each of the others, for its weight, or a
 * third of the time of most. */
static bool should_lead(const struct health_target *of, const struct health_target *targets,
			uint32_t n)
{
	unsigned others = 0, known = 0, slower = 0;
	double answers[ODD_SPANS] = {0}, weights = 0;
	uint64_t own = atomic_load(&of->backend->newest_us);
	bool ahead = false;
	for (uint32_t i = 0; i < n; i++) {
		const struct health_target *t = &targets[i];
		uint64_t us = atomic_load(&t->backend->newest_us);
		if (t == of || !odd_takes_part(t))
			continue;
		others++;
		weights += t->weight;
		for (unsigned s = 0; s < ODD_SPANS; s++)
			answers[s] += t->odd.recent[s].n;
		known += us > 0;
		slower += us >= 3 * own && us >= own + 1000;
	}
	for (unsigned s = 0; s < ODD_SPANS && others > 1; s++)
		ahead |= odd_is_ahead(of->odd.recent[s].n, answers[s], of->weight / weights);
	return odd_takes_part(of) && (ahead || (own > 0 && slower > 1 && slower * 2 > known));
}

Test(odd_lead, it_is_as_if_each_was_compared_to_all_others)
{
	static struct health_target targets[SMALL];
	unsigned n_leaders = 0;
	struct rng rng;
	rng_init(&rng, 11);
	for (int round = 0; round < ROUNDS; round++) {
		uint32_t n = rng_below(&rng, SMALL + 1);
		bool any = false;
		begin(targets, n);
		for (uint32_t i = 0; i < n; i++)
			make_one(&targets[i], &rng);
		bool found = odd_find_leaders(&hp);
		for (uint32_t i = 0; i < n; i++) {
			bool should = should_lead(&targets[i], targets, n);
			cr_assert_eq(targets[i].odd.leads, should, "round %d, %u of %u", round, i,
				     n);
			any |= should;
			n_leaders += should;
		}
		cr_assert_eq(found, any);
	}
	cr_assert_gt(n_leaders, ROUNDS / 20);
}

/* A thousandth of the limit; if each was compared to all others it took minutes. */
Test(odd_lead, a_large_pool_is_looked_at_in_no_time, .timeout = 30)
{
	struct health_target *targets = malloc(LARGE * sizeof(*targets));
	begin(targets, LARGE);
	cr_assert(!odd_find_leaders(&hp));
	targets[7].odd.recent[1].n = 100;
	cr_assert(odd_find_leaders(&hp) && targets[7].odd.leads);
	free(targets);
}
