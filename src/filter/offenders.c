/* SPDX-License-Identifier: MIT */
/* Who is refused most. */
#include "offenders.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static bool begin(struct offenders *o)
{
	return !atomic_flag_test_and_set_explicit(&o->busy, memory_order_acquire);
}

static void end(struct offenders *o)
{
	atomic_flag_clear_explicit(&o->busy, memory_order_release);
}

/* Its row, else that of the least refused, whose rank it takes over. */
static struct rate_offender *row_of(struct offenders *o, uint64_t hash)
{
	struct rate_offender *least = &o->rows[0];
	for (size_t i = 0; i < OFFENDERS_MAX; i++) {
		if (o->rows[i].refused && o->rows[i].hash == hash)
			return &o->rows[i];
		if (o->rows[i].rank < least->rank)
			least = &o->rows[i];
	}
	return least;
}

void offenders_note(struct offenders *o, uint64_t hash, struct view text, uint64_t now_us)
{
	if (!begin(o))
		return;
	struct rate_offender *row = row_of(o, hash);
	if (!row->refused || row->hash != hash) {
		row->hash = hash;
		row->refused = 0;
		row->text_len =
		    (uint8_t)(text.len < OFFENDER_TEXT_MAX ? text.len : OFFENDER_TEXT_MAX);
		if (row->text_len)
			memcpy(row->text, text.ptr, row->text_len);
	}
	row->refused++;
	row->rank++;
	row->last_us = now_us;
	end(o);
}

static int by_refused(const void *a, const void *b)
{
	uint64_t x = ((const struct rate_offender *)a)->refused;
	uint64_t y = ((const struct rate_offender *)b)->refused;
	return x < y ? 1 : x > y ? -1 : 0;
}

size_t offenders_read(struct offenders *o, struct rate_offender out[OFFENDERS_MAX])
{
	size_t n = 0;
	while (!begin(o)) /* a worker copies at most OFFENDER_TEXT_MAX bytes meanwhile */
		sched_yield();
	for (size_t i = 0; i < OFFENDERS_MAX; i++)
		if (o->rows[i].refused)
			out[n++] = o->rows[i];
	end(o);
	qsort(out, n, sizeof(*out), by_refused);
	return n;
}
