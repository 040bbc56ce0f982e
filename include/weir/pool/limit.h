/* SPDX-License-Identifier: MIT */
/*
 * Adaptive concurrency: how many exchanges a backend takes at once before they
 * only wait inside of it.  What is beyond waits in the pool's queue, where
 * somebody else may have room for it and where overload is dealt with.
 *
 * The rule is Envoy's gradient with a latency at low load that is measured in
 * passing instead of by throttling:
 *
 *   gradient  = baseline * 1.25 / latency      within 0.5 .. 2
 *   limit    <- limit * gradient + sqrt(limit * gradient)
 *
 * latency:  median time to the first byte of the answers of a window
 * baseline: the same of requests that met few others (at most a quarter of the
 *           limit).  When there were none for ten minutes the limit is halved
 *           for two windows to have some; when the limit lies at its minimum for
 *           five, what is measured there is the baseline.
 * A timeout takes a tenth off.  A backend that is not asked for half of its
 * limit shows nothing about it: the limit does not grow.
 *
 * limit_update is pure.  Workers note, the control thread updates.
 */
#ifndef WEIR_POOL_LIMIT_H
#define WEIR_POOL_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/base/pack.h"
#include "weir/stats/counter.h"
#include "weir/stats/hist.h"

#define LIMIT_MIN 4
#define LIMIT_START 20
#define LIMIT_MAX 1000 /* without a configured one */
#define LIMIT_WINDOW_US 250000
#define LIMIT_WINDOW_SAMPLES 10

/* What one window has shown. */
struct limit_window {
	uint64_t n, latency_us; /* answers and their median */
	uint64_t n_low, low_us; /* the same of those that met few others */
	uint64_t n_drops;       /* attempts that timed out or broke */
	uint32_t peak;          /* most in flight */
};

struct limit {
	double value;
	uint32_t max;
	uint64_t latency_us;  /* of the last window */
	uint64_t baseline_us; /* 0: not known */
	uint64_t baseline_at_us;
	uint8_t n_at_min;   /* windows in a row */
	uint8_t refreshing; /* windows left of it */
};

void limit_init(struct limit *limit, uint32_t max, uint64_t now_us);
/* Call it with LIMIT_WINDOW_SAMPLES answers or drops at least. */
void limit_update(struct limit *limit, const struct limit_window *window, uint64_t now_us);
/* As it is to be enforced now. */
uint32_t limit_now(const struct limit *limit);

/* ---- of one backend ---- */

struct limit_local {
	struct hist all, low; /* own what is in them */
	struct counter drops;
	_Atomic uint32_t peak; /* the worker raises it, the control thread takes it back to 0 */
} CACHE_ALIGNED;

struct limiter;

/* Control thread; ends the process without memory. */
struct limiter *limiter_new(unsigned n_workers, uint32_t max, uint64_t now_us);
void limiter_free(struct limiter *limiter); /* NULL is fine */
void limiter_set_max(struct limiter *limiter, uint32_t max);
/* Every LIMIT_WINDOW_US; the limit from now on. */
uint32_t limiter_tick(struct limiter *limiter, uint64_t now_us);
const struct limit *limiter_limit(const struct limiter *limiter);

/* For the process that takes over; the limit from now on comes back. */
void limiter_pack(const struct limiter *limiter, struct str *out);
uint32_t limiter_unpack(struct unpack *in, struct limiter *limiter, uint64_t now_us);

/* Worker: an attempt that met `others` is over. */
void limiter_note(struct limiter *limiter, unsigned worker, uint32_t limit, uint32_t others,
		  bool error, uint64_t latency_us);

#endif
