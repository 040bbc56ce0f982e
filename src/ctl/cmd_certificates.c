/* SPDX-License-Identifier: MIT */
/* weirctl certificates. */
#include "api.h"
#include "commands.h"
#include "table.h"
#include "text.h"

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

static void certificate_row(struct table *t, const json_t *c)
{
	uint64_t left = get_u64(c, "expires_in_s");
	struct str *cell;
	put_names(table_cell(t), json_object_get(c, "names"));
	put_clean(table_cell(t), get_text(c, "listener"));
	put_clean(table_cell(t), get_text(c, "key_type"));
	cell = table_cell_in(t, !left ? RED : left < SOON_S ? YELLOW : PLAIN);
	if (left)
		put_age_s(cell, left);
	else
		str_text(cell, "expired");
	put_clean(table_cell(t), get_text(c, "ocsp"));
	put_clean(table_cell(t), get_text(c, "issuer"));
	put_clean(table_cell(t), get_text(c, "file"));
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
	json_array_foreach(rows, i, c) certificate_row(&t, c);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

enum ctl_exit cmd_certificates(struct ctl *ctl)
{
	return api_show(ctl, "/v1/certificates", print_certificates);
}
