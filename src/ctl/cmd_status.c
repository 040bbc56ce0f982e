/* SPDX-License-Identifier: MIT */
/* weirctl status: the daemon at a glance, problems first. */
#include "api.h"
#include "commands.h"
#include "stamp.h"
#include "table.h"
#include "text.h"

#include "weir/base/defs.h"

static void put_problems(struct ctl *ctl, const json_t *problems)
{
	size_t i;
	json_t *problem;
	json_array_foreach(problems, i, problem)
	{
		const char *text = json_string_value(problem);
		put_coloured(&ctl->out, ctl->colour, RED, "problem", 7);
		str_text(&ctl->out, "   ");
		put_clean(&ctl->out, text ? text : "?");
		str_char(&ctl->out, '\n');
	}
}

static void put_last_reload(struct ctl *ctl, const json_t *reload)
{
	struct str *out = &ctl->out;
	str_text(out, "reload    ");
	if (!has_member(reload, "at")) {
		str_text(out, "none since start\n");
		return;
	}
	bool ok = get_bool(reload, "ok");
	put_coloured(out, ctl->colour && !ok, RED, ok ? "ok" : "failed", ok ? 2 : 6);
	str_text(out, " at ");
	put_stamp(out, json_object_get(reload, "at"));
	if (*get_text(reload, "error")) {
		str_text(out, ": ");
		put_clean_lines(out, get_text(reload, "error"));
	}
	str_char(out, '\n');
}

static void put_totals(struct str *out, const json_t *totals)
{
	str_printf(out, "requests  %llu, errors %llu, in flight %llu\n",
		   (unsigned long long)get_u64(totals, "requests"),
		   (unsigned long long)get_u64(totals, "errors"),
		   (unsigned long long)get_u64(totals, "in_flight"));
	str_printf(out, "clients   %llu connected, %llu accepted\n",
		   (unsigned long long)get_u64(totals, "connections"),
		   (unsigned long long)get_u64(totals, "accepted"));
	str_text(out, "traffic   ");
	put_bytes(out, get_u64(totals, "bytes_in"));
	str_text(out, " in, ");
	put_bytes(out, get_u64(totals, "bytes_out"));
	str_text(out, " out\n");
}

/* After a hand-over, while the old process drains. */
static void put_before(struct str *out, const json_t *before)
{
	if (json_is_object(before))
		str_printf(out, "before    process %llu drains: in flight %llu, %llu connected\n",
			   (unsigned long long)get_u64(before, "pid"),
			   (unsigned long long)get_u64(before, "in_flight"),
			   (unsigned long long)get_u64(before, "connections"));
}

static void put_listeners(struct ctl *ctl, const json_t *listeners)
{
	static const struct column columns[] = {{"LISTENER", LEFT},
						{"BIND", LEFT},
						{"CONNECTED", RIGHT},
						{"ACCEPTED", RIGHT},
						{"REFUSED", RIGHT}};
	struct table t;
	size_t i;
	json_t *l;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(listeners, i, l)
	{
		uint64_t refused = get_u64(l, "refused");
		put_clean(table_cell(&t), get_text(l, "name"));
		put_clean(table_cell(&t), get_text(l, "bind"));
		str_u64(table_cell(&t), get_u64(l, "connections"));
		str_u64(table_cell(&t), get_u64(l, "accepted"));
		str_u64(table_cell_in(&t, refused ? YELLOW : PLAIN), refused);
	}
	str_char(&ctl->out, '\n');
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void put_workers(struct ctl *ctl, const json_t *workers)
{
	static const struct column columns[] = {
	    {"WORKER", RIGHT}, {"CONNECTED", RIGHT}, {"EXCHANGES", RIGHT}, {"LOOP LAG", RIGHT}};
	struct table t;
	size_t i;
	json_t *w;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(workers, i, w)
	{
		str_u64(table_cell(&t), get_u64(w, "id"));
		str_u64(table_cell(&t), get_u64(w, "connections"));
		str_u64(table_cell(&t), get_u64(w, "exchanges"));
		put_duration_us(table_cell(&t), get_u64(w, "loop_lag_us"));
	}
	str_char(&ctl->out, '\n');
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void print_status(struct ctl *ctl, const json_t *status)
{
	struct str *out = &ctl->out;
	str_text(out, "weir      ");
	put_clean(out, get_text(status, "version"));
	str_printf(out, ", pid %llu, up ", (unsigned long long)get_u64(status, "pid"));
	put_age_s(out, get_u64(status, "uptime_s"));
	str_printf(out, ", generation %llu\n", (unsigned long long)get_u64(status, "generation"));
	put_problems(ctl, json_object_get(status, "problems"));
	put_last_reload(ctl, json_object_get(status, "last_reload"));
	put_totals(out, json_object_get(status, "totals"));
	put_before(out, json_object_get(status, "before"));
	put_listeners(ctl, json_object_get(status, "listeners"));
	put_workers(ctl, json_object_get(status, "workers"));
}

enum ctl_exit cmd_status(struct ctl *ctl)
{
	return api_show(ctl, "/v1/status", print_status);
}
