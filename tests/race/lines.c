/* SPDX-License-Identifier: MIT */
/*
 * Lines of histograms grow wider while somebody reads them, and the narrow ones go to other writers
 * at once: no count is ever seen to fall, to lack what was recorded before, or to be another's.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "weir/base/defs.h"
#include "weir/stats/hist.h"

#define WRITERS 4
#define HISTS 400
#define SAMPLES 2000
/* Of every so many it is one for which a count is carried twice. */
#define DEEP 16
#define DEEP_SAMPLES 40000

struct writer {
	struct hist hists[HISTS];
	_Atomic uint32_t at; /* the one in use; HISTS: it is through */
	_Atomic uint32_t n[HISTS];
	pthread_t thread;
} CACHE_ALIGNED;

static struct writer writers[WRITERS];

/* Ten buckets of five lines. */
static uint64_t sample_us(uint32_t i)
{
	return UINT64_C(1) << (i / 3 % 5 * 2 + 5) << i % 2;
}

static uint32_t samples_of(uint32_t at)
{
	return at % DEEP ? SAMPLES : DEEP_SAMPLES;
}

static void *write_samples(void *arg)
{
	struct writer *w = arg;
	for (uint32_t at = 0; at < HISTS; at++) {
		atomic_store(&w->at, at);
		for (uint32_t i = 0; i < samples_of(at); i++) {
			hist_record(&w->hists[at], at % DEEP ? sample_us(i) : 100);
			atomic_store_explicit(&w->n[at], i + 1, memory_order_release);
		}
	}
	atomic_store(&w->at, HISTS);
	return NULL;
}

struct seen {
	uint32_t at, count[HIST_BUCKETS];
};

static int expect(bool ok, const char *what, uint64_t is, uint64_t other)
{
	if (!ok)
		fprintf(stderr, "FAIL: %s: %" PRIu64 ", %" PRIu64 "\n", what, is, other);
	return ok ? 0 : 1;
}

static int look(const struct writer *w, uint32_t at, struct seen *seen)
{
	int failed = 0;
	uint64_t total = 0, before = atomic_load_explicit(&w->n[at], memory_order_acquire);
	uint32_t lines = hist_lines(&w->hists[at]);
	if (seen->at != at)
		*seen = (struct seen){.at = at};
	for (uint32_t line = 0; line < HIST_LINES; line++) {
		uint32_t now[HIST_LINE] = {0}, *last = seen->count + line * HIST_LINE;
		if (!(lines >> line & 1))
			continue;
		hist_prefetch_line(&w->hists[at], line);
		hist_add_line(&w->hists[at], line, now);
		for (uint32_t i = 0; i < HIST_LINE; i++) {
			failed |= expect(now[i] >= last[i], "a count fell", now[i], last[i]);
			total += now[i];
		}
		memcpy(last, now, sizeof(now));
	}
	failed |= expect(total >= before, "recorded and not seen", total, before);
	return failed | expect(total <= samples_of(at), "too many", total, before);
}

static int look_at_all(struct seen seen[WRITERS], unsigned *n_running)
{
	int failed = 0;
	*n_running = 0;
	for (size_t i = 0; i < WRITERS; i++) {
		uint32_t at = atomic_load(&writers[i].at);
		if (at == HISTS)
			continue;
		++*n_running;
		failed |= look(&writers[i], at, &seen[i]);
	}
	return failed;
}

static int compare_in_the_end(void)
{
	int failed = 0;
	for (size_t i = 0; i < WRITERS; i++)
		for (uint32_t at = 0; at < HISTS; at++) {
			struct hist_total total = {0};
			hist_total_add_hist(&total, &writers[i].hists[at]);
			failed |= expect(total.n == samples_of(at), "in the end", total.n, at);
			hist_fini(&writers[i].hists[at]);
		}
	return failed;
}

int main(void)
{
	static struct seen seen[WRITERS];
	unsigned n_running = WRITERS;
	uint64_t looks = 0;
	int failed = 0;
	for (size_t i = 0; i < WRITERS; i++)
		if (pthread_create(&writers[i].thread, NULL, write_samples, &writers[i]))
			return expect(false, "pthread_create", i, 0);
	for (; n_running && !failed; looks++)
		failed = look_at_all(seen, &n_running);
	for (size_t i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	failed |= compare_in_the_end();
	printf("%" PRIu64 " looks beside %d writers\n", looks, WRITERS);
	return failed;
}
