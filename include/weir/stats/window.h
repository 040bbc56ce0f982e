/* SPDX-License-Identifier: MIT */
/*
 * The latency windows of one backend (or pool, route, listener): the last 10 s, 1 m,
 * 5 m and since start, for every phase, summed over all workers.  Control thread only.
 *
 *   struct windows *w = windows_new(clock_us());
 *   windows_fold(w, sets, n_workers, clock_us());      // once a second
 *   struct hist_total t;
 *   windows_read(w, PHASE_total, WINDOW_1M, &t);
 *
 * Each fold keeps what came since the fold before, as one slot; ten slots are
 * also rolled up into one of 10 s, and six of those into one of a minute.  A
 * window is a sum of whole slots: 10 s is the last ten folds, 1 m is six slots
 * of 10 s and what came since (60 to 70 s), 5 m is five slots of a minute and
 * what came since (5 to 6 minutes).  span_us of the result says how long it
 * really is.  Nothing is ever averaged.
 *
 * Memory: a phase costs nothing until its first sample, then 208 bytes for the sum
 * since start and 32 for every power of two that its samples cover, 64 once a bucket of it has
 * more than 255 samples, 128 above 65535 and 256 above 2^32.  A slot holds all phases: 112 bytes,
 * 5 for every power of two in use, and half a byte to two for each bucket with up to 65535
 * samples; without samples it costs nothing.  21 slots of a busy backend have about 20 KiB,
 * never above 420 KiB.
 */
#ifndef WEIR_STATS_WINDOW_H
#define WEIR_STATS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/view.h"
#include "weir/stats/hist.h"

/* WINDOW(symbol, "name in the API"): shortest first. */
#define WINDOW_ROWS(WINDOW) \
	WINDOW(10S, "10s")  \
	WINDOW(1M, "1m")    \
	WINDOW(5M, "5m")    \
	WINDOW(START, "start")

enum window {
#define WINDOW_ENUM(symbol, name) WINDOW_##symbol,
	WINDOW_ROWS(WINDOW_ENUM)
#undef WINDOW_ENUM
	    N_WINDOWS
};

const char *window_name(enum window window);
bool window_parse(struct view name, enum window *out);

struct windows;

/* NULL without memory. */
struct windows *windows_new(uint64_t now_us);
void windows_free(struct windows *windows); /* NULL is fine */

/*
 * Takes in what the workers recorded since the last call; call it once a
 * second.  sets[i] is worker i's set of this backend or NULL.  A set that was
 * given once must be given ever after, with its histograms never reset: the
 * counts are compared with those of the last call modulo 2^30.
 */
void windows_fold(struct windows *windows, const struct hist_set *const *sets, size_t n_sets,
		  uint64_t now_us);

/*
 * Takes in what each of the n took in with its last fold: windows of a sum, whose
 * "start" keeps what those brought that are gone by now.
 */
void windows_fold_newest(struct windows *sum, const struct windows *const *of, size_t n,
			 uint64_t now_us);

/*
 * Asks for what a reader is about to look at: worth it a backend ahead of where it
 * reads, since a thousand of them fit no cache.
 */
void windows_prefetch(const struct windows *windows);
void windows_prefetch_octaves(const struct windows *windows); /* only what those need */

/*
 * Adds the samples of a window to `out`, whose span is the longest of those that were
 * added: quantiles of several backends.  max_us of a window is exact when the longest sample since
 * start lies in it, else the top of the highest bucket in use (at most 3.2 %
 * above the true value).
 */
void windows_add(const struct windows *windows, enum phase phase, enum window window,
		 struct hist_total *out);

/* The same, of these windows alone: overwrites `out`. */
void windows_read(const struct windows *windows, enum phase phase, enum window window,
		  struct hist_total *out);

/*
 * Quantiles of what the last fold took in, without
 * building a total: cheap enough for every backend and second.  0 without
 * samples.
 */
void windows_newest(const struct windows *windows, enum phase phase, const double *q, size_t n,
		    uint64_t *us);

/* The summary of windows_read, several times as fast. */
void windows_summary(const struct windows *windows, enum phase phase, enum window window,
		     struct hist_summary *out);

/* The same of each phase from that one on. */
void windows_summaries(const struct windows *windows, enum phase from, enum window window,
		       struct hist_summary out[N_PHASES]);

/* Calls fn for each bucket that the last fold took something into; one may come twice. */
void windows_newest_each(const struct windows *windows, enum phase phase,
			 void (*fn)(void *arg, uint32_t bucket, uint32_t n), void *arg);

/* Adds what the last fold took in, buckets and n only. */
void windows_newest_add(const struct windows *windows, enum phase phase, struct hist_total *total);

/*
 * A phase since start by powers of two: octave g > 0 are the samples from 2^(g + 4)
 * to below 2^(g + 5) us, octave 0 those below 32 us.
 */
struct hist_octaves {
	const uint64_t *count; /* [HIST_GROUPS], of the windows: until their next fold */
	uint64_t n;            /* sum of count */
	uint64_t sum_us;
};

/* False without samples, and `out` is not touched then. */
bool windows_octaves(const struct windows *windows, enum phase phase, struct hist_octaves *out);

/* Slots that had to be left out of the windows for want of memory. */
uint64_t windows_lost(const struct windows *windows);

#endif
