/* SPDX-License-Identifier: MIT */
/*
 * Copies of requests to another pool (routes[].mirror): which requests, how many copies at a
 * time, what became of them, and how their answers compare with those that clients got.
 *
 *   filter       draws: call->mirror
 *   proxy/       sends the copy, and tells here what came of it; this knows of no exchange
 *   admin/       reads
 *
 * A mirror is known by its route and its pool and lives as long as a generation has it: a
 * reload forgets nothing.  Answers are compared since the last mark of one of the pools: what
 * came before is of another epoch.
 */
#ifndef WEIR_FILTER_MIRROR_H
#define WEIR_FILTER_MIRROR_H

#include "weir/base/pack.h"
#include "weir/filter/filter.h"
#include "weir/stats/counter.h"

/* In each copy, with the name of its route. */
#define MIRROR_FIELD "X-Weir-Mirror"

struct mirror;

struct mirror_counters {
#define COUNTER(name, sentence) struct counter name;
#include "weir/tbl/mirror_counters.def"
#undef COUNTER
};

/* ---- workers ---- */

/* Those of this worker. */
struct mirror_counters *mirror_counters(struct mirror *mirror, unsigned worker);
/* A place among mirror.in_flight; false: there is none, which is counted. */
bool mirror_take(struct mirror *mirror, unsigned worker, const struct conf_mirror *conf);
void mirror_drop(struct mirror *mirror);

enum { MIRROR_ORIGINAL, MIRROR_COPY, MIRROR_SIDES };

/* One of two answers, whole and of a backend. */
struct mirror_side {
	uint64_t hash, len; /* of the body */
	uint64_t wait_us;   /* from the request sent to the first byte */
	uint16_t status;
	uint16_t others; /* in flight at the backend when it got there */
};

struct mirror_pair {
	const struct conf_mirror *conf;
	const struct mirror_side *side; /* MIRROR_SIDES */
	struct view request_id, target;
	uint64_t began_us, now_us; /* pairs of before the epoch do not count */
};
void mirror_note(struct mirror *mirror, unsigned worker, const struct mirror_pair *pair);

/* ---- control thread ---- */

/* The last pairs that differed. */
#define MIRROR_EXAMPLES 16
#define MIRROR_TEXT_MAX 88

struct mirror_example {
	uint64_t at_us;   /* monotonic; 0: free */
	unsigned differs; /* enum conf_compare */
	uint16_t status[MIRROR_SIDES];
	uint64_t len[MIRROR_SIDES];
	uint8_t request_id_len, target_len;
	char request_id[MIRROR_TEXT_MAX], target[MIRROR_TEXT_MAX]; /* cut to that length */
};

/* How many of n differ; 99 % interval of the share (Wilson's). */
struct mirror_share {
	uint64_t n, differ;
	double low, high;
};

/* A quantile and its 99 % interval, by ranks. */
struct mirror_quantile {
	double value, low, high;
};

enum mirror_verdict {
	MIRROR_NOT_ENOUGH, /* less than MIRROR_PAIRS_MIN at the same level */
	MIRROR_UNCLEAR,    /* the interval reaches beyond what matters, and does not leave it out */
	MIRROR_ALIKE,
	MIRROR_SLOWER,
	MIRROR_FASTER,
};

/* So many pairs have an interval for the 95th percentile. */
#define MIRROR_PAIRS_MIN 150
/* Less of a difference is none that matters. */
#define MIRROR_MATTERS 1.05

struct mirror_latency {
	uint64_t pairs; /* in all */
	uint64_t equal; /* of them those at the same level */
	enum mirror_verdict verdict;
	/* unless NOT_ENOUGH; of those at the same level */
	struct mirror_quantile p50_us[MIRROR_SIDES], p95_us[MIRROR_SIDES];
	struct mirror_quantile ratio; /* median of copy by original, pair by pair */
};

/* Over all workers; the counters in the order of their table. */
struct mirror_counts {
	uint64_t counters[sizeof(struct mirror_counters) / sizeof(struct counter)];
	uint32_t in_flight;
};
/* For the process that takes over, which has built the same mirrors; what was compared begins anew.
 */
void mirrors_pack(struct str *out);
void mirrors_unpack(struct unpack *in);
/* False: the route has no mirror. */
bool mirror_count(const struct filter_set *set, const struct conf_route *route,
		  struct mirror_counts *out);

struct mirror_view {
	struct mirror_counts counts;
	uint64_t since_us; /* answers are compared since; monotonic */
	struct mirror_share status, body;
	struct mirror_latency latency;
	size_t n_examples; /* newest first */
	struct mirror_example examples[MIRROR_EXAMPLES];
};

bool mirror_read(const struct filter_set *set, const struct conf_route *route,
		 struct mirror_view *out);
/* Answers are compared anew: something about a pool has changed. */
void mirror_begin_epoch(const struct filter_set *set, const struct conf_route *route);

#endif
