/* SPDX-License-Identifier: MIT */
/*
 * Eight workers record while the control thread folds: under ThreadSanitizer
 * no race, and without it too no sample lost and none counted twice.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/rng.h"
#include "weir/stats/counter.h"
#include "weir/stats/window.h"

#define WRITERS 8
#define SAMPLES 200000

struct writer {
	struct hist_set set;
	struct counter records;
	pthread_t thread;
	uint64_t seed;
} CACHE_ALIGNED;

static struct writer writers[WRITERS];
static _Atomic int n_running = WRITERS;

static void *write_samples(void *arg)
{
	struct writer *w = arg;
	struct rng rng;
	rng_init(&rng, w->seed);
	for (int i = 0; i < SAMPLES; i++) {
		enum phase phase = i < SAMPLES / 2 ? PHASE_total : (enum phase)(i % N_PHASES);
		/* one bucket so often that its count is carried, the others now and then */
		uint64_t us = i % 4 ? 1000 : rng_next(&rng) >> (38 + i % 26);
		hist_set_record(&w->set, phase, us);
		counter_add(&w->records, 1);
	}
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

static uint64_t count_since_start(const struct windows *w)
{
	uint64_t n = 0;
	for (int p = 0; p < N_PHASES; p++) {
		struct hist_total t;
		windows_read(w, (enum phase)p, WINDOW_START, &t);
		n += t.n;
	}
	return n;
}

static int expect(bool ok, const char *what)
{
	if (!ok)
		fprintf(stderr, "FAIL: %s\n", what);
	return ok ? 0 : 1;
}

/* What the folds gave must be what the histograms hold in the end. */
static int compare_with_writers(const struct windows *w)
{
	int failed = 0;
	for (int p = 0; p < N_PHASES; p++) {
		struct hist_total folded, direct = {0};
		windows_read(w, (enum phase)p, WINDOW_START, &folded);
		for (size_t i = 0; i < WRITERS; i++)
			hist_total_add_set(&direct, &writers[i].set, (enum phase)p);
		folded.span_us = 0;
		failed |= expect(memcmp(&folded, &direct, sizeof(direct)) == 0,
				 phase_name((enum phase)p));
	}
	return failed;
}

int main(void)
{
	const struct hist_set *sets[WRITERS];
	struct windows *w = windows_new(0);
	int failed = expect(w != NULL, "windows_new");
	for (size_t i = 0; i < WRITERS; i++) {
		sets[i] = &writers[i].set;
		writers[i].seed = i + 1;
		if (pthread_create(&writers[i].thread, NULL, write_samples, &writers[i]))
			return expect(false, "pthread_create");
	}
	uint64_t folds = 0, seen = 0;
	while (atomic_load(&n_running) > 0) {
		windows_fold(w, sets, WRITERS, ++folds * 1000);
		uint64_t now = count_since_start(w), records = 0;
		failed |= expect(now >= seen, "counts never fall");
		seen = now;
		for (size_t i = 0; i < WRITERS; i++)
			records += counter_get(&writers[i].records);
		failed |= expect(records <= (uint64_t)WRITERS * SAMPLES, "counters stay in bounds");
	}
	for (size_t i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	windows_fold(w, sets, WRITERS, ++folds * 1000);
	failed |=
	    expect(count_since_start(w) == (uint64_t)WRITERS * SAMPLES, "all samples counted");
	failed |= compare_with_writers(w);
	for (size_t i = 0; i < WRITERS; i++)
		hist_set_fini(&writers[i].set);
	windows_free(w);
	printf("%" PRIu64 " folds beside %d writers\n", folds, WRITERS);
	return failed;
}
