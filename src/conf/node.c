/* SPDX-License-Identifier: MIT */
/* The tree that YAML becomes before it is a configuration: every node knows its line and column. */
#include "node.h"

#include <stdio.h>

static struct node *node_new(struct arena *arena, enum node_kind kind)
{
	struct node *node = arena_zalloc(arena, sizeof(*node));
	node->kind = kind;
	node->weight = 1;
	return node;
}

struct node *node_map(struct arena *arena)
{
	return node_new(arena, NODE_MAP);
}

struct node *node_list(struct arena *arena)
{
	return node_new(arena, NODE_LIST);
}

struct node *node_scalar(struct arena *arena, enum node_style style, struct view text)
{
	struct node *node = node_new(arena, NODE_SCALAR);
	node->style = style;
	node->text = text;
	return node;
}

struct node *node_printf(struct arena *arena, enum node_style style, const char *fmt, ...)
{
	char text[64];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return node_scalar(arena, style, arena_view(arena, view_str(text)));
}

void node_put(struct arena *arena, struct node *map, struct node *key, struct node *value)
{
	struct node_item *item = arena_zalloc(arena, sizeof(*item));
	item->key = key;
	item->value = value;
	if (map->last)
		map->last->next = item;
	else
		map->items = item;
	map->last = item;
	map->n++;
}

void node_add(struct arena *arena, struct node *list, struct node *value)
{
	node_put(arena, list, NULL, value);
}

struct node *node_get(const struct node *map, struct view key)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (const struct node_item *it = map->items; it; it = it->next)
		if (view_eq(it->key->text, key))
			return it->value;
	return NULL;
}

bool node_is_text(const struct node *node, const char *text)
{
	return node->kind == NODE_SCALAR && view_eq(node->text, view_str(text));
}

bool node_is_null(const struct node *node)
{
	if (node->kind != NODE_SCALAR || node->quoted)
		return false;
	return node->text.len == 0 || node_is_text(node, "~") || node_is_text(node, "null");
}
