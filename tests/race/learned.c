/* SPDX-License-Identifier: MIT */
/*
 * The table of learned pins under four workers that learn and look up the same few
 * hundred sessions, more than the table holds, while the control thread counts and
 * copies.  Whatever is found belongs to the session that was asked for, though half
 * of a slot may be another's at any moment.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "weir/base/check.h"
#include "weir/base/hash.h"
#include "weir/base/rng.h"
#include "weir/pool/learn.h"

#define WORKERS 4
#define SESSIONS 512
#define ENTRIES 256
#define STEPS 200000
#define TTL_S 100

static struct learned *table;
static _Atomic int n_running = WORKERS;
static _Atomic uint64_t n_found;

static uint64_t key_of(uint32_t session)
{
	return hash_mix(session + 1) | 1;
}

/* Two backends for each session, which may move: nothing else may be found. */
static uint32_t serial_of(uint32_t session, bool moved)
{
	return 2 * session + 1 + moved;
}

static void *work(void *arg)
{
	struct rng rng;
	uint64_t found = 0;
	rng_init(&rng, (uint64_t)(uintptr_t)arg);
	for (int step = 0; step < STEPS; step++) {
		uint32_t session = rng_below(&rng, SESSIONS);
		uint64_t now_s = 1000 + (uint64_t)step / 1000;
		if (rng_below(&rng, 4) == 0) {
			learn_put(table, key_of(session), serial_of(session, rng_below(&rng, 2)),
				  now_s, TTL_S);
			continue;
		}
		uint32_t serial = learn_get(table, key_of(session), now_s, TTL_S);
		check(serial == 0 || serial == serial_of(session, false) ||
		      serial == serial_of(session, true));
		found += serial != 0;
	}
	atomic_fetch_add(&n_found, found);
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

/* As the control thread does for the API, and at a reload with another size. */
static void look(struct rng *rng)
{
	struct learned *bigger = learned_new(4 * ENTRIES);
	check(bigger);
	check(learned_count(table, 1 + rng_below(rng, 2 * SESSIONS), 1000, TTL_S) <= ENTRIES);
	learned_copy(bigger, table, 1000);
	learned_put(bigger);
}

int main(void)
{
	pthread_t threads[WORKERS];
	struct rng rng;
	uint32_t n = 0;
	rng_init(&rng, 99);
	table = learned_new(ENTRIES);
	check(table);
	for (uintptr_t w = 0; w < WORKERS; w++)
		check(pthread_create(&threads[w], NULL, work, (void *)(w + 1)) == 0);
	while (atomic_load(&n_running))
		look(&rng);
	for (int w = 0; w < WORKERS; w++)
		pthread_join(threads[w], NULL);
	for (uint32_t s = 1; s <= 2 * SESSIONS; s++)
		n += learned_count(table, s, 1000 + STEPS / 1000, TTL_S);
	check(n > 0 && n <= ENTRIES);
	check(atomic_load(&n_found) > STEPS / 4);
	printf("%u pins, found %llu times\n", n, (unsigned long long)atomic_load(&n_found));
	learned_put(table);
	return 0;
}
