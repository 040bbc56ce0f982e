/* SPDX-License-Identifier: MIT */
/*
 * Who is refused most: the space-saving sketch (Metwally, Agrawal, El Abbadi 2005)
 * over the last OFFENDERS_MAX keys.  What a row takes over from the one before ranks it, and is
 * not shown: among many who are refused once it comes to a lot.  All workers note into one.  Nobody
 * waits: who finds another one writing leaves it, for a count is enough to find the worst.
 */
#ifndef WEIR_FILTER_OFFENDERS_H
#define WEIR_FILTER_OFFENDERS_H

#include <stdatomic.h>

#include "weir/filter/rate_limit.h"

struct offenders {
	atomic_flag busy;
	struct rate_offender rows[OFFENDERS_MAX]; /* refused 0: free */
};

/* Any worker.  `text` is cut where it is too long. */
void offenders_note(struct offenders *o, uint64_t hash, struct view text, uint64_t now_us);
/* Control thread: the most refused first; how many. */
size_t offenders_read(struct offenders *o, struct rate_offender out[OFFENDERS_MAX]);

#endif
