/* SPDX-License-Identifier: MIT */
/*
 * Eight workers offer exchanges to one ring while it is read: no record is a mixture of
 * two, and in the end the slots are full of slow ones.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/rng.h"
#include "weir/stats/slow.h"

#define WRITERS 8
#define OFFERS 100000
#define NOW UINT64_C(1000000)

static struct slow_ring *ring;
static _Atomic int n_running = WRITERS;

/* Everything in it follows from its total. */
static void fill(struct slow_record *r, uint64_t total_us)
{
	memset(r, 0, sizeof(*r));
	r->ended_us = NOW;
	for (int p = 0; p < N_PHASES; p++)
		r->phase_us[p] = total_us;
	r->in_flight = (uint32_t)total_us;
	memset(r->path, (int)(total_us % 251), sizeof(r->path));
}

static void *offer(void *arg)
{
	struct slow_record r;
	struct rng rng;
	rng_init(&rng, (uint64_t)(uintptr_t)arg);
	for (int i = 0; i < OFFERS; i++) {
		uint64_t total_us = 1 + rng_below(&rng, 1000000);
		fill(&r, total_us);
		if (slow_wants(ring, total_us, NOW))
			slow_put(ring, &r);
	}
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

/* How many are there; 0: something is wrong. */
static size_t look(uint64_t *least_us)
{
	struct slow_record out[SLOW_SLOTS], whole;
	size_t n = slow_read(ring, NOW, out, SLOW_SLOTS);
	*least_us = UINT64_MAX;
	for (size_t i = 0; i < n; i++) {
		uint64_t total_us = out[i].phase_us[PHASE_total];
		fill(&whole, total_us);
		if (memcmp(&whole, &out[i], sizeof(whole)) != 0) {
			fprintf(stderr, "FAIL: a record of two\n");
			exit(1);
		}
		if (total_us < *least_us)
			*least_us = total_us;
	}
	return n;
}

int main(void)
{
	pthread_t threads[WRITERS];
	uint64_t least_us, looks = 0;
	ring = slow_ring_new();
	for (uintptr_t i = 0; i < WRITERS; i++)
		if (!ring || pthread_create(&threads[i], NULL, offer, (void *)(i + 1)))
			return 1;
	while (atomic_load(&n_running) > 0) {
		look(&least_us);
		looks++;
	}
	for (size_t i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	/* of 800 000 between 1 and a million the slowest sixteen are far above this */
	if (look(&least_us) != SLOW_SLOTS || least_us < 900000 ||
	    slow_wants(ring, least_us - 1, NOW)) {
		fprintf(stderr, "FAIL: the least slow one has %" PRIu64 " us\n", least_us);
		return 1;
	}
	free(ring);
	printf("%" PRIu64 " looks beside %d writers\n", looks, WRITERS);
	return 0;
}
