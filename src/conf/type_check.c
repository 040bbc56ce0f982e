/* SPDX-License-Identifier: MIT */
/*
 * What only health checks have: their kinds, out of tbl/checks.def, and sets of
 * statuses such as 200-399.
 */
#include "suggest.h"
#include "type.h"
#include "weir/base/parse.h"
#include "weir/conf/conf.h"

/* ---- kinds: the index of a row ---- */

static const char *const kinds[] = {
#define CHECK(symbol, keyword, sentence) keyword,
#include "weir/tbl/checks.def"
#undef CHECK
};

static const char kind_words[] =
#define CHECK(symbol, keyword, sentence) keyword "|"
#include "weir/tbl/checks.def"
#undef CHECK
    ;

static void check_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (!want_scalar(d, row, node))
		return;
	int i = row_word_index(kind_words, node->text);
	if (i < 0)
		not_a_word(d, node, kind_words);
	else
		member_store(row, base, (uint64_t)i);
}

static struct node *check_encode(struct encoder *e, const struct row *row, const void *base)
{
	return node_scalar(e->arena, NODE_WORD, view_str(kinds[member_load(row, base)]));
}

static void check_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_words(j, kind_words);
}

static void check_explain(struct str *out, const struct row *row)
{
	(void)row;
	str_text(out, ".Bl -tag -width Ds\n");
#define CHECK(symbol, keyword, sentence) str_text(out, ".It Ql " keyword "\n" sentence "\n");
#include "weir/tbl/checks.def"
#undef CHECK
	str_text(out, ".El\n");
}

const struct conf_type conf_type_check = {
    .explain = check_explain,
    .syntax = "a kind of health check",
    .decode = check_decode,
    .encode = check_encode,
    .schema = check_schema,
};

/* ---- 200, 200-399, [200, 204, 300-399]: struct conf_statuses ---- */

static bool read_range(struct view text, struct conf_status_range *out)
{
	uint64_t first, last;
	ptrdiff_t dash = view_chr(text, '-');
	struct view from = dash < 0 ? text : view_head(text, (size_t)dash);
	struct view to = dash < 0 ? text : view_skip(text, (size_t)dash + 1);
	if (!parse_u64(from, &first) || !parse_u64(to, &last) || first < 200 || last > 599 ||
	    first > last)
		return false;
	*out = (struct conf_status_range){(uint16_t)first, (uint16_t)last};
	return true;
}

static void statuses_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_statuses *set = member_of(row, base);
	struct node_item one = {.value = node};
	const struct node_item *it = node->kind == NODE_LIST ? node->items : &one;
	size_t n = node->kind == NODE_LIST ? node->n : 1;
	if (n == 0)
		decode_error(d, node, "'" VIEW_FMT "' is empty", VIEW_ARG(row_key(row)));
	set->rows = arena_array(d->arena, n, sizeof(*set->rows));
	for (; it; it = it->next) {
		if (!want_scalar(d, row, it->value))
			continue;
		if (read_range(it->value->text, &set->rows[set->n]))
			set->n++;
		else
			decode_error(d, it->value,
				     "'" VIEW_FMT "' is no status such as 200 and no range such as "
				     "200-399; they go from 200 to 599",
				     VIEW_ARG(it->value->text));
	}
}

static struct node *statuses_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_statuses *set = member_in(row, base);
	struct node *list = node_list(e->arena);
	for (size_t i = 0; i < set->n; i++) {
		unsigned first = set->rows[i].first, last = set->rows[i].last;
		node_add(e->arena, list,
			 first == last ? node_printf(e->arena, NODE_NUMBER, "%u", first)
				       : node_printf(e->arena, NODE_TEXT, "%u-%u", first, last));
	}
	return set->n ? list : NULL;
}

static void one_range_schema(struct json *j)
{
	json_object_begin(j);
	schema_type(j, "integer");
	json_member_u64(j, "minimum", 200);
	json_member_u64(j, "maximum", 599);
	json_object_end(j);
	json_object_begin(j);
	schema_pattern(j, "^[2-5][0-9][0-9](-[2-5][0-9][0-9])?$");
	json_object_end(j);
}

static void statuses_schema(struct json *j, const struct row *row)
{
	(void)row;
	json_key(j, "anyOf");
	json_array_begin(j);
	one_range_schema(j);
	json_object_begin(j);
	schema_type(j, "array");
	json_member_u64(j, "minItems", 1);
	json_key(j, "items");
	json_object_begin(j);
	json_key(j, "anyOf");
	json_array_begin(j);
	one_range_schema(j);
	json_array_end(j);
	json_object_end(j);
	json_object_end(j);
	json_array_end(j);
}

const struct conf_type conf_type_statuses = {
    .syntax = "a status, a range such as 200-399, or a list of these",
    .decode = statuses_decode,
    .encode = statuses_encode,
    .schema = statuses_schema,
};
