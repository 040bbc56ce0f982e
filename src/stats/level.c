/* SPDX-License-Identifier: MIT */
/* Levels: filing a duration. */
#include "weir/stats/level.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(LEVEL_BINS == 144, "64 exact ones and eight for each of ten octaves");
_Static_assert(LEVEL_BINS % LEVEL_BLOCK == 0 && LEVEL_SPLIT % LEVEL_BLOCK == 0,
	       "a block is on one side of LEVEL_SPLIT");

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
	for (unsigned i = 0; i < LEVEL_BLOCKS; i++)
		free(atomic_load_explicit(&levels->blocks[i], memory_order_acquire));
	for (unsigned c = 0; c < LEVEL_CLASSES; c++)
		hist_free(atomic_load_explicit(&levels->served[c], memory_order_acquire));
	free(levels);
}

static void add32(_Atomic uint32_t *sum, uint32_t n)
{
	uint32_t old = atomic_load_explicit(sum, memory_order_relaxed);
	atomic_store_explicit(sum, old + n, memory_order_relaxed);
}

/*
 * The running median takes a step towards each value, a 32nd of itself.  It is chosen
 * before the duration is looked at, so that it cannot favour one side.
 */
static void split(struct level_block *block, uint32_t k, uint32_t elsewhere, uint64_t us)
{
	struct level_split *s = &block->split[k % LEVEL_BLOCK];
	uint16_t *is = &block->usual[k % LEVEL_BLOCK];
	uint32_t usual = *is, log = level_log(us);
	unsigned side = elsewhere * 8 > usual;
	add32(&s->n[side], 1);
	add32(&s->elsewhere[side], elsewhere);
	add32(&s->log[side], log);
	counter_add(&s->log2, (uint64_t)log * log);
	uint32_t step = 1 + usual / 32;
	if (side)
		*is = (uint16_t)(usual + step < UINT16_MAX ? usual + step : usual);
	else
		*is = (uint16_t)(usual > step ? usual - step : 0);
}

static void file(struct levels *levels, unsigned c, uint64_t us)
{
	struct hist *h = atomic_load_explicit(&levels->served[c], memory_order_relaxed);
	if (likely(h != NULL)) {
		hist_record(h, us);
		return;
	}
	h = hist_new();
	if (!h)
		return; /* one sample less; the next one tries again */
	hist_record(h, us);
	/* release: whoever sees the pointer sees the zeroes behind it */
	atomic_store_explicit(&levels->served[c], h, memory_order_release);
}

/* NULL without memory: one sample less, and the next one tries again. */
static struct level_block *make_block(struct levels *levels, uint32_t bin)
{
	size_t size =
	    bin < LEVEL_SPLIT ? sizeof(struct level_block) : offsetof(struct level_block, split);
	struct level_block *block = calloc(1, size);
	/* release: whoever sees the pointer sees the zeroes behind it */
	atomic_store_explicit(&levels->blocks[bin / LEVEL_BLOCK], block, memory_order_release);
	return block;
}

static void file_level(struct levels *levels, uint32_t k, uint32_t elsewhere, uint64_t us)
{
	uint32_t bin = level_bin(k);
	struct level_block *block =
	    atomic_load_explicit(&levels->blocks[bin / LEVEL_BLOCK], memory_order_relaxed);
	if (unlikely(!block) && !(block = make_block(levels, bin)))
		return;
	if (unlikely(bin > levels_top(levels)))
		atomic_store_explicit(&levels->top, bin, memory_order_relaxed);
	counter_add(&block->bin[bin % LEVEL_BLOCK].n, 1);
	counter_add(&block->bin[bin % LEVEL_BLOCK].us, us);
	if (likely(k < LEVEL_SPLIT && elsewhere != LEVEL_UNKNOWN))
		split(block, k, elsewhere, us);
}

void levels_served(struct levels *levels, uint32_t others, uint32_t elsewhere, uint64_t us)
{
	file_level(levels, others + 1, elsewhere, us);
	file(levels, level_class(others, elsewhere), us);
}
