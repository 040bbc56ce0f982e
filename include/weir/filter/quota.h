/* SPDX-License-Identifier: MIT */
/*
 * Rate limits that several nodes share: what each key used here, and which part of the
 * rate it may use here until somebody who knows the others says otherwise.
 *
 * A request asks the node's own count (filter/gcra.h) and nothing else.  A node has a part of
 * the rate, by charging 1/part intervals for a request, and of the burst what it was lent.  A
 * report says what was used, when that began, and what is left; who answers takes back what it
 * had lent, counts what was used, and lends anew, of what nobody has yet: the part that this
 * node has in the demand of all, no more than the fair one until others that began at the same
 * time have been heard.  What is lent counts as used, so nobody gets it twice; parts add up to 1.
 * Whatever was let through is counted there in the end, so that an error is paid back.
 *
 *            used: knock                   an answer
 *   ASLEEP ---------------> its first report -------> AWAKE
 *      ^                                                |
 *      +------------------------------------------------+
 *           silent for 0.1 s: everything is given back
 *
 *   ASLEEP   nobody knows of it: an eighth of a fair part, or eight requests where that is more
 *            and the fair part allows for it; the whole fair part where answers take long
 *   AWAKE    it reports each time, and has what it was lent
 *
 *   workers                 rate_limit.c, by the functions of filter/quotas.h
 *   control, each 20 ms     n = quota_collect(reports, max, now)
 *                           quota_answer(&report, &answer, now)         of each
 *                           or quota_alone(n_nodes, now)    nobody answers: a fair part each
 *
 * At most QUOTAS_MAX keys are in use at a time; of more each node keeps a fair part.
 */
#ifndef WEIR_FILTER_QUOTA_H
#define WEIR_FILTER_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct mail;

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
	double lease_us;  /* what the answer before lent: given back, used or not */
	double left_us;   /* what could be let through at once now; negative: a debt */
	double one_us;    /* a request */
	double burst_us;  /* of the limit */
	double most_part; /* of what is left, that may be allowed for now */
	double lag_us;    /* since the first of it */
	double demand;    /* requests, let through or not */
	double all_us;    /* that of this node as it is remembered: `demand` is part of it */
	double ahead_us;  /* how far ahead the key was known to be, without `used_us` */
	double most_us;   /* it is never further ahead */
	bool begins_anew; /* nobody answered for a while: `ahead_us` stands for what is unknown */
};

struct quota_answer {
	double ahead_us; /* how far the key is ahead over all nodes, with what others may use */
	double demand;   /* of all nodes */
	double lease_us; /* what this node may let through at once; negative: a debt */
};

/* Control thread. */
size_t quota_collect(struct quota_report *out, size_t max, uint64_t now_us);
void quota_answer(const struct quota_report *report, const struct quota_answer *answer,
		  uint64_t now_us);
/* It came too late to say anything about now, but what it allows for has to be given back. */
void quota_answer_late(const struct quota_report *report, const struct quota_answer *answer);
/* Nobody answers, or for the first time: a part of 1/n of everything, and what was used is
 * paid for by the time that passes. */
void quota_alone(unsigned n_nodes, uint64_t now_us);
/* There is somebody who answers: a key that wakes has little until he does. */
void quota_together(void);
/* The process ends: what is collected from now on gives back what was lent and asks for nothing. */
void quota_end(void);
/* What 1/n is. */
void quota_set_nodes(unsigned n_nodes);
/* The mail is sent there when a key that was silent is used, once until quota_collect.  Before
 * there are workers, or by the thread of this loop. */
void quota_listen(struct loop *loop, struct mail *mail);
/* Keys in use. */
size_t quota_count(void);

#endif
