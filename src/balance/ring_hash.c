/* SPDX-License-Identifier: MIT */
/*
 * ring-hash: ketama, with the points that nginx's `hash ... consistent` gives the
 * same servers, and keys hashed as there: a cache behind nginx stays warm behind
 * weir.  160 points for each unit of weight; a key belongs to the first point at
 * or after its CRC-32.  Adding or removing a backend for good moves only the
 * keys it gains or loses.
 */
#include <stdlib.h>
#include <string.h>

#include "hashed.h"
#include "strategies.h"

#include "weir/base/check.h"
#include "weir/base/hash.h"

#define POINTS_EACH 160
/* Huge weights get fewer points for each unit, but every backend at least one. */
#define POINTS_MAX (1 << 20)

struct point {
	uint32_t hash;
	uint32_t backend;
};

struct ring_table {
	struct hashed hashed;
	uint32_t n_points;
	struct point *points; /* in the order of their hashes */
};

/* Sorting names out decides between points of one hash, whatever the order of the file. */
struct ranked {
	struct view name;
	uint32_t index;
};

static int by_name(const void *a, const void *b)
{
	return view_cmp(((const struct ranked *)a)->name, ((const struct ranked *)b)->name);
}

static int by_hash(const void *a, const void *b)
{
	const struct point *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->backend > y->backend) - (x->backend < y->backend);
}

/* "HOST\0PORT" of "HOST:PORT"; a path of a unix socket has no port. */
static uint32_t base_hash(struct view name)
{
	struct view port = VIEW_NONE;
	size_t at = name.len;
	if (view_istarts(name, VIEW("unix:"))) {
		name = view_skip(name, 5);
	} else {
		while (at > 0 && char_is_digit(name.ptr[at - 1]))
			at--;
		if (at > 0 && name.ptr[at - 1] == ':') {
			port = view_skip(name, at);
			name = view_head(name, at - 1);
		}
	}
	uint32_t crc = hash_crc32(name.ptr, name.len, 0);
	return hash_crc32(port.ptr, port.len, hash_crc32("", 1, crc));
}

static uint32_t put_points(struct point *points, uint32_t n, const struct ranked *r, uint32_t rank)
{
	uint32_t base = base_hash(r->name), previous = 0;
	for (uint32_t k = 0; k < n; k++) {
		unsigned char le[4] = {(unsigned char)previous, (unsigned char)(previous >> 8),
				       (unsigned char)(previous >> 16),
				       (unsigned char)(previous >> 24)};
		previous = hash_crc32(le, sizeof(le), base);
		points[k] = (struct point){previous, rank};
	}
	return n;
}

static uint32_t points_of(const struct ring_table *table, uint32_t weight)
{
	uint64_t total = table->hashed.total_weight * POINTS_EACH;
	uint64_t n = (uint64_t)weight * POINTS_EACH;
	if (total > POINTS_MAX)
		n = n * POINTS_MAX / total;
	return n ? (uint32_t)n : 1;
}

/* Sorted, without doubles; ranks become indices. */
static void finish_points(struct ring_table *table, const struct ranked *ranked)
{
	uint32_t kept = 0;
	qsort(table->points, table->n_points, sizeof(*table->points), by_hash);
	for (uint32_t k = 0; k < table->n_points; k++) {
		if (kept && table->points[kept - 1].hash == table->points[k].hash)
			continue;
		table->points[kept] = table->points[k];
		table->points[kept++].backend = ranked[table->points[k].backend].index;
	}
	table->n_points = kept;
}

static const struct strategy_table *ring_build(const struct strategy_member *members, uint32_t n,
					       const struct strategy_options *options,
					       struct arena *arena)
{
	struct ring_table *table = arena_zalloc(arena, sizeof(*table));
	struct arena *scratch = arena_new();
	struct ranked *ranked = arena_array(scratch, n, sizeof(*ranked));
	uint32_t n_ranked = 0;
	uint64_t n_points = 0;
	hashed_init(&table->hashed, members, n, options, arena);
	for (uint32_t i = 0; i < n; i++) {
		if (members[i].weight == 0)
			continue;
		ranked[n_ranked++] = (struct ranked){members[i].name, i};
		n_points += points_of(table, members[i].weight);
	}
	qsort(ranked, n_ranked, sizeof(*ranked), by_name);
	table->points = arena_array(arena, n_points, sizeof(*table->points));
	for (uint32_t r = 0; r < n_ranked; r++)
		table->n_points +=
		    put_points(&table->points[table->n_points],
			       points_of(table, members[ranked[r].index].weight), &ranked[r], r);
	finish_points(table, ranked);
	arena_free(scratch);
	return (const struct strategy_table *)table;
}

static uint32_t ring_owner(const struct strategy_table *opaque, uint64_t key)
{
	const struct ring_table *table = (const struct ring_table *)opaque;
	uint32_t hash = (uint32_t)key, low = 0, high = table->n_points;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (table->points[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return table->points[low < table->n_points ? low : 0].backend;
}

static uint32_t ring_pick(const struct strategy_table *opaque, void *local,
			  const struct strategy_input *input, const uint64_t *eligible,
			  const struct strategy_loads *loads)
{
	(void)local;
	const struct ring_table *table = (const struct ring_table *)opaque;
	return hashed_pick(&table->hashed, opaque, ring_owner, input, eligible, loads);
}

static void ring_dump(const struct strategy_table *opaque, const struct strategy_loads *loads,
		      struct json *out)
{
	(void)loads;
	json_member_u64(out, "points", ((const struct ring_table *)opaque)->n_points);
}

const struct strategy strategy_ring_hash = {
    STRATEGY_ROW(ring_hash),
    .build = ring_build,
    .pick = ring_pick,
    .dump = ring_dump,
};
