/* SPDX-License-Identifier: MIT */
/* weirctl mirror. */
#include "api.h"
#include "commands.h"
#include "stamp.h"
#include "table.h"
#include "text.h"

#include <string.h>

#include "weir/base/defs.h"

/* ---- what became of the copies ---- */

static uint64_t dropped(const json_t *counters)
{
	const char *name;
	json_t *n;
	uint64_t sum = 0;
	json_object_foreach((json_t *)counters, name, n)
	{
		if (strncmp(name, "dropped_", 8) == 0)
			sum += get_u64(counters, name);
	}
	return sum;
}

static void put_share(struct str *out, double share)
{
	str_printf(out, share > 0 && share < 0.0995 ? "%.1f %%" : "%.0f %%", share * 100);
}

static void put_copies(struct ctl *ctl, const json_t *mirrors)
{
	static const struct column columns[] = {
	    {"ROUTE", LEFT},     {"TO", LEFT},      {"SHARE", RIGHT},   {"DRAWN", RIGHT},
	    {"ANSWERED", RIGHT}, {"FAILED", RIGHT}, {"DROPPED", RIGHT}, {"IN FLIGHT", RIGHT}};
	struct table t;
	size_t i;
	json_t *m;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(mirrors, i, m)
	{
		const json_t *c = json_object_get(m, "counters");
		uint64_t failed = get_u64(c, "failed") + get_u64(c, "late") + get_u64(c, "cut");
		put_clean(table_cell(&t), get_text(m, "route"));
		put_clean(table_cell(&t), get_text(m, "mirror"));
		put_share(table_cell(&t), get_real(m, "share"));
		str_u64(table_cell(&t), get_u64(c, "drawn"));
		str_u64(table_cell(&t), get_u64(c, "answered"));
		str_u64(table_cell_in(&t, failed ? YELLOW : PLAIN), failed);
		str_u64(table_cell_in(&t, dropped(c) ? YELLOW : PLAIN), dropped(c));
		str_u64(table_cell(&t), get_u64(m, "in_flight"));
	}
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

/* ---- how their answers compare ---- */

static void put_differ(struct ctl *ctl, const char *what, const json_t *share)
{
	struct str *out = &ctl->out;
	uint64_t n = get_u64(share, "compared");
	if (!json_is_object(share))
		return;
	str_printf(out, "  %-8s ", what);
	if (!n) {
		str_text(out, "nothing compared yet\n");
		return;
	}
	str_printf(out, "differs in %llu of %llu: ", (unsigned long long)get_u64(share, "differ"),
		   (unsigned long long)n);
	put_share(out, get_real(share, "share"));
	str_text(out, " (");
	put_share(out, get_real(share, "low"));
	str_text(out, " to ");
	put_share(out, get_real(share, "high"));
	str_text(out, ")\n");
}

static void put_quantile(struct str *out, const char *name, const json_t *q)
{
	str_printf(out, "  %s ", name);
	put_duration_us(out, (uint64_t)get_real(q, "value"));
	str_text(out, " (");
	put_duration_us(out, (uint64_t)get_real(q, "low"));
	str_text(out, " to ");
	put_duration_us(out, (uint64_t)get_real(q, "high"));
	str_char(out, ')');
}

static void put_latency(struct ctl *ctl, const json_t *latency)
{
	static const char *const sides[] = {"original", "copy"};
	if (!json_is_object(latency))
		return;
	str_text(&ctl->out, "  latency  ");
	put_clean(&ctl->out, get_text(latency, "sentence"));
	str_char(&ctl->out, '\n');
	for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
		const json_t *side = json_object_get(latency, sides[i]);
		if (!json_is_object(side))
			continue;
		str_printf(&ctl->out, "    %-8s", sides[i]);
		put_quantile(&ctl->out, "p50", json_object_get(side, "p50_us"));
		put_quantile(&ctl->out, "p95", json_object_get(side, "p95_us"));
		str_char(&ctl->out, '\n');
	}
}

static bool compares(const json_t *m)
{
	return has_member(m, "status") || has_member(m, "body") || has_member(m, "latency");
}

static void put_compared(struct ctl *ctl, const json_t *m)
{
	struct str *out = &ctl->out;
	if (!compares(m))
		return;
	str_text(out, "\nroute ");
	put_clean(out, get_text(m, "route"));
	str_text(out, " against ");
	put_clean(out, get_text(m, "mirror"));
	str_text(out, " since ");
	put_stamp(out, json_object_get(m, "since"));
	str_char(out, '\n');
	put_differ(ctl, "status", json_object_get(m, "status"));
	put_differ(ctl, "body", json_object_get(m, "body"));
	put_latency(ctl, json_object_get(m, "latency"));
}

/* ---- examples ---- */

static uint64_t at(const json_t *pair, size_t i)
{
	return (uint64_t)json_integer_value(json_array_get(pair, i));
}

static void put_pair(struct str *out, const json_t *pair)
{
	str_u64(out, at(pair, 0));
	if (at(pair, 0) != at(pair, 1)) {
		str_char(out, '/');
		str_u64(out, at(pair, 1));
	}
}

static void put_examples(struct ctl *ctl, const json_t *mirrors)
{
	static const struct column columns[] = {{"DIFFERED", LEFT}, {"ROUTE", LEFT},
						{"STATUS", LEFT},   {"BYTES", LEFT},
						{"AT", LEFT},       {"TARGET", LEFT}};
	struct table t;
	size_t i, k;
	json_t *m, *e;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(mirrors, i, m)
	{
		json_array_foreach(json_object_get(m, "examples"), k, e)
		{
			put_clean(table_cell(&t), get_text(e, "request_id"));
			put_clean(table_cell(&t), get_text(m, "route"));
			put_pair(table_cell(&t), json_object_get(e, "status"));
			put_pair(table_cell(&t), json_object_get(e, "bytes"));
			put_stamp(table_cell(&t), json_object_get(e, "at"));
			put_clean(table_cell(&t), get_text(e, "target"));
		}
	}
	if (t.n_cells) {
		str_char(&ctl->out, '\n');
		table_print(&t, &ctl->out, ctl->colour);
	}
	table_fini(&t);
}

static void print_mirrors(struct ctl *ctl, const json_t *answer)
{
	const json_t *mirrors = json_object_get(answer, "mirrors");
	size_t i;
	json_t *m;
	if (json_array_size(mirrors) == 0) {
		str_text(&ctl->out, "no route has a mirror\n");
		return;
	}
	put_copies(ctl, mirrors);
	json_array_foreach(mirrors, i, m) put_compared(ctl, m);
	put_examples(ctl, mirrors);
}

enum ctl_exit cmd_mirror(struct ctl *ctl)
{
	return api_show(ctl, "/v1/mirror", print_mirrors);
}
