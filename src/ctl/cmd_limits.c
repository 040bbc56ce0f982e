/* SPDX-License-Identifier: MIT */
/* weirctl limits. */
#include "api.h"
#include "commands.h"
#include "stamp.h"
#include "table.h"
#include "text.h"

#include "weir/base/defs.h"

static void put_limits(struct ctl *ctl, const json_t *limits)
{
	static const struct column columns[] = {
	    {"ROUTE", LEFT},   {"KEY", LEFT},      {"RATE", RIGHT}, {"BURST", RIGHT},
	    {"PASSED", RIGHT}, {"REFUSED", RIGHT}, {"STATUS", LEFT}};
	struct table t;
	size_t i;
	json_t *row;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(limits, i, row)
	{
		bool dry = get_bool(row, "dry_run");
		uint64_t refused = get_u64(row, "refused");
		put_clean(table_cell(&t), get_text(row, "route"));
		put_clean(table_cell(&t), get_text(row, "key"));
		put_clean(table_cell(&t), get_text(row, "rate"));
		str_u64(table_cell(&t), get_u64(row, "burst"));
		str_u64(table_cell(&t), get_u64(row, "passed"));
		str_u64(table_cell_in(&t, refused ? YELLOW : PLAIN), refused);
		if (dry)
			str_text(table_cell(&t), "dry run");
		else
			str_u64(table_cell(&t), get_u64(row, "status"));
	}
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void put_offenders(struct table *t, const json_t *limit)
{
	const json_t *offenders = json_object_get(limit, "offenders");
	size_t i;
	json_t *row;
	json_array_foreach(offenders, i, row)
	{
		put_clean(table_cell(t), get_text(row, "key"));
		put_clean(table_cell(t), get_text(limit, "route"));
		put_clean(table_cell(t), get_text(limit, "key"));
		str_u64(table_cell(t), get_u64(row, "refused"));
		put_stamp(table_cell(t), json_object_get(row, "last"));
	}
}

static void print_limits(struct ctl *ctl, const json_t *answer)
{
	static const struct column columns[] = {{"REFUSED MOST", LEFT},
						{"ROUTE", LEFT},
						{"KEY", LEFT},
						{"REFUSED", RIGHT},
						{"LAST", LEFT}};
	const json_t *limits = json_object_get(answer, "limits");
	struct table t;
	size_t i, n = 0;
	json_t *row;
	if (json_array_size(limits) == 0) {
		str_text(&ctl->out, "no route has a rate_limit\n");
		return;
	}
	put_limits(ctl, limits);
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(limits, i, row)
	{
		n += json_array_size(json_object_get(row, "offenders"));
		put_offenders(&t, row);
	}
	if (n) {
		str_char(&ctl->out, '\n');
		table_print(&t, &ctl->out, ctl->colour);
	}
	table_fini(&t);
}

enum ctl_exit cmd_limits(struct ctl *ctl)
{
	return api_show(ctl, "/v1/limits", print_limits);
}
