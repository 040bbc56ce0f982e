/* SPDX-License-Identifier: MIT */
/* Sources of members: last answer, error, and each member with its cause. */
#include "api.h"
#include "client.h"
#include "commands.h"
#include "table.h"
#include "text.h"

#include <string.h>

#include "weir/base/defs.h"

static void put_since(struct str *cell, const json_t *row, const char *key, const char *otherwise)
{
	if (has_member(row, key))
		put_age_s(cell, get_u64(row, key));
	else
		str_text(cell, otherwise);
}

static void put_sources(struct ctl *ctl, const json_t *sources)
{
	static const struct column columns[] = {
	    {"POOL", LEFT},    {"KIND", LEFT},  {"SOURCE", LEFT},   {"MEMBERS", RIGHT},
	    {"ANSWER", RIGHT}, {"NEXT", RIGHT}, {"CHANGES", RIGHT}, {"ERROR", LEFT}};
	struct table t;
	size_t i;
	json_t *row;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(sources, i, row)
	{
		put_clean(table_cell(&t), get_text(row, "pool"));
		put_clean(table_cell(&t), get_text(row, "kind"));
		put_clean(table_cell(&t), get_text(row, "source"));
		str_printf(table_cell(&t), "%zu", json_array_size(json_object_get(row, "members")));
		put_since(table_cell(&t), row, "answer_age_s", "never");
		put_since(table_cell(&t), row, "next_s", "watching");
		str_printf(table_cell(&t), "%llu", (unsigned long long)get_u64(row, "changes"));
		put_clean(table_cell(&t), has_member(row, "error") ? get_text(row, "error") : "");
	}
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void put_member(struct table *t, const json_t *source, const json_t *m)
{
	struct str *cell = table_cell(t);
	put_clean(cell, get_text(source, "pool"));
	str_char(cell, '/');
	put_clean(cell, get_text(m, "name"));
	put_clean(table_cell(t), get_text(m, "state"));
	put_clean(table_cell(t), get_text(m, "address"));
	str_printf(table_cell(t), "%u", (unsigned)get_u64(m, "weight"));
	str_printf(table_cell(t), "%u", (unsigned)get_u64(m, "priority"));
	put_since(table_cell(t), m, "age_s", "");
	cell = table_cell(t);
	put_clean(cell, get_text(source, "kind"));
	str_text(cell, ": ");
	put_clean(cell, get_text(m, "cause"));
}

static void put_members(struct ctl *ctl, const json_t *sources)
{
	static const struct column columns[] = {
	    {"MEMBER", LEFT},    {"STATE", LEFT},  {"ADDRESS", LEFT}, {"WEIGHT", RIGHT},
	    {"PRIORITY", RIGHT}, {"SINCE", RIGHT}, {"CAUSE", LEFT},
	};
	struct table t;
	size_t i, k;
	json_t *row, *m;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(sources, i, row)
	{
		json_array_foreach(json_object_get(row, "members"), k, m) put_member(&t, row, m);
	}
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void print_sources(struct ctl *ctl, const json_t *answer)
{
	const json_t *sources = json_object_get(answer, "sources");
	if (!json_array_size(sources)) {
		str_text(&ctl->out, "all backends are written in the configuration\n");
		return;
	}
	put_sources(ctl, sources);
	str_char(&ctl->out, '\n');
	put_members(ctl, sources);
}

enum ctl_exit cmd_sources(struct ctl *ctl)
{
	return api_show(ctl, "/v1/sources", print_sources);
}
