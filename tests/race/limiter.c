/* SPDX-License-Identifier: MIT */
/*
 * The adaptive limit of one backend, by force: four workers take slots up to the
 * limit as it is at that moment, note what became of them and give them back, while
 * the control thread works the limit out again and again.  Never is more in flight
 * than the highest limit there was, and the limit stays within its bounds.
 */
#include <pthread.h>
#include <stdio.h>

#include "weir/base/check.h"
#include "weir/base/rng.h"
#include "weir/pool/limit.h"

#define WORKERS 4
#define STEPS 200000
#define MAX 64

static struct limiter *limiter;
static _Atomic uint32_t limit_in_force, in_flight;
static _Atomic int n_running = WORKERS;
static _Atomic uint64_t n_taken;

/* As pool.c does: counts in only below the limit. */
static bool claim(uint32_t max, uint32_t *others)
{
	*others = atomic_load(&in_flight);
	while (*others < max)
		if (atomic_compare_exchange_weak(&in_flight, others, *others + 1))
			return true;
	return false;
}

static void *work(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;
	uint64_t taken = 0;
	struct rng rng;
	rng_init(&rng, id + 1);
	for (int step = 0; step < STEPS; step++) {
		uint32_t limit = atomic_load_explicit(&limit_in_force, memory_order_relaxed),
			 others;
		if (!claim(limit, &others))
			continue;
		check(others < MAX);
		taken++;
		bool error = rng_below(&rng, 500) == 0;
		limiter_note(limiter, id, limit, others, error,
			     1000 + 500 * others + rng_below(&rng, 500));
		check(atomic_fetch_sub(&in_flight, 1) > 0);
	}
	atomic_fetch_add(&n_taken, taken);
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

int main(void)
{
	pthread_t threads[WORKERS];
	uint64_t now = 1000000;
	uint32_t least = UINT32_MAX, most = 0, ticks = 0;
	limiter = limiter_new(WORKERS, MAX, now);
	atomic_store(&limit_in_force, limit_now(limiter_limit(limiter)));
	for (uintptr_t w = 0; w < WORKERS; w++)
		check(pthread_create(&threads[w], NULL, work, (void *)w) == 0);
	while (atomic_load(&n_running)) {
		uint32_t limit = limiter_tick(limiter, now += LIMIT_WINDOW_US);
		check(limit >= LIMIT_MIN / 2 && limit <= MAX);
		least = limit < least ? limit : least;
		most = limit > most ? limit : most;
		ticks++;
		atomic_store_explicit(&limit_in_force, limit, memory_order_relaxed);
	}
	for (int w = 0; w < WORKERS; w++)
		pthread_join(threads[w], NULL);
	check(atomic_load(&in_flight) == 0);
	check(atomic_load(&n_taken) > 0);
	printf("%u ticks, limit %u to %u, %llu taken\n", ticks, least, most,
	       (unsigned long long)atomic_load(&n_taken));
	limiter_free(limiter);
	return 0;
}
