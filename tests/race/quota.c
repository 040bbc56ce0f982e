/* SPDX-License-Identifier: MIT */
/*
 * The table of shared limits under four workers that ask for keys, make them and note what
 * they used, while the control thread collects and answers.  Nothing that was noted is lost
 * or counted twice as long as keys are in use; then the clock runs so fast that they are
 * given back and taken again all the time, and in the end none is left.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "filter/quotas.h"
#include "weir/base/check.h"
#include "weir/base/defs.h"
#include "weir/base/hash.h"
#include "weir/base/rng.h"

#define WORKERS 4
#define KEYS 64
#define STEPS 200000
#define REPORTS 256
#define LONG_US 20000000

static const struct gcra_limit limit = {8000, 80000};
static _Atomic int n_running;
static _Atomic uint64_t n_noted, now_us = 1000000;

static struct quota *quota_of(uint32_t key)
{
	uint64_t hash = hash_mix(key + 1);
	struct quota *quota = quota_find(hash);
	return quota ? quota : quota_claim(hash, key, &limit);
}

static void *work(void *arg)
{
	struct rng rng;
	uint64_t noted = 0;
	rng_init(&rng, (uint64_t)(uintptr_t)arg);
	for (int step = 0; step < STEPS; step++) {
		struct quota *quota = quota_of(rng_below(&rng, KEYS));
		uint32_t part = quota_part(quota);
		check(part > 0 && part <= QUOTA_WHOLE);
		if (!quota)
			continue;
		quota_note(quota, rng_below(&rng, 4) > 0, atomic_load(&now_us));
		noted++;
	}
	atomic_fetch_add(&n_noted, noted);
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

/* As cluster/limits.c does; the requests that were reported. */
static double collect(uint64_t step_us)
{
	struct quota_report reports[REPORTS];
	uint64_t now = atomic_load(&now_us) + step_us;
	double demand = 0;
	size_t n = quota_collect(reports, REPORTS, now);
	check(n <= REPORTS);
	for (size_t i = 0; i < n; i++) {
		check(reports[i].name < KEYS);
		check(reports[i].demand > 0 || reports[i].lease_us > 0);
		demand += reports[i].demand;
		const struct quota_answer answer = {100, 2 * reports[i].all_us, 50};
		quota_answer(&reports[i], &answer, now);
	}
	atomic_store(&now_us, now);
	return demand;
}

/* What all workers note while the clock goes on so far with each collection. */
static double run(uint64_t step_us)
{
	pthread_t threads[WORKERS];
	double reported = 0;
	atomic_store(&n_running, WORKERS);
	atomic_store(&n_noted, 0);
	for (uintptr_t w = 0; w < WORKERS; w++)
		check(pthread_create(&threads[w], NULL, work, (void *)(w + 1)) == 0);
	while (atomic_load(&n_running))
		reported += collect(step_us);
	for (int w = 0; w < WORKERS; w++)
		pthread_join(threads[w], NULL);
	/* a collection takes what fits */
	for (int i = 0; i < QUOTAS_MAX / 64; i++)
		reported += collect(0);
	return reported;
}

int main(void)
{
	check(gcra_table_ready(1000) && quota_table_ready());
	double reported = run(1);
	check(reported == (double)atomic_load(&n_noted));
	size_t n_keys = quota_count();
	check(n_keys >= KEYS);
	double fast = run(LONG_US);
	for (int i = 0; i < 3; i++)
		collect(LONG_US);
	check(quota_count() == 0);
	printf("%.0f requests of %zu keys, then %.0f of %llu\n", reported, n_keys, fast,
	       (unsigned long long)atomic_load(&n_noted));
	return 0;
}
