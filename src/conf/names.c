/* SPDX-License-Identifier: MIT */
/* Names that must be unique, and where each was first. */
#include "names.h"

#include "weir/base/hash.h"

void names_init(struct names *names, struct arena *arena)
{
	*names = (struct names){.arena = arena};
}

static uint32_t *find_slot(const struct names *names, struct view text, uint64_t hash)
{
	uint32_t mask = names->n_slots - 1, i = (uint32_t)hash & mask;
	while (names->slots[i]) {
		const struct name *row = &names->rows[names->slots[i] - 1];
		if (row->hash == hash && view_eq(row->text, text))
			break;
		i = (i + 1) & mask;
	}
	return &names->slots[i];
}

struct name *names_find(const struct names *names, struct view text)
{
	if (!names->n)
		return NULL;
	uint32_t slot = *find_slot(names, text, hash_view(text, hash_seed()));
	return slot ? &names->rows[slot - 1] : NULL;
}

static void grow(struct names *names)
{
	struct name *old = names->rows;
	names->cap = names->cap ? names->cap * 2 : 8;
	names->rows = arena_array(names->arena, names->cap, sizeof(*names->rows));
	if (names->n)
		memcpy(names->rows, old, names->n * sizeof(*old));
	names->n_slots = names->cap * 2;
	names->slots = arena_array(names->arena, names->n_slots, sizeof(*names->slots));
	for (uint32_t i = 0; i < names->n; i++)
		*find_slot(names, names->rows[i].text, names->rows[i].hash) = i + 1;
}

struct name *names_put(struct names *names, struct view text, struct node *node)
{
	if (names->n == names->cap)
		grow(names);
	uint64_t hash = hash_view(text, hash_seed());
	uint32_t *slot = find_slot(names, text, hash);
	if (*slot)
		return &names->rows[*slot - 1];
	struct name *row = &names->rows[names->n];
	*row = (struct name){.text = text, .hash = hash, .node = node, .index = names->n};
	*slot = ++names->n;
	return NULL;
}
