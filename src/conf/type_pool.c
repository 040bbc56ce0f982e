/* SPDX-License-Identifier: MIT */
/*
 * Names of pools, resolved to their indices.  The names are known before
 * anything is decoded, so that routes may stand before the pools.
 */
#include "type.h"
#include "weir/base/parse.h"

static void pool_ref_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (!want_scalar(d, row, node))
		return;
	const struct name *pool = decode_reference(d, &d->pools, node, "pool");
	if (pool)
		member_store(row, base, pool->index);
}

static struct node *pool_node(struct encoder *e, uint32_t index)
{
	return node_scalar(e->arena, NODE_TEXT, e->conf->pools[index].name);
}

static struct node *pool_ref_encode(struct encoder *e, const struct row *row, const void *base)
{
	return pool_node(e, (uint32_t)member_load(row, base));
}

static void pool_ref_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, NAME_PATTERN);
}

const struct conf_type conf_type_pool_ref = {
    .syntax = "the name of a pool",
    .decode = pool_ref_decode,
    .encode = pool_ref_encode,
    .schema = pool_ref_schema,
};

/* ---- {pool: share, ...} ---- */

static void split_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_route *route = base;
	uint64_t sum = 0;
	if (node->kind != NODE_MAP) {
		wrong_shape(d, row, node);
		return;
	}
	route->split = arena_array(d->arena, node->n, sizeof(*route->split));
	for (const struct node_item *it = node->items; it; it = it->next) {
		const struct name *pool = decode_reference(d, &d->pools, it->key, "pool");
		uint64_t share = 0;
		if (it->value->kind != NODE_SCALAR || !parse_u64(it->value->text, &share)) {
			decode_error(d, it->value,
				     "the share of '" VIEW_FMT "' must be a whole number",
				     VIEW_ARG(it->key->text));
			sum++; /* no second complaint about the sum */
			continue;
		}
		sum += share != 0;
		if (want_range(d, row, it->value, share) && pool)
			route->split[route->n_split++] =
			    (struct conf_split){pool->index, (uint32_t)share};
	}
	if (!sum)
		decode_error(d, node, "the shares of '" VIEW_FMT "' add up to 0",
			     VIEW_ARG(row_key(row)));
}

static struct node *split_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_route *route = base;
	struct node *map = node_map(e->arena);
	(void)row;
	for (size_t i = 0; i < route->n_split; i++)
		node_put(e->arena, map, pool_node(e, route->split[i].pool),
			 node_printf(e->arena, NODE_NUMBER, "%u", route->split[i].share));
	return map;
}

static void split_bound(struct str *out, uint64_t value)
{
	str_u64(out, value);
}

static void split_schema(struct json *j, const struct row *row)
{
	schema_type(j, "object");
	json_member_u64(j, "minProperties", 1);
	json_key(j, "propertyNames");
	json_object_begin(j);
	schema_pattern(j, NAME_PATTERN);
	json_object_end(j);
	json_key(j, "additionalProperties");
	json_object_begin(j);
	schema_type(j, "integer");
	json_member_u64(j, "minimum", row->min);
	json_member_u64(j, "maximum", row->max);
	json_object_end(j);
}

const struct conf_type conf_type_split = {
    .syntax = "a map from pools to shares",
    .decode = split_decode,
    .encode = split_encode,
    .schema = split_schema,
    .bound = split_bound,
};
