/* SPDX-License-Identifier: MIT */
/*
 * Typed structs -> tree of nodes, by the same rows that read them.
 */
#include "type.h"

/* A choice that was not taken has nothing to say. */
static bool is_chosen(const struct row *row, const void *base)
{
	return !row->is_action || ((const struct conf_route *)base)->action == row->action;
}

struct node *encode_map(struct encoder *e, const struct row *parent, const void *base)
{
	struct node *map = node_map(e->arena);
	for (const struct row *r = row_first(parent); r; r = row_next(r)) {
		if (!row_is_supported(r) || !is_chosen(r, base))
			continue;
		struct node *value = r->type->encode(e, r, base);
		if (value && e->masked && r->type->secret)
			value = mask_node(e, r, value);
		if (value)
			node_put(e->arena, map, node_scalar(e->arena, NODE_WORD, row_key(r)),
				 value);
	}
	return map->n ? map : NULL;
}
