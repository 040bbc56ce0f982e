/* SPDX-License-Identifier: MIT */
/*
 * What a configuration shows of values that may be secret, whoever looks: their place.  What
 * may be one is a matter of the type of a key (struct conf_type, `secret`), so that a new key
 * cannot be forgotten.
 */
#include "type.h"

#define MASK "***"

struct view mask_query(struct arena *arena, struct view url)
{
	ptrdiff_t query = view_chr(url, '?');
	struct view head = view_head(url, query < 0 ? url.len : (size_t)query);
	ptrdiff_t at = view_chr(head, '@'), slashes = view_chr(head, '/');
	bool user = at > 0 && slashes >= 0 && at > slashes + 1 && head.ptr[slashes + 1] == '/' &&
		    !memchr(head.ptr + slashes + 2, '/', (size_t)(at - slashes) - 2);
	struct str out = STR_INIT;
	if (user)
		str_printf(&out, VIEW_FMT MASK VIEW_FMT,
			   VIEW_ARG(view_head(head, (size_t)slashes + 2)),
			   VIEW_ARG(view_skip(head, (size_t)at)));
	else
		str_view(&out, head);
	if (query >= 0)
		str_text(&out, "?" MASK);
	struct view v = arena_view(arena, str_as_view(&out));
	str_fini(&out);
	return v;
}

static struct node *mask_scalar(struct encoder *e, const struct row *row, struct node *node)
{
	struct view text =
	    row->type->secret == SECRET_QUERY ? mask_query(e->arena, node->text) : VIEW(MASK);
	return node->style == NODE_TEXT ? node_scalar(e->arena, NODE_TEXT, text) : node;
}

struct node *mask_node(struct encoder *e, const struct row *row, struct node *node)
{
	if (node->kind == NODE_SCALAR)
		return mask_scalar(e, row, node);
	struct node *out = node->kind == NODE_MAP ? node_map(e->arena) : node_list(e->arena);
	for (const struct node_item *it = node->items; it; it = it->next) {
		struct node *value = mask_node(e, row, it->value);
		if (it->key)
			node_put(e->arena, out, it->key, value);
		else
			node_add(e->arena, out, value);
	}
	return out;
}
