/* SPDX-License-Identifier: MIT */
/*
 * Statistics as bytes for the process that takes over (base/pack.h), and back.
 * Times are on the monotonic clock, which both share.  What is read is checked:
 * whatever could lead out of an array or into the future is `bad`, and NULL or
 * false comes back.  Control thread, and no worker runs yet when something is read.
 *
 * Workers' histograms only grow, and readers look at what they grew by: the first
 * worker of the new process begins where all of the old one together were.
 */
#ifndef WEIR_STATS_PACK_H
#define WEIR_STATS_PACK_H

#include "weir/base/pack.h"
#include "weir/stats/counter.h"
#include "weir/stats/history.h"
#include "weir/stats/level.h"
#include "weir/stats/rate.h"
#include "weir/stats/scaling.h"
#include "weir/stats/slow.h"
#include "weir/stats/window.h"

/* ---- counters, by name: another version may have others ---- */

struct counter_field {
	const char *name;
	size_t offset; /* of the struct counter */
};

/* The sum over `bases`. */
void counters_pack(struct str *out, const struct counter_field *fields, size_t n_fields,
		   const void *const *bases, size_t n_bases);
/* Adds to the counters of `base`; all of it has been read when it changes anything. */
void counters_unpack(struct unpack *in, const struct counter_field *fields, size_t n_fields,
		     void *base);

/* A row for each worker, one every `stride` bytes: what is read goes to the first. */
struct counter_rows {
	const struct counter_field *fields;
	size_t n_fields;
	void *first; /* NULL: there are none */
	size_t stride, n;
};

void counter_rows_pack(struct str *out, const struct counter_rows *rows);
/* A block of their own, for one of many things that are known by an id. */
void counter_rows_pack_block(struct str *out, uint64_t id, const struct counter_rows *rows);
/* All such blocks; what `find` does not know is left out. */
void counter_rows_unpack_blocks(struct unpack *in, struct counter_rows (*find)(uint64_t id));

/* ---- windows ---- */

void windows_pack(const struct windows *windows, struct str *out);
struct windows *windows_unpack(struct unpack *in, uint64_t now_us);
/* `set`, which is empty, has what the windows have since start. */
void windows_seed(const struct windows *windows, struct hist_set *set);

/* ---- the rest ---- */

void history_pack(const struct history *history, struct str *out);
struct history *history_unpack(struct unpack *in, uint64_t now_us);

void rate_pack(const struct rate *rate, struct str *out);
bool rate_unpack(struct unpack *in, struct rate *rate, uint64_t now_us);

/* levels[i]: a worker's or NULL; the integral of what was in flight, of all of them. */
void levels_pack(const struct levels *const *levels, size_t n, struct str *out);
struct levels *levels_unpack(struct unpack *in);

void scaling_part_pack(const struct scaling_part *part, struct str *out);
struct scaling_part *scaling_part_unpack(struct unpack *in);

/* What the next look at the pool does not work out anew. */
void scaling_pack(const struct scaling *scaling, struct str *out);
bool scaling_unpack(struct unpack *in, struct scaling *scaling);

void slow_pack(const struct slow_ring *ring, uint64_t now_us, struct str *out);
/* `outcome` gives the static text of that name, or NULL: then it is left out. */
bool slow_unpack(struct unpack *in, struct slow_ring *ring, uint64_t now_us,
		 const char *(*outcome)(struct view name));

#endif
