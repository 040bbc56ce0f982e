/* SPDX-License-Identifier: MIT */
/*
 * A time that is either written, or a quantile of what is measured: `50ms` or
 * `p95`.  The duration goes to the member, the quantile (0..1) to the second
 * one; the other of the two is 0.
 */
#include "type.h"
#include "weir/base/parse.h"

static double *quantile_of(const struct row *row, void *base)
{
	return (double *)(void *)((char *)base + row->aux);
}

static void delay_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	uint64_t us, percent;
	if (!want_scalar(d, row, node))
		return;
	struct view text = node->text;
	bool is_quantile = view_starts(text, VIEW("p")) && parse_u64(view_skip(text, 1), &percent);
	if (is_quantile && percent >= 50 && percent <= 99) {
		member_store(row, base, 0);
		*quantile_of(row, base) = (double)percent / 100;
	} else if (is_quantile || !parse_duration_us(text, &us)) {
		decode_error(d, node,
			     "'" VIEW_FMT "' is neither a duration such as 50ms nor p50 "
			     "to p99",
			     VIEW_ARG(text));
	} else if (want_range(d, row, node, us)) {
		member_store(row, base, us);
		*quantile_of(row, base) = 0;
	}
}

static struct node *delay_encode(struct encoder *e, const struct row *row, const void *base)
{
	char room[32];
	struct str text = str_fixed(room, sizeof(room));
	double quantile = *(const double *)(const void *)((const char *)base + row->aux);
	if (quantile > 0)
		str_printf(&text, "p%.0f", quantile * 100);
	else
		format_duration_us(&text, member_load(row, base));
	return node_printf(e->arena, NODE_TEXT, "%s", room);
}

static void delay_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, "^(p[5-9][0-9]|[0-9]+(\\.[0-9]+)?(us|ms|s|m|h|d))$");
}

const struct conf_type conf_type_delay = {
    .syntax = "a duration such as 50ms, or p50 to p99",
    .decode = delay_decode,
    .encode = delay_encode,
    .schema = delay_schema,
    .bound = format_duration_us,
};
