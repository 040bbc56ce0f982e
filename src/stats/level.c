/* SPDX-License-Identifier: MIT */
/* The rare paths of the state bins. */
#include "weir/stats/level.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(LEVEL_BINS == 144, "64 exact ones and eight for each of ten octaves");

double level_value(uint32_t bin)
{
	if (bin < LEVEL_EXACT)
		return bin;
	uint32_t octave = (bin - LEVEL_EXACT) >> LEVEL_SUB_BITS, sub = (bin - LEVEL_EXACT) & 7;
	double width = (double)(1u << (octave + 6 - LEVEL_SUB_BITS));
	return (8 + sub) * width + (width - 1) / 2;
}

struct levels *levels_new(void)
{
	struct levels *levels = aligned_alloc(WEIR_CACHE_LINE, sizeof(*levels));
	if (levels)
		memset(levels, 0, sizeof(*levels));
	return levels;
}

void levels_free(struct levels *levels)
{
	if (!levels)
		return;
	for (unsigned c = 0; c < LEVEL_CLASSES; c++)
		free(atomic_load_explicit(&levels->served[c], memory_order_acquire));
	free(levels);
}

void levels_served_first(struct levels *levels, unsigned c, uint64_t us)
{
	struct hist *h = hist_new();
	if (!h)
		return; /* one sample less; the next one tries again */
	hist_record(h, us);
	/* release: whoever sees the pointer sees the zeroes behind it */
	atomic_store_explicit(&levels->served[c], h, memory_order_release);
}
