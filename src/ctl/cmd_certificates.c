/* SPDX-License-Identifier: MIT */
/* weirctl certificates. */
#include "api.h"
#include "commands.h"
#include "table.h"
#include "text.h"

#include <string.h>

#include "weir/base/defs.h"

#define SOON_S (21 * 86400)

static void put_names(struct str *out, const json_t *names)
{
	size_t i;
	json_t *name;
	json_array_foreach(names, i, name)
	{
		str_text(out, i ? " " : "");
		put_clean(out, json_string_value(name));
	}
}

/* Its order says whether that is late. */
static bool renews_itself(const json_t *answer, const json_t *c)
{
	size_t i;
	json_t *site;
	json_array_foreach(json_object_get(answer, "acme"), i,
			   site) if (strcmp(get_text(site, "file"), get_text(c, "file")) ==
				     0) return true;
	return false;
}

static void certificate_row(struct table *t, const json_t *all, const json_t *c)
{
	uint64_t left = get_u64(c, "expires_in_s");
	struct str *cell;
	put_names(table_cell(t), json_object_get(c, "names"));
	put_clean(table_cell(t), get_text(c, "listener"));
	put_clean(table_cell(t), get_text(c, "key_type"));
	bool soon = left < SOON_S && !renews_itself(all, c);
	cell = table_cell_in(t, !left ? RED : soon ? YELLOW : PLAIN);
	if (left)
		put_age_s(cell, left);
	else
		str_text(cell, "expired");
	put_clean(table_cell(t), get_text(c, "ocsp"));
	put_clean(table_cell(t), get_text(c, "issuer"));
	put_clean(table_cell(t), get_text(c, "file"));
}

/* ---- those that come by themselves ---- */

static void put_next(struct table *t, const json_t *site)
{
	const char *step = get_text(site, "step");
	struct str *cell = table_cell(t);
	if (*step) {
		put_clean(cell, step);
		return;
	}
	str_text(cell, "in ");
	put_age_s(cell, get_u64(site, "next_order_in_s"));
}

static void site_row(struct table *t, const json_t *site)
{
	bool trusted = json_is_true(json_object_get(site, "trusted"));
	const char *error = get_text(site, "error");
	put_names(table_cell(t), json_object_get(site, "names"));
	str_text(table_cell_in(t, trusted ? PLAIN : RED), trusted ? "authority" : "weir itself");
	put_next(t, site);
	str_printf(table_cell(t), "%llu", (unsigned long long)get_u64(site, "orders"));
	str_printf(table_cell_in(t, *error ? YELLOW : PLAIN), "%llu",
		   (unsigned long long)get_u64(site, "failed"));
	put_clean(table_cell(t), *error ? error : "-");
}

static void print_sites(struct ctl *ctl, const json_t *rows)
{
	static const struct column columns[] = {{"ACME", LEFT},    {"SIGNED BY", LEFT},
						{"ORDER", LEFT},   {"ORDERS", RIGHT},
						{"FAILED", RIGHT}, {"LAST ERROR", LEFT}};
	struct table t;
	size_t i;
	json_t *site;
	if (json_array_size(rows) == 0)
		return;
	str_char(&ctl->out, '\n');
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(rows, i, site) site_row(&t, site);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void print_certificates(struct ctl *ctl, const json_t *answer)
{
	static const struct column columns[] = {
	    {"NAMES", LEFT}, {"LISTENER", LEFT}, {"KEY", LEFT}, {"LEFT", RIGHT},
	    {"OCSP", LEFT},  {"ISSUER", LEFT},   {"FILE", LEFT}};
	const json_t *rows = json_object_get(answer, "certificates");
	struct table t;
	size_t i;
	json_t *c;
	if (json_array_size(rows) == 0) {
		str_text(&ctl->out, "no listener has certificates\n");
		return;
	}
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(rows, i, c) certificate_row(&t, answer, c);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
	print_sites(ctl, json_object_get(answer, "acme"));
}

enum ctl_exit cmd_certificates(struct ctl *ctl)
{
	return api_show(ctl, "/v1/certificates", print_certificates);
}
