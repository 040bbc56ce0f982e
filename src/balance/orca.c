/* SPDX-License-Identifier: MIT */
/* Load reports of backends in the text and JSON forms of ORCA's response header. */
#include "weir/balance/orca.h"

#include "weir/base/parse.h"

#define METRICS_MAX 16
#define DEPTH_MAX 2

struct reader {
	struct view rest;
	struct view names[METRICS_MAX];
	struct orca *out;
};

static bool is_name_char(char c)
{
	return char_is_digit(c) || (char_lower(c) >= 'a' && char_lower(c) <= 'z') || c == '_' ||
	       c == '.' || c == '-';
}

static bool is_number_char(char c)
{
	return char_is_digit(c) || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

static void skip_space(struct reader *r)
{
	while (r->rest.len && (r->rest.ptr[0] == ' ' || r->rest.ptr[0] == '\t'))
		r->rest = view_skip(r->rest, 1);
}

/* Takes `c`, and the space around it. */
static bool take(struct reader *r, char c)
{
	skip_space(r);
	if (!r->rest.len || r->rest.ptr[0] != c)
		return false;
	r->rest = view_skip(r->rest, 1);
	skip_space(r);
	return true;
}

static struct view take_while(struct reader *r, bool (*is)(char c))
{
	size_t n = 0;
	while (n < r->rest.len && is(r->rest.ptr[n]))
		n++;
	struct view taken = view_head(r->rest, n);
	r->rest = view_skip(r->rest, n);
	return taken;
}

static bool take_metric(struct reader *r, struct view name)
{
	double value;
	struct view text = take_while(r, is_number_char);
	if (!name.len || r->out->n == METRICS_MAX || !text.len || !parse_double(text, &value) ||
	    !(value >= 0 && value <= 1e15))
		return false;
	for (unsigned i = 0; i < r->out->n; i++)
		if (view_eq(r->names[i], name))
			return false;
	r->names[r->out->n++] = name;
	if (view_eq(name, VIEW("named_metrics.rif")) || view_eq(name, VIEW("rif")))
		r->out->rif = value;
	return true;
}

static bool read_text(struct reader *r)
{
	do {
		skip_space(r);
		struct view name = take_while(r, is_name_char);
		if ((!take(r, '=') && !take(r, ':')) || !take_metric(r, name))
			return false;
	} while (take(r, ','));
	return r->rest.len == 0;
}

/* Of nested objects only the inner names count: named_metrics: {rif: 7} is rif. */
static bool read_object(struct reader *r, unsigned depth)
{
	if (depth == DEPTH_MAX || !take(r, '{'))
		return false;
	do {
		if (!take(r, '"'))
			return depth == 0 && r->out->n == 0 && take(r, '}');
		struct view name = take_while(r, is_name_char);
		if (!take(r, '"') || !take(r, ':'))
			return false;
		bool nested = r->rest.len && r->rest.ptr[0] == '{';
		if (!(nested ? read_object(r, depth + 1) : take_metric(r, name)))
			return false;
	} while (take(r, ','));
	return take(r, '}');
}

bool orca_parse(struct view value, struct orca *out)
{
	struct reader r = {.rest = view_trim(value), .out = out};
	*out = (struct orca){.rif = -1};
	if (r.rest.len == 0 || r.rest.len > ORCA_MAX)
		return false;
	if (view_starts(r.rest, VIEW("TEXT ")))
		r.rest = view_skip(r.rest, 5);
	else if (view_starts(r.rest, VIEW("JSON ")))
		r.rest = view_skip(r.rest, 5);
	skip_space(&r);
	if (r.rest.len && r.rest.ptr[0] == '{')
		return read_object(&r, 0) && r.rest.len == 0;
	return read_text(&r);
}
