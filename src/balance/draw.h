/* SPDX-License-Identifier: MIT */
/*
 * A random draw of one backend in proportion to weight, among those that are
 * eligible: an alias table (Walker, Vose), so O(1) as long as most backends are
 * eligible, and one walk over the set when they are not.  Either way the result
 * has exactly the distribution of a weighted draw among the eligible ones.
 *
 *   table.draw = draw_table_new(members, n, arena);        // control thread
 *   struct draws draws = draws_of(input->random);          // worker
 *   uint32_t a = draw_one(table.draw, eligible, STRATEGY_NONE, &draws);
 *   uint32_t b = draw_one(table.draw, eligible, a, &draws); // differs from a
 *
 * The table is const after draw_table_new and lives in the arena.
 */
#ifndef WEIR_BALANCE_DRAW_H
#define WEIR_BALANCE_DRAW_H

#include "weir/balance/strategy.h"
#include "weir/base/hash.h"

struct draw_column {
	uint32_t keep;  /* of 2^32: how often the column gives `self` */
	uint32_t self;  /* backend */
	uint32_t other; /* backend, the rest of the time */
};

struct draw_table {
	uint32_t n;                  /* backends */
	uint32_t n_columns;          /* backends with a weight */
	uint32_t n_words;            /* of `weighted` */
	const uint32_t *weights;     /* [n] */
	const uint64_t *weighted;    /* bitset: weight is not 0 */
	struct draw_column *columns; /* [n_columns] */
};

const struct draw_table *draw_table_new(const struct strategy_member *members, uint32_t n,
					struct arena *arena);

/* As many random words as a pick needs, out of the one it was given (splitmix64). */
struct draws {
	uint64_t state;
};

static inline struct draws draws_of(uint64_t random)
{
	return (struct draws){random};
}

static inline uint64_t draws_next(struct draws *draws)
{
	draws->state += UINT64_C(0x9e3779b97f4a7c15);
	return hash_mix(draws->state);
}

/* One backend whatever its eligibility; the table must have a column. */
static inline uint32_t draw_any(const struct draw_table *table, uint64_t random)
{
	uint32_t c = (uint32_t)((random >> 32) * table->n_columns >> 32);
	const struct draw_column *column = &table->columns[c];
	return (uint32_t)random < column->keep ? column->self : column->other;
}

/* An eligible backend other than `except`, or STRATEGY_NONE. */
uint32_t draw_one(const struct draw_table *table, const uint64_t *eligible, uint32_t except,
		  struct draws *draws);

/*
 * Two different eligible backends.  *b is STRATEGY_NONE when there is only one,
 * and so is *a when there is none.
 */
static inline void draw_two(const struct draw_table *table, const uint64_t *eligible,
			    uint64_t random, uint32_t *a, uint32_t *b)
{
	struct draws draws = draws_of(random);
	*a = draw_one(table, eligible, STRATEGY_NONE, &draws);
	*b = *a == STRATEGY_NONE || table->n_columns == 1 ? STRATEGY_NONE
							  : draw_one(table, eligible, *a, &draws);
}

#endif
