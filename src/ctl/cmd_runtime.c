/* SPDX-License-Identifier: MIT */
/* What was changed at run time: showing it, and taking it back. */
#include "api.h"
#include "backend.h"
#include "client.h"
#include "commands.h"
#include "stamp.h"
#include "table.h"
#include "text.h"
#include "undo.h"

#include <string.h>

#include "weir/base/defs.h"

static void put_part(struct str *out, const char *text)
{
	str_text(out, out->len ? ", " : "");
	str_text(out, text);
}

/* "added at 10.0.0.9:80, weight 5, drain" */
static void put_what(struct str *cell, const json_t *row)
{
	struct str out = STR_INIT;
	const json_t *added = json_object_get(row, "added");
	if (json_is_object(added)) {
		put_part(&out, "added at ");
		put_clean(&out, get_text(added, "address"));
	}
	if (get_bool(row, "removed"))
		put_part(&out, "removed");
	if (get_bool(row, "leaving"))
		put_part(&out, "going when its last request is done");
	if (has_member(row, "weight"))
		str_printf(&out, "%sweight %u", out.len ? ", " : "",
			   (unsigned)get_u64(row, "weight"));
	if (has_member(row, "state")) {
		put_part(&out, "");
		put_clean(&out, get_text(row, "state"));
	}
	str_view(cell, str_as_view(&out));
	str_fini(&out);
}

static void put_changes(struct ctl *ctl, const json_t *changes)
{
	static const struct column columns[] = {{"BACKEND", LEFT}, {"CHANGE", LEFT}, {"AT", LEFT}};
	struct table t;
	size_t i;
	json_t *row;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(changes, i, row)
	{
		struct str *cell = table_cell(&t);
		put_clean(cell, get_text(row, "pool"));
		str_char(cell, '/');
		put_clean(cell, get_text(row, "backend"));
		put_what(table_cell(&t), row);
		put_stamp(table_cell(&t), json_object_get(row, "at"));
	}
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void print_runtime(struct ctl *ctl, const json_t *answer)
{
	const json_t *changes = json_object_get(answer, "changes");
	if (json_array_size(changes))
		put_changes(ctl, changes);
	else
		str_text(&ctl->out, "nothing was changed at run time: all is as configured\n");
}

enum ctl_exit cmd_runtime(struct ctl *ctl)
{
	return api_show(ctl, "/v1/runtime", print_runtime);
}

/* ---- reset ---- */

static void undo_addition(struct ctl *ctl, const json_t *row)
{
	const json_t *added = json_object_get(row, "added");
	const char *address = get_text(added, "address"), *name = get_text(row, "backend");
	if (!json_is_object(added))
		return;
	undo_begin(ctl, "add");
	put_shell_word(&ctl->out, get_text(row, "pool"));
	str_char(&ctl->out, ' ');
	put_shell_word(&ctl->out, address);
	if (strcmp(name, address) != 0) {
		str_text(&ctl->out, " --name ");
		put_shell_word(&ctl->out, name);
	}
	if (get_u64(added, "weight") != 1)
		str_printf(&ctl->out, " --weight %u", (unsigned)get_u64(added, "weight"));
	str_char(&ctl->out, '\n');
}

static void undo_place_of(struct ctl *ctl, const char *command, const json_t *row)
{
	undo_begin(ctl, command);
	undo_place(ctl, get_text(row, "pool"), get_text(row, "backend"));
}

static void put_undo(struct ctl *ctl, const json_t *row)
{
	undo_addition(ctl, row);
	if (has_member(row, "weight")) {
		undo_place_of(ctl, "weight", row);
		str_printf(&ctl->out, " %u\n", (unsigned)get_u64(row, "weight"));
	}
	if (has_member(row, "state")) {
		undo_place_of(ctl, get_text(row, "state"), row);
		str_char(&ctl->out, '\n');
	}
	if (get_bool(row, "removed") || get_bool(row, "leaving")) {
		undo_place_of(ctl, "remove", row);
		str_char(&ctl->out, '\n');
	}
}

static void print_reset(struct ctl *ctl, const json_t *answer)
{
	const json_t *changes = json_object_get(answer, "changes");
	size_t i;
	json_t *row;
	if (!json_array_size(changes)) {
		str_text(&ctl->out, "nothing was changed at run time: all is as configured\n");
		return;
	}
	str_text(&ctl->out, "taken back:\n");
	put_changes(ctl, changes);
	json_array_foreach(changes, i, row) put_undo(ctl, row);
}

enum ctl_exit cmd_reset(struct ctl *ctl)
{
	struct backend_ref ref = {.pool = ""};
	struct str path = STR_INIT;
	json_t *answer = NULL;
	enum ctl_exit code = CTL_OK;
	if (ctl->n_args)
		code = backend_ref_parse(ctl, ctl->args[0], false, &ref);
	if (code != CTL_OK)
		return code;
	str_text(&path, "/v1/runtime");
	if (ctl->n_args) {
		str_char(&path, '/');
		client_escape(&path, ref.pool);
	}
	if (ref.backend) {
		str_char(&path, '/');
		client_escape(&path, ref.backend);
	}
	code = api_send(ctl, "DELETE", path.ptr, NULL, &answer);
	str_fini(&path);
	if (code != CTL_OK)
		return code;
	if (ctl->json)
		api_put_json(ctl, answer);
	else
		print_reset(ctl, answer);
	json_decref(answer);
	return CTL_OK;
}
