/* SPDX-License-Identifier: MIT */
/*
 * JSON Schema (draft-07) for editors.  It refuses what the loader refuses, as
 * far as a schema can: references and duplicates are the loader's alone.
 */
#include "type.h"
#include "weir/base/parse.h"
#include "weir/conf/conf.h"

void schema_type(struct json *j, const char *name)
{
	json_member_text(j, "type", name);
}

void schema_pattern(struct json *j, const char *pattern)
{
	schema_type(j, "string");
	json_member_text(j, "pattern", pattern);
}

void schema_words(struct json *j, const char *words)
{
	struct view word;
	json_key(j, "enum");
	json_array_begin(j);
	while (row_next_word(&words, &word))
		json_view(j, word);
	json_array_end(j);
}

static bool is_in_schema(const struct row *row)
{
	return row_is_supported(row) || row->words;
}

static void put_required(struct json *j, const struct row *parent)
{
	bool any = false;
	for (const struct row *r = row_first(parent); r; r = row_next(r)) {
		if (!(r->flags & ROW_REQUIRED))
			continue;
		if (!any) {
			json_key(j, "required");
			json_array_begin(j);
		}
		any = true;
		json_view(j, row_key(r));
	}
	if (any)
		json_array_end(j);
}

/* Exactly one of the actions. */
static void put_one_of(struct json *j, const struct row *parent)
{
	bool any = false;
	for (const struct row *r = row_first(parent); r; r = row_next(r)) {
		if (!r->is_action)
			continue;
		if (!any) {
			json_key(j, "oneOf");
			json_array_begin(j);
		}
		any = true;
		json_object_begin(j);
		json_key(j, "required");
		json_array_begin(j);
		json_view(j, row_key(r));
		json_array_end(j);
		json_object_end(j);
	}
	if (any)
		json_array_end(j);
}

static void put_default(struct json *j, const struct row *row)
{
	struct view text = view_str(row->def), word;
	json_key(j, "default");
	if (view_starts(text, VIEW("["))) {
		struct view rest = view_of(text.ptr + 1, text.len - 2);
		json_array_begin(j);
		while (view_next_token(&rest, &word))
			json_view(j, word);
		json_array_end(j);
	} else if (row->type->is_plain && !view_eq(text, VIEW("auto"))) {
		json_raw(j, text);
	} else {
		json_view(j, text);
	}
}

void schema_keys(struct json *j, const struct row *parent)
{
	schema_type(j, "object");
	json_member_bool(j, "additionalProperties", false);
	put_required(j, parent);
	put_one_of(j, parent);
	json_key(j, "properties");
	json_object_begin(j);
	for (const struct row *r = row_first(parent); r; r = row_next(r)) {
		if (!is_in_schema(r))
			continue;
		json_key_view(j, row_key(r));
		json_object_begin(j);
		json_member_text(j, "description", r->help);
		r->type->schema(j, r);
		if (r->def)
			put_default(j, r);
		json_object_end(j);
	}
	json_object_end(j);
}

void conf_schema(struct str *out)
{
	struct json j;
	json_init(&j, out, true);
	json_object_begin(&j);
	json_member_text(&j, "$schema", "http://json-schema.org/draft-07/schema#");
	json_member_text(&j, "title", "weir configuration, version " WEIR_VERSION);
	schema_keys(&j, NULL);
	json_object_end(&j);
}
