/* SPDX-License-Identifier: MIT */
/*
 * Words out of a fixed list.
 */
#include "foreign.h"
#include "suggest.h"
#include "type.h"
#include "weir/base/parse.h"

static void put_words(struct str *out, const char *words)
{
	struct view word;
	for (bool first = true; row_next_word(&words, &word); first = false)
		str_printf(out, "%s" VIEW_FMT, first ? "" : ", ", VIEW_ARG(word));
}

void not_a_word(struct decoder *d, const struct node *node, const char *words)
{
	struct suggest s;
	struct str all = STR_INIT;
	suggest_init(&s, node->text);
	suggest_words(&s, words);
	put_words(&all, words);
	decode_error_hint(d, node, suggest_hint(&s), "'" VIEW_FMT "' is not one of %s",
			  VIEW_ARG(node->text), str_as_view(&all).ptr);
	str_fini(&all);
}

void explain_words(struct str *out, const char *intro, const char *words)
{
	struct view word;
	str_printf(out, "%s\n", intro);
	while (row_next_word(&words, &word))
		str_printf(out, ".Ql " VIEW_FMT " %c\n", VIEW_ARG(word), *words ? ',' : '.');
}

static void one_of_explain(struct str *out, const struct row *row)
{
	explain_words(out, "One of", row->words);
}

static struct view word_at(const char *words, uint64_t index)
{
	struct view word = VIEW("?");
	for (uint64_t i = 0; row_next_word(&words, &word) && i < index; i++)
		;
	return word;
}

/* ---- one word: its index is the value of an enum ---- */

static void choice_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (!want_scalar(d, row, node))
		return;
	int i = row_word_index(row->words, node->text);
	if (i < 0)
		not_a_word(d, node, row->words);
	else
		member_store(row, base, (uint64_t)i);
}

static struct node *choice_encode(struct encoder *e, const struct row *row, const void *base)
{
	return node_scalar(e->arena, NODE_WORD, word_at(row->words, member_load(row, base)));
}

static void choice_schema(struct json *j, const struct row *row)
{
	schema_words(j, row->words);
}

const struct conf_type conf_type_choice = {
    .explain = one_of_explain,
    .syntax = "one word",
    .decode = choice_decode,
    .encode = choice_encode,
    .schema = choice_schema,
};

/* ---- one number out of a few ---- */

static void code_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	uint64_t n;
	if (!want_scalar(d, row, node))
		return;
	if (row_word_index(row->words, node->text) < 0 || !parse_u64(node->text, &n))
		not_a_word(d, node, row->words);
	else
		member_store(row, base, n);
}

static struct node *code_encode(struct encoder *e, const struct row *row, const void *base)
{
	return node_printf(e->arena, NODE_NUMBER, "%u", (unsigned)member_load(row, base));
}

static void code_schema(struct json *j, const struct row *row)
{
	const char *rest = row->words;
	struct view word;
	json_key(j, "enum");
	json_array_begin(j);
	while (row_next_word(&rest, &word))
		json_raw(j, word);
	json_array_end(j);
}

const struct conf_type conf_type_code = {
    .is_plain = true,
    .explain = one_of_explain,
    .syntax = "a number",
    .decode = code_decode,
    .encode = code_encode,
    .schema = code_schema,
};

/* ---- several words: bits ---- */

static void words_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	uint64_t bits = 0;
	if (node->kind != NODE_LIST) {
		wrong_shape(d, row, node);
		return;
	}
	if (!node->n)
		decode_error(d, node, "'" VIEW_FMT "' is empty", VIEW_ARG(row_key(row)));
	for (const struct node_item *it = node->items; it; it = it->next) {
		if (!want_scalar(d, row, it->value))
			continue;
		int i = row_word_index(row->words, it->value->text);
		if (i < 0)
			not_a_word(d, it->value, row->words);
		else
			bits |= UINT64_C(1) << i;
	}
	member_store(row, base, bits);
}

static struct node *words_encode(struct encoder *e, const struct row *row, const void *base)
{
	uint64_t bits = member_load(row, base);
	const char *rest = row->words;
	struct view word;
	struct node *list = node_list(e->arena);
	for (unsigned i = 0; row_next_word(&rest, &word); i++)
		if (bits >> i & 1)
			node_add(e->arena, list, node_scalar(e->arena, NODE_WORD, word));
	return list;
}

static void words_schema(struct json *j, const struct row *row)
{
	schema_type(j, "array");
	json_member_u64(j, "minItems", 1);
	json_key(j, "items");
	json_object_begin(j);
	schema_words(j, row->words);
	json_object_end(j);
}

static void words_explain(struct str *out, const struct row *row)
{
	explain_words(out, "Any of", row->words);
}

const struct conf_type conf_type_words = {
    .explain = words_explain,
    .syntax = "a list of words",
    .decode = words_decode,
    .encode = words_encode,
    .schema = words_schema,
};

/* ---- strategies ---- */

static const struct {
	const char *word, *keyword;
} strategies[] = {
#define STRATEGY(symbol, keyword, needs, sentence) {keyword, keyword},
#include "weir/tbl/strategies.def"
#undef STRATEGY
#define SYNONYM(accepted, keyword) {accepted, keyword},
#include "weir/tbl/strategy_synonyms.def"
#undef SYNONYM
};

static void report_strategy(struct decoder *d, const struct node *node)
{
	struct suggest s;
	struct str all = STR_INIT;
	suggest_init(&s, node->text);
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++) {
		suggest_try(&s, view_str(strategies[i].word), 0);
		if (strcmp(strategies[i].word, strategies[i].keyword) == 0)
			str_printf(&all, "%s%s", all.len ? ", " : "", strategies[i].word);
	}
	const char *here = foreign_strategy(node->text);
	const char *hint =
	    here ? arena_printf(d->scratch, "in weir it is %s", here) : suggest_hint(&s);
	decode_error_hint(d, node, hint, "'" VIEW_FMT "' is not one of %s", VIEW_ARG(node->text),
			  str_as_view(&all).ptr);
	str_fini(&all);
}

static void strategy_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (!want_scalar(d, row, node))
		return;
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++) {
		if (node_is_text(node, strategies[i].word)) {
			*(struct view *)member_of(row, base) = view_str(strategies[i].keyword);
			return;
		}
	}
	report_strategy(d, node);
}

static struct node *strategy_encode(struct encoder *e, const struct row *row, const void *base)
{
	return node_scalar(e->arena, NODE_WORD, *(const struct view *)member_in(row, base));
}

static void strategy_schema(struct json *j, const struct row *row)
{
	(void)row;
	json_key(j, "enum");
	json_array_begin(j);
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++)
		json_text(j, strategies[i].word);
	json_array_end(j);
}

static void strategy_explain(struct str *out, const struct row *row)
{
	(void)row;
	str_text(out, ".Bl -tag -width Ds\n");
#define STRATEGY(symbol, keyword, needs, sentence) \
	str_text(out, ".It Ql " keyword "\n" sentence "\n");
#include "weir/tbl/strategies.def"
#undef STRATEGY
#define SYNONYM(accepted, keyword) \
	str_text(out, ".It Ql " accepted "\nthe same as\n.Ql " keyword "\n");
#include "weir/tbl/strategy_synonyms.def"
#undef SYNONYM
	str_text(out, ".El\n.Pp\n");
}

const struct conf_type conf_type_strategy = {
    .explain = strategy_explain,
    .syntax = "the name of a strategy",
    .decode = strategy_decode,
    .encode = strategy_encode,
    .schema = strategy_schema,
};
