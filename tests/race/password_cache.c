/* SPDX-License-Identifier: MIT */
/*
 * Passwords that were right a moment ago, under four workers that look and one thread that
 * puts, as passwords.c has it; more of them than one bucket holds.  Nobody is let in whose
 * password was never right, whatever half of a slot is another's at the moment.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "filter/password_cache.h"
#include "weir/base/check.h"
#include "weir/base/hash.h"
#include "weir/base/rng.h"

#define LOOKERS 4
#define USERS 64
#define STEPS 200000
#define PUTS 10000
/* So far the clock goes on in one step: an entry lives for a few thousand of them. */
#define STEP_US (PASSWORDS_KEPT_US / 4096)

static _Atomic int n_running = LOOKERS;
static _Atomic uint64_t n_found, n_put, now_us = 1000000;

/* All in one bucket, which has room for four. */
static struct password_key key_of(uint32_t user, bool right)
{
	uint64_t first = hash_mix(user + 1) / PASSWORDS_KEPT * PASSWORDS_KEPT;
	return (struct password_key){{first, hash_mix(1000 + user) ^ (right ? 0 : 1)}};
}

static void *look(void *arg)
{
	struct rng rng;
	uint64_t found = 0;
	rng_init(&rng, (uint64_t)(uintptr_t)arg);
	for (int step = 0; step < STEPS || atomic_load(&n_put) < PUTS; step++) {
		uint32_t user = rng_below(&rng, USERS);
		uint64_t now = atomic_load_explicit(&now_us, memory_order_relaxed);
		found += password_cache_has(key_of(user, true), now);
		check(!password_cache_has(key_of(user, false), now));
	}
	atomic_fetch_add(&n_found, found);
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

int main(void)
{
	pthread_t threads[LOOKERS];
	struct rng rng;
	rng_init(&rng, 99);
	for (uintptr_t i = 0; i < LOOKERS; i++)
		check(pthread_create(&threads[i], NULL, look, (void *)(i + 1)) == 0);
	while (atomic_load(&n_running)) {
		uint64_t now = atomic_load_explicit(&now_us, memory_order_relaxed);
		password_cache_put(key_of(rng_below(&rng, USERS), true), now);
		atomic_store_explicit(&now_us, now + STEP_US, memory_order_relaxed);
		atomic_fetch_add(&n_put, 1);
	}
	for (int i = 0; i < LOOKERS; i++)
		pthread_join(threads[i], NULL);
	uint64_t now = atomic_load(&now_us);
	password_cache_put(key_of(7, true), now);
	check(password_cache_has(key_of(7, true), now));
	check(!password_cache_has(key_of(7, true), now + PASSWORDS_KEPT_US));
	printf("%llu put, found %llu times\n", (unsigned long long)atomic_load(&n_put),
	       (unsigned long long)atomic_load(&n_found));
	return 0;
}
