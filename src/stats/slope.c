/* SPDX-License-Identifier: MIT */
/*
 * Do requests take the longer the more others they meet?  Load slows those who meet many, in the
 * same seconds in which those who meet few are quick; requests of another kind, or a deploy, are
 * as slow whatever they meet.  A line through logarithms of durations by logarithms of levels,
 * within strata of five seconds and a backend, says how much of what is slower than alone is
 * explained by the levels of now.
 */
#include <math.h>

#include "scaling.h"

#define BLOCKS 6
#define NOW 2          /* of them, at least: as many as what is seen now is of */
#define NOW_LEAST 100  /* requests in these: what is slow may be of the time before */
#define NOW_SHARE 0.5  /* of those that are seen now: the newest are in no block yet */
#define VARIED 0.003   /* variance of logarithms of levels: with less there is no line */
#define EXPLAINED 0.25 /* of the logarithm of the growth: p95 grows by more than the mean does */
#define SLOWS_Z 3.0
#define NOT_Z 2.0
#define SEEN 0.25 /* of requests, below LEVEL_SPLIT */

void scaling_slope_add(struct scaling_slope *sums, double level, double n, double log_sum)
{
	double x = log(fmax(level, 1));
	sums->n += n;
	sums->x += n * x;
	sums->xx += n * x * x;
	sums->y += log_sum;
	sums->xy += x * log_sum;
}

/* About their own means: what differs between strata says nothing. */
static void close_stratum(struct scaling_slope *block, const struct scaling_slope *sums)
{
	if (sums->n <= 0)
		return;
	block->n += sums->n;
	block->x += sums->x;
	block->xx += sums->xx - sums->x * sums->x / sums->n;
	block->xy += sums->xy - sums->x * sums->y / sums->n;
}

/* Of levels that are not split only means are known: a stratum of their own. */
static void add_high_levels(struct scaling_part *part, uint32_t top, struct scaling_slope *sums)
{
	for (uint32_t k = LEVEL_SPLIT; k <= top; k++) {
		struct scaling_bin *bin = scaling_part_bin(part, k);
		if (!bin)
			continue;
		uint32_t n = (uint32_t)bin->last_n - bin->last_split.n[0];
		uint64_t us = bin->last_us - bin->last_split.log2;
		bin->last_split.n[0] = (uint32_t)bin->last_n;
		bin->last_split.log2 = bin->last_us;
		if (n && us)
			scaling_slope_add(sums, scaling_part_level(part, k), n,
					  n * log((double)us / n));
	}
}

void scaling_slope_block(struct scaling_block *block, struct scaling_part *part, uint32_t top,
			 const struct scaling_slope *split)
{
	struct scaling_slope high = {0};
	add_high_levels(part, top, &high);
	close_stratum(&block->slope, split);
	close_stratum(&block->slope, &high);
}

/*
 * What is seen now, of few requests, may be of minutes: so are the levels that explain it then, or
 * those of a lull would be held against what was slow before it.
 */
static unsigned blocks_of_now(const struct scaling *s)
{
	double blocks = (double)(s->looked_us - s->now_since_us) / 1e6 / SCALING_BLOCK_S;
	return (unsigned)fmin(fmax(ceil(blocks), NOW), SCALING_BLOCKS);
}

void scaling_look_slope(struct scaling *s)
{
	struct scaling_slope all = {0};
	double spread = 0, spread_n = 0, n = 0;
	unsigned known = s->n_blocks - s->member_block, now = blocks_of_now(s);
	unsigned most = now > BLOCKS ? now : BLOCKS;
	known = known < s->n_blocks - s->first_block ? known : s->n_blocks - s->first_block;
	for (unsigned age = 0; age < most && age < known; age++) {
		const struct scaling_block *b =
		    &s->blocks[(s->n_blocks - 1 - age) % SCALING_BLOCKS];
		if (age < now) {
			all.n += b->slope.n;
			all.x += b->slope.x;
		}
		n += b->slope.n;
		all.xx += b->slope.xx;
		all.xy += b->slope.xy;
		spread += b->spread;
		spread_n += b->spread_n;
	}
	/* deep in a queue levels change too slowly, and their spread is not known; nor are levels
	 * known where others send as well */
	bool seen = spread_n > SEEN * n && !scaling_hears(s);
	double variance = seen ? spread / spread_n : 0;
	s->load =
	    (struct scaling_load){.n = all.n, .varies = seen && all.n > 0 && all.xx > VARIED * n};
	if (!s->load.varies)
		return;
	s->load.explains = all.x / all.n * all.xy / all.xx;
	s->load.se = all.x / all.n * EXCESS * sqrt(variance / all.xx);
}

bool scaling_load_slows(const struct scaling *s, double growth)
{
	const struct scaling_load *l = &s->load;
	return !l->varies || l->explains > fmax(SLOWS_Z * l->se, EXPLAINED * log(growth));
}

bool scaling_load_is_innocent(const struct scaling *s, double growth)
{
	const struct scaling_load *l = &s->load;
	/* most of what is seen now: a lull's levels say nothing of what came after it */
	return l->varies && l->n >= fmax(NOW_LEAST, s->now.n * NOW_SHARE) &&
	       l->explains + NOT_Z * l->se < EXPLAINED * log(growth);
}
