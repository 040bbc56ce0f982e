/* SPDX-License-Identifier: MIT */
/* weirctl explain: where a request would go. */
#include "api.h"
#include "backend.h"
#include "commands.h"
#include "text.h"

#include <stdio.h>

#include "weir/base/defs.h"
#include "weir/base/view.h"

static enum ctl_exit put_header(struct ctl *ctl, json_t *headers, const char *header)
{
	struct view v = view_str(header);
	ptrdiff_t colon = view_chr(v, ':');
	if (colon <= 0)
		return ctl_fail(ctl, CTL_USAGE, "-H takes 'NAME: VALUE', not \"%s\"", header);
	struct view name = view_trim(view_head(v, (size_t)colon)),
		    value = view_trim(view_skip(v, (size_t)colon + 1));
	json_t *pair = json_pack("[o,o]", json_stringn(name.ptr, name.len),
				 json_stringn(value.ptr, value.len));
	return json_array_append_new(headers, pair)
		   ? ctl_fail(ctl, CTL_USAGE, "header \"%s\" is not UTF-8", header)
		   : CTL_OK;
}

/* "listener  web" and the like: members that are plain values, in the API's order. */
static void put_members(struct str *out, const json_t *answer)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)answer, key, value)
	{
		char text[64] = "";
		if (json_is_integer(value))
			snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
		else if (json_is_boolean(value))
			snprintf(text, sizeof(text), "%s", json_is_true(value) ? "yes" : "no");
		else if (!json_is_string(value))
			continue;
		size_t len = strlen(key);
		put_clean(out, key);
		str_printf(out, "%*s", (int)(len < 10 ? 11 - len : 1), "");
		put_clean(out, json_is_string(value) ? json_string_value(value) : text);
		str_char(out, '\n');
	}
}

/* Routes before the one that matches. */
static void put_passed(struct str *out, const json_t *passed)
{
	size_t i;
	json_t *row;
	json_array_foreach((json_t *)passed, i, row)
	{
		str_text(out, "passed     ");
		put_clean(out, get_text(row, "route"));
		str_text(out, ": ");
		put_clean(out, get_text(row, "why"));
		str_char(out, '\n');
	}
}

static void print_explanation(struct ctl *ctl, const json_t *answer)
{
	static const struct column columns[] = {
	    {"BACKEND", LEFT}, {"STATE", LEFT}, {"CANDIDATE", LEFT}, {"WHY", LEFT}};
	const json_t *backends = json_object_get(answer, "backends");
	struct table t;
	size_t i;
	json_t *b;
	put_members(&ctl->out, answer);
	put_passed(&ctl->out, json_object_get(answer, "passed"));
	if (json_array_size(backends) == 0)
		return;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(backends, i, b)
	{
		const char *state = get_text(b, "state");
		bool candidate = get_bool(b, "candidate");
		put_clean(table_cell(&t), get_text(b, "name"));
		put_clean(table_cell_in(&t, state_colour(state)), state);
		str_text(table_cell_in(&t, candidate ? GREEN : YELLOW), candidate ? "yes" : "no");
		put_clean(table_cell(&t), get_text(b, "why"));
	}
	str_char(&ctl->out, '\n');
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

enum ctl_exit cmd_explain(struct ctl *ctl)
{
	json_t *headers = json_array(), *answer;
	for (size_t i = 0; i < ctl->n_headers; i++) {
		enum ctl_exit code = put_header(ctl, headers, ctl->headers[i]);
		if (code != CTL_OK) {
			json_decref(headers);
			return code;
		}
	}
	const char *method = ctl->n_args > 1 ? ctl->args[0] : "GET";
	json_t *body =
	    json_pack("{s:s, s:s, s:o, s:s*}", "method", method, "url", ctl->args[ctl->n_args - 1],
		      "headers", headers, "client", ctl->client);
	if (!body)
		return ctl_fail(ctl, CTL_USAGE, "the request is not UTF-8");
	enum ctl_exit code = api_send(ctl, "POST", "/v1/explain", body, &answer);
	if (code != CTL_OK)
		return code;
	if (ctl->json)
		api_put_json(ctl, answer);
	else
		print_explanation(ctl, answer);
	json_decref(answer);
	return CTL_OK;
}
