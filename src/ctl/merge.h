/* SPDX-License-Identifier: MIT */
/*
 * Answers of several weirs made one.  Counters, rates and what is in flight are added.
 * Quantiles come from the sum of all buckets, which is exact: a histogram of all
 * requests, as if one weir had seen them.  What cannot be added (a verdict that is
 * not the same everywhere) is left out, and stands in the rows of each node.
 *
 * Answers are arrays of {"node": label, "answer": what it said}, those who did not
 * answer are not among them.
 */
#ifndef WEIR_CTL_MERGE_H
#define WEIR_CTL_MERGE_H

#include <jansson.h>

/* GET /v1/pools?buckets=total; each pool has "nodes" as well, its rows at each of them. */
json_t *merge_pools(const json_t *answers);
/* GET /v1/pools/P?buckets=total. */
json_t *merge_pool(const json_t *answers);
/* GET /v1/pools/P/histogram. */
json_t *merge_histogram(const json_t *answers);
/* GET /v1/status: what `weirctl top` shows of it. */
json_t *merge_status(const json_t *answers);

#endif
