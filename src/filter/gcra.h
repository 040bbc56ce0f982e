/* SPDX-License-Identifier: MIT */
/*
 * A table of rate limits by key, shared by all workers without locks.
 *
 * Each key has one number, its theoretical arrival time (TAT) of the generic cell rate
 * algorithm (ITU-T I.371): a request moves it on by one interval, and is refused where
 * that would take it further into the future than a burst is long.  A key whose TAT has
 * passed says nothing any more, so its slot is free.
 *
 * A slot is two words: the key, and its TAT with some more bits of the key, so that
 * who reads a slot that is just being given to another key notices.  A bucket is eight
 * slots on two cache lines, a key lives in one bucket, and where all are taken the one
 * whose TAT is the oldest leaves.  48 bytes are taken for each key that the table is
 * for, so that buckets hardly ever fill before the table does.
 *
 * Time is in units of an eighth of a microsecond, modulo 2^50.
 *
 *   gcra_table_ready(conf->rate_limit_keys)              control thread, before any use
 *   gcra_take(key, &limit, now_us, &left)                any worker
 */
#ifndef WEIR_FILTER_GCRA_H
#define WEIR_FILTER_GCRA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/siphash.h"

struct gcra_limit {
	uint64_t interval; /* between two requests, in units */
	uint64_t burst;    /* `interval` times the requests that may come at once */
};

#define GCRA_UNITS_PER_US 8

struct gcra_result {
	uint64_t left;     /* requests that could follow at once */
	uint64_t wait_us;  /* refused: until the next one is taken */
	uint64_t reset_us; /* until all of the burst is there again */
};

/* Made once; memory is touched as keys come. False: there is none. */
bool gcra_table_ready(size_t n_keys);
/* Bytes that it may take; 0: not made. */
size_t gcra_table_bytes(void);

/* Nobody outside can tell which keys meet. */
uint64_t gcra_hash(const void *ptr, size_t len);

/* One request of this key (a gcra_hash); false: it is too much. */
bool gcra_take(uint64_t key, const struct gcra_limit *limit, uint64_t now_us,
	       struct gcra_result *result);

/* How far ahead of now a key's time is, in units; 0: nothing is known of it. */
uint64_t gcra_ahead(uint64_t key, uint64_t now_us);
/* From now on it is so far ahead, whatever it was. */
void gcra_put(uint64_t key, uint64_t ahead, uint64_t now_us);

#endif
