/* SPDX-License-Identifier: MIT */
/* The nodes that share. */
#include "api.h"
#include "commands.h"
#include "table.h"
#include "text.h"

#include "weir/base/defs.h"

static void put_others(struct ctl *ctl, const json_t *others)
{
	static const struct column columns[] = {{"NODE", LEFT},       {"STATUS", LEFT},
						{"VERSION", LEFT},    {"HEARD", RIGHT},
						{"IN FLIGHT", RIGHT}, {"RATE", RIGHT}};
	struct table t;
	size_t i;
	json_t *row;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(others, i, row)
	{
		put_clean(table_cell(&t), get_text(row, "node"));
		put_clean(table_cell(&t),
			  has_member(row, "status") ? get_text(row, "status") : "-");
		put_clean(table_cell(&t), get_text(row, "version"));
		str_printf(table_cell(&t), "%.1f s ago", get_real(row, "age_s"));
		str_printf(table_cell(&t), "%.1f", get_real(row, "in_flight"));
		put_rate(table_cell(&t), get_real(row, "rate"));
	}
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void print_nodes(struct ctl *ctl, const json_t *answer)
{
	const json_t *others = json_object_get(answer, "others");
	if (!get_bool(answer, "on")) {
		str_text(&ctl->out, "this weir shares with nobody: 'shared' is not configured\n");
		return;
	}
	str_text(&ctl->out, "this is ");
	put_clean(&ctl->out, get_text(answer, "node"));
	str_text(&ctl->out,
		 get_bool(answer, "connected") ? ", connected to " : ", NOT connected to ");
	put_clean(&ctl->out, get_text(answer, "redis"));
	if (has_member(answer, "error")) {
		str_text(&ctl->out, ": ");
		put_clean(&ctl->out, get_text(answer, "error"));
	}
	str_char(&ctl->out, '\n');
	if (json_array_size(others))
		put_others(ctl, others);
	else
		str_text(&ctl->out, "no other node was heard of within 5 s\n");
}

enum ctl_exit cmd_nodes(struct ctl *ctl)
{
	return api_show(ctl, "/v1/nodes", print_nodes);
}
