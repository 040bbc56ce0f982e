/* SPDX-License-Identifier: MIT */
/*
 * maglev (Eisenbud et al., NSDI 2016): a table much larger than the set, filled
 * by the backends in turns, each in an order of its own that its name decides.
 * A lookup is one load, shares are even to a hundredth and better, and a
 * backend that is added or removed for good moves little more than its share.
 *
 * Weights as Envoy does them: in round k a backend has a turn when it is due.
 */
#include <stdlib.h>

#include "hashed.h"
#include "strategies.h"

#include "weir/base/check.h"
#include "weir/base/defs.h"
#include "weir/base/hash.h"

/* Slots for each backend at least; the sizes are primes, else an order misses slots. */
#define SLOTS_EACH 100
static const uint32_t sizes[] = {65537, 655373, 6553621};

#define SEED_OFFSET 0x6f66
#define SEED_SKIP 0x736b

#define SLOT_FREE UINT32_MAX

struct maglev_table {
	struct hashed hashed;
	uint32_t size;
	uint32_t *slots; /* [size] */
};

/* A backend that fills the table. */
struct filler {
	struct view name;
	uint32_t index;
	uint64_t next, skip; /* its order of the slots */
	double target;       /* rounds of turns it has had, times the largest weight */
};

static int by_name(const void *a, const void *b)
{
	const struct filler *x = a, *y = b;
	return view_cmp(x->name, y->name);
}

static void take_slot(struct maglev_table *table, struct filler *f)
{
	while (table->slots[f->next] != SLOT_FREE)
		f->next = (f->next + f->skip) % table->size;
	table->slots[f->next] = f->index;
}

static void fill(struct maglev_table *table, struct filler *fillers, double max_weight)
{
	uint32_t left = table->size;
	for (uint32_t i = 0; i < table->size; i++)
		table->slots[i] = SLOT_FREE;
	for (double round = 1; left > 0; round++) {
		for (uint32_t i = 0; i < table->hashed.n_weighted && left > 0; i++) {
			struct filler *f = &fillers[i];
			if (round * table->hashed.weights[f->index] < f->target)
				continue;
			f->target += max_weight;
			take_slot(table, f);
			left--;
		}
	}
}

static const struct strategy_table *maglev_build(const struct strategy_member *members, uint32_t n,
						 const struct strategy_options *options,
						 struct arena *arena)
{
	struct maglev_table *table = arena_zalloc(arena, sizeof(*table));
	hashed_init(&table->hashed, members, n, options, arena);
	if (table->hashed.n_weighted == 0)
		return (const struct strategy_table *)table;
	for (size_t k = 0; k < ARRAY_LEN(sizes) && table->size < SLOTS_EACH * (uint64_t)n; k++)
		table->size = sizes[k];
	table->slots = arena_array(arena, table->size, sizeof(*table->slots));
	struct arena *scratch = arena_new();
	struct filler *fillers = arena_array(scratch, n, sizeof(*fillers));
	uint32_t n_fillers = 0, max_weight = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (members[i].weight == 0)
			continue;
		fillers[n_fillers++] = (struct filler){
		    .name = members[i].name,
		    .index = i,
		    .next = hash_view(members[i].name, SEED_OFFSET) % table->size,
		    .skip = hash_view(members[i].name, SEED_SKIP) % (table->size - 1) + 1,
		};
		max_weight = members[i].weight > max_weight ? members[i].weight : max_weight;
	}
	qsort(fillers, n_fillers, sizeof(*fillers), by_name);
	fill(table, fillers, max_weight);
	arena_free(scratch);
	return (const struct strategy_table *)table;
}

static uint32_t maglev_owner(const struct strategy_table *opaque, uint64_t key)
{
	const struct maglev_table *table = (const struct maglev_table *)opaque;
	return table->slots[key % table->size];
}

static uint32_t maglev_pick(const struct strategy_table *opaque, void *local,
			    const struct strategy_input *input, const uint64_t *eligible,
			    const struct strategy_loads *loads)
{
	(void)local;
	const struct maglev_table *table = (const struct maglev_table *)opaque;
	return hashed_pick(&table->hashed, opaque, maglev_owner, input, eligible, loads);
}

static void maglev_dump(const struct strategy_table *opaque, const struct strategy_loads *loads,
			struct json *out)
{
	(void)loads;
	json_member_u64(out, "slots", ((const struct maglev_table *)opaque)->size);
}

const struct strategy strategy_maglev = {
    STRATEGY_ROW(maglev),
    .build = maglev_build,
    .pick = maglev_pick,
    .dump = maglev_dump,
};
