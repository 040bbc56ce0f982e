/* SPDX-License-Identifier: MIT */
/*
 * When a queue is overloaded, after CoDel (Nichols, Jacobson 2012) in the form
 * that servers use (folly's Codel, "Fail at Scale"): bursts drain, an overload
 * stands.  A queue whose oldest has waited longer than the target at every look
 * of an interval is overloaded; one look at a shorter wait, and it is not.
 * While it is, whoever has waited for twice the target is let go.
 *
 * Pure, no clock; one owner.
 */
#ifndef WEIR_POOL_CODEL_H
#define WEIR_POOL_CODEL_H

#include <stdbool.h>
#include <stdint.h>

struct codel {
	uint64_t until_us; /* end of the interval */
	uint64_t min_us;   /* shortest wait of the oldest in it */
	bool overloaded;
};

/* How long an interval is: 100 ms, or four times a long target. */
uint64_t codel_interval_us(uint64_t target_us);

/*
 * A look at the queue, whose oldest has waited for `age_us`; 0: it is empty.
 * True when those beyond twice the target are to be let go now: while it is
 * overloaded, but never at the first look of an interval.
 */
bool codel_look(struct codel *codel, uint64_t target_us, uint64_t now_us, uint64_t age_us);

#endif
