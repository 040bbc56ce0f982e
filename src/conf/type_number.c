/* SPDX-License-Identifier: MIT */
/*
 * Numbers, with and without units.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "suggest.h"
#include "type.h"
#include "weir/base/check.h"
#include "weir/base/cpus.h"
#include "weir/base/parse.h"

void member_store(const struct row *row, void *base, uint64_t value)
{
	void *p = member_of(row, base);
	switch (row->size) {
	case 1:
		*(uint8_t *)p = (uint8_t)value;
		break;
	case 2:
		*(uint16_t *)p = (uint16_t)value;
		break;
	case 4:
		*(uint32_t *)p = (uint32_t)value;
		break;
	default:
		check(row->size == 8);
		*(uint64_t *)p = value;
	}
}

uint64_t member_load(const struct row *row, const void *base)
{
	const void *p = member_in(row, base);
	switch (row->size) {
	case 1:
		return *(const uint8_t *)p;
	case 2:
		return *(const uint16_t *)p;
	case 4:
		return *(const uint32_t *)p;
	default:
		check(row->size == 8);
		return *(const uint64_t *)p;
	}
}

bool want_scalar(struct decoder *d, const struct row *row, const struct node *node)
{
	if (node->kind == NODE_SCALAR && !node_is_null(node))
		return true;
	wrong_shape(d, row, node);
	return false;
}

static void out_of_range(struct decoder *d, const struct row *row, const struct node *node)
{
	struct str text = STR_INIT;
	row->type->bound(&text, row->min);
	str_text(&text, " to ");
	row->type->bound(&text, row->max);
	decode_error(d, node, VIEW_FMT " is out of range; '" VIEW_FMT "' goes from %s",
		     VIEW_ARG(node->text), VIEW_ARG(row_key(row)), str_as_view(&text).ptr);
	str_fini(&text);
}

bool want_range(struct decoder *d, const struct row *row, const struct node *node, uint64_t value)
{
	if (value >= row->min && value <= row->max)
		return true;
	out_of_range(d, row, node);
	return false;
}

/* ---- whole numbers ---- */

static void count_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	uint64_t n = UINT64_MAX;
	if (!want_scalar(d, row, node))
		return;
	if (!parse_u64(node->text, &n) && !parse_is_digits(node->text))
		decode_error(d, node, "'" VIEW_FMT "' is no whole number", VIEW_ARG(node->text));
	else if (want_range(d, row, node, n))
		member_store(row, base, n);
}

static struct node *count_encode(struct encoder *e, const struct row *row, const void *base)
{
	return node_printf(e->arena, NODE_NUMBER, "%llu",
			   (unsigned long long)member_load(row, base));
}

static void count_bound(struct str *out, uint64_t value)
{
	str_u64(out, value);
}

static void count_schema(struct json *j, const struct row *row)
{
	schema_type(j, "integer");
	json_member_u64(j, "minimum", row->min);
	json_member_u64(j, "maximum", row->max);
}

const struct conf_type conf_type_count = {
    .is_plain = true,
    .syntax = "a whole number",
    .decode = count_decode,
    .encode = count_encode,
    .schema = count_schema,
    .bound = count_bound,
};

/* ---- CPUs ---- */

static void count_auto_decode(struct decoder *d, const struct row *row, struct node *node,
			      void *base)
{
	if (!node_is_text(node, "auto")) {
		count_decode(d, row, node, base);
		return;
	}
	uint64_t n = cpus_usable();
	member_store(row, base, n > row->max ? row->max : n);
}

static void count_auto_schema(struct json *j, const struct row *row)
{
	json_key(j, "oneOf");
	json_array_begin(j);
	json_object_begin(j);
	json_member_text(j, "const", "auto");
	json_object_end(j);
	json_object_begin(j);
	count_schema(j, row);
	json_object_end(j);
	json_array_end(j);
}

const struct conf_type conf_type_count_auto = {
    .is_plain = true,
    .syntax = "auto or a whole number",
    .decode = count_auto_decode,
    .encode = count_encode,
    .schema = count_auto_schema,
    .bound = count_bound,
};

/* ---- true and false ---- */

static void boolean_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (!want_scalar(d, row, node))
		return;
	bool yes = node_is_text(node, "yes") || node_is_text(node, "on") ||
		   node_is_text(node, "True") || node_is_text(node, "TRUE");
	bool no = node_is_text(node, "no") || node_is_text(node, "off") ||
		  node_is_text(node, "False") || node_is_text(node, "FALSE");
	if (node_is_text(node, "true") || node_is_text(node, "false"))
		*(bool *)member_of(row, base) = node->text.len == 4;
	else
		decode_error_hint(d, node,
				  yes  ? "did you mean 'true'?"
				  : no ? "did you mean 'false'?"
				       : NULL,
				  "'" VIEW_FMT "' is neither true nor false", VIEW_ARG(node->text));
}

static struct node *boolean_encode(struct encoder *e, const struct row *row, const void *base)
{
	bool on = *(const bool *)member_in(row, base);
	return node_scalar(e->arena, NODE_TRUTH, on ? VIEW("true") : VIEW("false"));
}

static void boolean_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_type(j, "boolean");
}

const struct conf_type conf_type_boolean = {
    .is_plain = true,
    .syntax = "true or false",
    .decode = boolean_decode,
    .encode = boolean_encode,
    .schema = boolean_schema,
};

/* ---- durations and sizes ---- */

static void report_unit(struct decoder *d, const struct node *node, const char *what,
			const char *units)
{
	decode_error(d, node,
		     parse_is_digits(node->text) ? "'" VIEW_FMT "' has no unit; %s need a unit: %s"
						 : "'" VIEW_FMT
						   "' is not understood; %s need a unit: %s",
		     VIEW_ARG(node->text), what, units);
}

static void duration_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	uint64_t us;
	if (!want_scalar(d, row, node))
		return;
	if (!parse_duration_us(node->text, &us)) {
		report_unit(d, node, "durations", "250ms, 2s, 1m");
	} else if (want_range(d, row, node, us)) {
		member_store(row, base, us);
		if (row->aux)
			*((bool *)base + row->aux) = true;
	}
}

static struct node *unit_node(struct encoder *e, uint64_t value,
			      void (*format)(struct str *, uint64_t))
{
	char room[32];
	struct str text = str_fixed(room, sizeof(room));
	format(&text, value);
	return node_printf(e->arena, value ? NODE_TEXT : NODE_NUMBER, "%s", room);
}

static struct node *duration_encode(struct encoder *e, const struct row *row, const void *base)
{
	if (row->aux && !*((const bool *)base + row->aux))
		return NULL;
	return unit_node(e, member_load(row, base), format_duration_us);
}

/* With a unit, or 0 where that is in range. */
static void unit_schema(struct json *j, const struct row *row, const char *pattern)
{
	json_key(j, "anyOf");
	json_array_begin(j);
	json_object_begin(j);
	schema_pattern(j, pattern);
	json_object_end(j);
	if (row->min == 0) {
		json_object_begin(j);
		json_member_u64(j, "const", 0);
		json_object_end(j);
	}
	json_array_end(j);
}

static void duration_schema(struct json *j, const struct row *row)
{
	unit_schema(j, row, "^([0-9]+(us|ms|s|m|h|d)|0)$");
}

const struct conf_type conf_type_duration = {
    .syntax = "a duration such as 250ms, 2s or 1m",
    .decode = duration_decode,
    .encode = duration_encode,
    .schema = duration_schema,
    .bound = format_duration_us,
};

static void bytes_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	uint64_t n;
	if (!want_scalar(d, row, node))
		return;
	if (!parse_size(node->text, &n))
		report_unit(d, node, "sizes", "512B, 64KiB, 1MiB");
	else if (want_range(d, row, node, n)) {
		member_store(row, base, n);
		if (row->aux)
			*((bool *)base + row->aux) = true;
	}
}

static struct node *bytes_encode(struct encoder *e, const struct row *row, const void *base)
{
	if (row->aux && !*((const bool *)base + row->aux))
		return NULL;
	return unit_node(e, member_load(row, base), format_size);
}

static void bytes_schema(struct json *j, const struct row *row)
{
	unit_schema(j, row, "^([0-9]+([KMG]iB|[kMG]?B)|0)$");
}

const struct conf_type conf_type_bytes = {
    .syntax = "a size such as 512B, 64KiB or 1MiB",
    .decode = bytes_decode,
    .encode = bytes_encode,
    .schema = bytes_schema,
    .bound = format_size,
};

/* ---- parts of a whole ---- */

/* Digits and at most one point: no sign, no exponent. */
static bool parse_decimal(struct view v, double *out)
{
	for (size_t i = 0; i < v.len; i++)
		if (!char_is_digit(v.ptr[i]) && v.ptr[i] != '.')
			return false;
	return v.len && char_is_digit(v.ptr[0]) && parse_double(v, out);
}

/* Nine decimals at most, without zeros at the end. */
static struct node *decimal_node(struct encoder *e, enum node_style style, double x,
				 const char *unit)
{
	char text[40];
	int n = snprintf(text, sizeof(text), "%.9f", x);
	while (text[n - 1] == '0')
		n--;
	n -= text[n - 1] == '.';
	return node_printf(e->arena, style, "%.*s%s", n, text, unit);
}

static void store_part(struct decoder *d, const struct row *row, const struct node *node,
		       void *base, double x, double whole)
{
	if (x >= (double)row->min && x <= (double)row->max)
		*(double *)member_of(row, base) = x / whole;
	else
		out_of_range(d, row, node);
}

static void percent_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	double x;
	if (!want_scalar(d, row, node))
		return;
	if (!view_ends(node->text, VIEW("%")) ||
	    !parse_decimal(view_head(node->text, node->text.len - 1), &x))
		decode_error(d, node, "'" VIEW_FMT "' is no percentage such as 20%%",
			     VIEW_ARG(node->text));
	else
		store_part(d, row, node, base, x, 100);
}

static struct node *percent_encode(struct encoder *e, const struct row *row, const void *base)
{
	return decimal_node(e, NODE_TEXT, *(const double *)member_in(row, base) * 100, "%");
}

static void percent_bound(struct str *out, uint64_t value)
{
	str_printf(out, "%u%%", (unsigned)value);
}

static void percent_schema(struct json *j, const struct row *row)
{
	schema_pattern(j, row->max <= 100 ? "^([0-9]|[1-9][0-9]|100)(\\.[0-9]*)?%$"
					  : "^[0-9]{1,3}(\\.[0-9]*)?%$");
}

const struct conf_type conf_type_percent = {
    .syntax = "a percentage such as 20%",
    .decode = percent_decode,
    .encode = percent_encode,
    .schema = percent_schema,
    .bound = percent_bound,
};

static void fraction_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	double x;
	if (!want_scalar(d, row, node))
		return;
	if (!parse_decimal(node->text, &x))
		decode_error(d, node, "'" VIEW_FMT "' is no number such as 0.25",
			     VIEW_ARG(node->text));
	else
		store_part(d, row, node, base, x, 1);
}

static struct node *fraction_encode(struct encoder *e, const struct row *row, const void *base)
{
	return decimal_node(e, NODE_NUMBER, *(const double *)member_in(row, base), "");
}

static void fraction_schema(struct json *j, const struct row *row)
{
	schema_type(j, "number");
	json_member_u64(j, "minimum", row->min);
	json_member_u64(j, "maximum", row->max);
}

const struct conf_type conf_type_fraction = {
    .is_plain = true,
    .syntax = "a number such as 0.25",
    .decode = fraction_decode,
    .encode = fraction_encode,
    .schema = fraction_schema,
    .bound = count_bound,
};

/* ---- permission bits ---- */

static void mode_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	uint64_t mode = 0;
	if (!want_scalar(d, row, node))
		return;
	struct view v = node->text;
	bool ok = v.len == 3 || (v.len == 4 && v.ptr[0] == '0');
	for (size_t i = 0; i < v.len; i++) {
		ok = ok && v.ptr[i] >= '0' && v.ptr[i] <= '7';
		mode = mode << 3 | ((uint64_t)v.ptr[i] & 7);
	}
	if (ok)
		member_store(row, base, mode);
	else
		decode_error(d, node, "'" VIEW_FMT "' is no permission such as \"0660\"",
			     VIEW_ARG(v));
}

static struct node *mode_encode(struct encoder *e, const struct row *row, const void *base)
{
	return node_printf(e->arena, NODE_TEXT, "%04o", (unsigned)member_load(row, base));
}

static void mode_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, "^0?[0-7]{3}$");
}

const struct conf_type conf_type_mode = {
    .syntax = "permission bits such as \"0660\"",
    .decode = mode_decode,
    .encode = mode_encode,
    .schema = mode_schema,
};
