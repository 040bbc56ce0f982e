/* SPDX-License-Identifier: MIT */
/*
 * A hash table from names to places, so that looking for duplicates among
 * thousands of routes costs no more than reading them.  Lives in an arena.
 */
#ifndef WEIR_CONF_NAMES_H
#define WEIR_CONF_NAMES_H

#include <stdint.h>

#include "node.h"
#include "weir/base/arena.h"
#include "weir/base/view.h"

struct name {
	struct view text;
	uint64_t hash;
	struct node *node; /* where it was first seen */
	uint32_t index;    /* in order of arrival */
};

struct names {
	struct arena *arena; /* borrows */
	struct name *rows;
	uint32_t n, cap;
	uint32_t *slots; /* index + 1, 0: free; a power of two */
	uint32_t n_slots;
};

void names_init(struct names *names, struct arena *arena);
/* NULL when there is none. */
struct name *names_find(const struct names *names, struct view text);
/* The earlier one of the same text, which stays, or NULL when it was new. */
struct name *names_put(struct names *names, struct view text, struct node *node);

#endif
