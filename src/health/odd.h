/* SPDX-License-Identifier: MIT */
/* Parts of the search for the odd one: odd.c looks, by what is in the others.  Health thread. */
#ifndef WEIR_HEALTH_ODD_H
#define WEIR_HEALTH_ODD_H

#include "target.h"

#define ODD_SHORT_US 2e6 /* the first of the memories of what was answered */

/* ---- odd_evidence.c ---- */

/* Workers are to look again. */
void odd_look_again(const struct health *h);
/* All that workers have counted of it while its pool was watched. */
void odd_sum_strata(const struct backend *b, odd_counts out);
/* What came since; and all of it: without memory nothing is known of it any more. */
void odd_subtract_counted(const struct odd_evidence *evidence, const odd_counts now,
			  odd_counts out);
void odd_keep_counted(struct health_target *t, const odd_counts now);
/* It takes the traffic that is to be compared. */
bool odd_takes_part(const struct health_target *t);
/* From now on it is compared; what came before, under another target perhaps, is not. */
bool odd_make_evidence(struct health_target *t);
/* What it answered before it went says nothing of it when it is back. */
void odd_drop_evidence(struct health_target *t);
/* What was known is of other times: somebody is left alone, tried and found well again, or
 * suspected anew. */
void odd_begin_anew(struct health_pool *hp);
/* The same of one: what it answered before does not hide what it answers now. */
void odd_begin_anew_of(struct health_target *t);
/* `anew`: for a new reason; else what was known the last time counts on. */
void odd_set_watched(struct health_pool *hp, bool watched, bool anew);

/* ---- odd_lead.c ---- */

/* Finds who leads; true while somebody who does is to be compared. */
bool odd_find_leaders(struct health_pool *hp);
/* It begins to look as if one that leads was not right: this is not left half known. */
void odd_ask_on(struct health_pool *hp);
/* All are asked enough for that, or no more. */
void odd_ask(struct health_pool *hp);
void odd_stop_asking(struct health_target *t);

/* ---- odd_back.c ---- */

/* Types are only counted while the pool is watched: so it is as long as somebody is out for one. */
bool odd_is_out_for_type(const struct health_pool *hp);
/* The others answer so as well, now that they have its requests: then it was these. */
void odd_acquit(struct health_target *t);
/* So that it is known what it answers, and not only what it answered. */
void odd_follow_suspect(struct health_target *t);

#endif
