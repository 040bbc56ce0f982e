/* SPDX-License-Identifier: MIT */
/* A table of backends for one reading of what others said. */
#include "seats.h"

#include "weir/base/hash.h"

struct seat *seats_find(const struct seats *seats, struct view pool, struct view address)
{
	uint64_t hash = hash_view(address, hash_view(pool, 1));
	for (size_t i = hash & seats->mask;; i = (i + 1) & seats->mask) {
		struct seat *seat = &seats->rows[i];
		if (!seat->backend || (view_eq(seat->backend->address_text, address) &&
				       view_eq(seat->backend->pool_name, pool)))
			return seat;
	}
}

struct seats seats_take(const struct pool_registry *registry, struct arena *arena)
{
	size_t n = 0, size = 2;
	list_each (it, &registry->backends)
		n++;
	while (size < 2 * n + 2)
		size *= 2;
	struct seats seats = {arena_array(arena, size, sizeof(struct seat)), size - 1};
	list_each (it, &registry->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		seats_find(&seats, b->pool_name, b->address_text)->backend = b;
	}
	return seats;
}
