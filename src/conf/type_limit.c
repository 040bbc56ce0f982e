/* SPDX-License-Identifier: MIT */
/* Rate limits: a key that is several sources joined with +, and a rate such as 100/s. */
#include <stdio.h>
#include <string.h>

#include "type.h"
#include "weir/base/parse.h"

/* ---- keys ---- */

static void put_label(struct decoder *d, struct conf_limit_key *key)
{
	char *label = arena_printf(d->arena, VIEW_FMT, VIEW_ARG(key->text));
	for (char *p = label; *p; p++)
		if (!char_is_digit(*p) && !(char_lower(*p) >= 'a' && char_lower(*p) <= 'z') &&
		    !strchr("-_.:+/", *p))
			*p = '_';
	key->label = view_str(label);
}

static void limit_key_decode(struct decoder *d, const struct row *row, struct node *node,
			     void *base)
{
	struct conf_limit_key *key = member_of(row, base);
	if (!want_scalar(d, row, node))
		return;
	struct conf_limit_key out = {.text = arena_view(d->arena, node->text)};
	out.rows = arena_array(d->arena, CONF_LIMIT_KEY_MAX, sizeof(*out.rows));
	for (struct view rest = out.text; rest.ptr;) {
		ptrdiff_t plus = view_chr(rest, '+');
		struct view part = plus < 0 ? rest : view_head(rest, (size_t)plus);
		rest = plus < 0 ? VIEW_NONE : view_skip(rest, part.len + 1);
		if (out.n == CONF_LIMIT_KEY_MAX) {
			decode_error(d, node, "a key has at most %u parts", CONF_LIMIT_KEY_MAX);
			return;
		}
		if (!source_parse(part, &out.rows[out.n++])) {
			decode_error(d, node,
				     "'" VIEW_FMT "' is not one of client-ip, path, uri, host, "
				     "header:NAME, cookie:NAME, query:NAME; several are joined "
				     "with +",
				     VIEW_ARG(part));
			return;
		}
	}
	put_label(d, &out);
	*key = out;
}

static struct node *limit_key_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_limit_key *key = member_in(row, base);
	return node_printf(e->arena, NODE_TEXT, VIEW_FMT, VIEW_ARG(key->text));
}

static void limit_key_schema(struct json *j, const struct row *row)
{
	char text[400];
	(void)row;
	snprintf(text, sizeof(text), "^%s(\\+%s){0,%d}$", source_pattern, source_pattern,
		 CONF_LIMIT_KEY_MAX - 1);
	schema_pattern(j, text);
}

const struct conf_type conf_type_limit_key = {
    .syntax = "client-ip, path, uri, host, header:NAME, cookie:NAME or query:NAME, or several "
	      "joined with +",
    .decode = limit_key_decode,
    .encode = limit_key_encode,
    .schema = limit_key_schema,
};

/* ---- rates ---- */

static const struct {
	char unit;
	uint64_t us;
} units[] = {{'s', 1000000},
	     {'m', UINT64_C(60) * 1000000},
	     {'h', UINT64_C(3600) * 1000000},
	     {'d', UINT64_C(86400) * 1000000}};

static bool parse_rate(struct view text, struct conf_rate *out)
{
	ptrdiff_t slash = view_chr(text, '/');
	if (slash <= 0 || text.len != (size_t)slash + 2 ||
	    !parse_u64(view_head(text, (size_t)slash), &out->n) || !out->n)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (units[i].unit == text.ptr[slash + 1])
			out->per_us = units[i].us;
	return out->per_us != 0;
}

static void rate_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_rate rate = {0};
	if (!want_scalar(d, row, node))
		return;
	if (!parse_rate(node->text, &rate))
		decode_error(d, node,
			     "'" VIEW_FMT "' is no rate such as 100/s, 30/m, 1000/h or 5000/d",
			     VIEW_ARG(node->text));
	else if (rate.n > row->max * (rate.per_us / 1000000))
		decode_error(d, node, "'" VIEW_FMT "' is more than %llu/s", VIEW_ARG(node->text),
			     (unsigned long long)row->max);
	else
		*(struct conf_rate *)member_of(row, base) = rate;
}

static struct node *rate_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_rate *rate = member_in(row, base);
	char unit = 's';
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (units[i].us == rate->per_us)
			unit = units[i].unit;
	return node_printf(e->arena, NODE_TEXT, "%llu/%c", (unsigned long long)rate->n, unit);
}

static void rate_bound(struct str *out, uint64_t value)
{
	str_printf(out, "%llu/s", (unsigned long long)value);
}

static void rate_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, "^[1-9][0-9]*/[smhd]$");
}

const struct conf_type conf_type_rate = {
    .syntax = "a rate such as 100/s or 30/m",
    .decode = rate_decode,
    .encode = rate_encode,
    .schema = rate_schema,
    .bound = rate_bound,
};
