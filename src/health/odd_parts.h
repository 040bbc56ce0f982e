/* SPDX-License-Identifier: MIT */
/* What the parts of the search for the odd one (odd.c) know of each other. */
#ifndef WEIR_HEALTH_ODD_PARTS_H
#define WEIR_HEALTH_ODD_PARTS_H

#include <math.h>

#include "target.h"

/* Memories of what was known. */
static const double odd_memories_us[ODD_SPANS] = {2e6, 20e6, 200e6};

/* What is kept of what was known `us` ago. */
static inline double odd_kept(double us, double memory_us)
{
	return exp(-us / memory_us);
}

/* odd_proof.c */

/* Takes the traffic that is to be compared. */
bool odd_takes_part(const struct health_target *t);
/* Evidence of a watched pool is of now on: what was known is of other times, as somebody is left
 * alone, tried and found well again, or suspected anew. */
void odd_begin_anew(struct health_pool *hp);
/* What it answered before it went says nothing of it when it is back. */
void odd_drop_evidence(struct health_target *t);
/* A look at a watched pool: who is proved to be odd is left alone, or named. */
void odd_weigh(struct health_pool *hp);
/* Named no longer. */
void odd_unname(struct health_target *t);

/* odd_back.c */

/* Somebody is out for the type of its answers, which are counted in watched pools only. */
bool odd_is_out_for_type(const struct health_pool *hp);
/*
 * The others answer so as well, now that they have its requests: then it was these.  They
 * must have become worse: a pool may give many answers of these kinds in its ordinary life.
 */
void odd_acquit(struct health_target *t);
/* Tries a suspect, so that it is known what it answers, and not only what it answered. */
void odd_follow_suspect(struct health_target *t);

#endif
