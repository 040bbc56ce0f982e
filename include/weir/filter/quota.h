/* SPDX-License-Identifier: MIT */
/*
 * Rate limits that several nodes share: what each key used here, and which part of the
 * rate it may use here until somebody who knows the others says otherwise.
 *
 * A request asks the node's own count (filter/gcra.h) and nothing else.  That count is
 * of the whole limit: how far the key's arrival time is ahead.  A node takes part
 * of what is left by charging 1/part intervals for a request; the parts of all
 * nodes add up to 1, so between two reports no more is let through than there is.  A
 * report says what was used and when it began; the answer is how far ahead the key is
 * over all nodes, and the demand of all, of which this node's is the part; more than its fair one
 * only when others have had the time to be heard.  Whatever was let
 * through is counted there in the end, so that an error of a part is paid back.
 *
 *   workers                 rate_limit.c, by the functions of filter/quotas.h
 *   control, each 100 ms    n = quota_collect(reports, max, now)
 *                           quota_answer(&report, ahead, demand, now)   of each
 *                           or quota_alone(n_nodes, now)    nobody answers: a fair part each
 *
 * At most QUOTAS_MAX keys are in use at a time; of more each node keeps a fair part.
 */
#ifndef WEIR_FILTER_QUOTA_H
#define WEIR_FILTER_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUOTAS_MAX 16384
/* How long demand is remembered: it falls to 1/e in this time, here and at the server. */
#define QUOTA_MEMORY_US 500000

/* What a key used since the report before. */
struct quota_report {
	uint32_t slot;
	uint64_t key;     /* it is still this one's when the answer comes */
	uint64_t name;    /* of key and limit, the same at every node */
	uint64_t at_us;   /* when it was made */
	double used_us;   /* what was let through, in time of the whole rate */
	double lag_us;    /* since the first of it */
	double demand;    /* requests, let through or not */
	double all_us;    /* that of this node as it is remembered: `demand` is part of it */
	double ahead_us;  /* how far ahead the key was known to be, without `used_us` */
	double most_us;   /* it is never further ahead */
	bool begins_anew; /* nobody answered for a while: `ahead_us` stands for what is unknown */
};

/* Control thread. */
size_t quota_collect(struct quota_report *out, size_t max, uint64_t now_us);
void quota_answer(const struct quota_report *report, double ahead_us, double demand,
		  uint64_t now_us);
/* Nobody answers, or for the first time: a part of 1/n of everything, and what was used is
 * paid for by the time that passes. */
void quota_alone(unsigned n_nodes, uint64_t now_us);
/* The part of what is asked for the first time. */
void quota_set_nodes(unsigned n_nodes);
/* Keys in use. */
size_t quota_count(void);

#endif
