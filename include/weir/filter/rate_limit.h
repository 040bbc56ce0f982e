/* SPDX-License-Identifier: MIT */
/*
 * Rate limits as they are in force: what they let through and refuse, and whom they
 * refuse most.  A limit is known by its route, its place there and its key, and
 * lives as long as a generation has it: a reload forgets nobody.
 *
 * Control thread.
 */
#ifndef WEIR_FILTER_RATE_LIMIT_H
#define WEIR_FILTER_RATE_LIMIT_H

#include <stddef.h>
#include <stdint.h>

#include "weir/base/pack.h"
#include "weir/base/view.h"
#include "weir/filter/filter.h"

/* Keys that are remembered for each limit, those that were refused most. */
#define OFFENDERS_MAX 16
#define OFFENDER_TEXT_MAX 64

struct rate_offender {
	uint64_t hash;
	uint64_t refused; /* since it is remembered: so often at least */
	uint64_t rank;    /* and so often at most */
	uint64_t last_us; /* monotonic */
	uint8_t text_len;
	char text[OFFENDER_TEXT_MAX];
};

struct rate_limit_view {
	struct view route;
	const struct conf_rate_limit *conf;
	uint64_t passed, refused;
	size_t n_offenders; /* most refused first */
	struct rate_offender offenders[OFFENDERS_MAX];
};

/* Calls `each` for every limit of a route. */
void rate_limits_of(const struct filter_set *set, const struct conf_route *route,
		    void (*each)(const struct rate_limit_view *view, void *arg), void *arg);

/* Counters, for the process that takes over, which has built the same limits. */
void rate_limits_pack(struct str *out);
void rate_limits_unpack(struct unpack *in);

/* What the table of keys may take, in bytes; 0: no limit has been in force yet. */
size_t rate_limits_bytes(void);

#endif
