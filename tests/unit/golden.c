/* SPDX-License-Identifier: MIT */
#include "golden.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- JSON ---- */

static bool is_any(const char *key, const char *const *any)
{
	for (; key && *any; any++)
		if (strcmp(key, *any) == 0)
			return true;
	return false;
}

static bool is_flat(const json_t *value)
{
	const char *key;
	json_t *each;
	size_t i;
	json_array_foreach(value, i,
			   each) if (json_is_array(each) || json_is_object(each)) return false;
	json_object_foreach((json_t *)value, key, each)
	{
		if (json_is_array(each) || json_is_object(each))
			return false;
	}
	return true;
}

static void put(struct str *out, const json_t *value, const char *const *any, unsigned depth);

/* What is before each of a container that is not flat, and in it. */
static void put_each(struct str *out, const char *key, const json_t *value, const char *const *any,
		     unsigned depth, bool flat)
{
	if (!flat)
		str_printf(out, "\n%*s", (int)depth, "");
	if (key)
		str_printf(out, "%s: ", key);
	if (is_any(key, any) && !json_is_null(value))
		str_text(out, "...");
	else
		put(out, value, any, depth);
	if (flat)
		str_text(out, ", ");
}

static void put(struct str *out, const json_t *value, const char *const *any, unsigned depth)
{
	const char *key;
	json_t *each;
	size_t i;
	bool flat = is_flat(value);
	if (json_is_array(value) || json_is_object(value)) {
		str_text(out, json_is_array(value) ? "[" : "{");
		json_array_foreach(value, i, each) put_each(out, NULL, each, any, depth + 1, flat);
		json_object_foreach((json_t *)value, key, each)
		    put_each(out, key, each, any, depth + 1, flat);
		if (flat && out->ptr[out->len - 1] == ' ')
			out->len -= 2;
		str_text(out, json_is_array(value) ? "]" : "}");
		return;
	}
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
	str_text(out, text);
	free(text);
}

void golden_json(struct str *out, struct view json, const char *const *any)
{
	json_error_t error;
	json_t *root = json_loadb(json.ptr, json.len, JSON_REJECT_DUPLICATES, &error);
	cr_assert(root, "%s: %.*s", error.text, (int)json.len, json.ptr);
	put(out, root, any, 0);
	str_text(out, "\n");
	json_decref(root);
}

/* ---- files ---- */

static struct view line_of(struct view *text)
{
	ptrdiff_t end = view_chr(*text, '\n');
	struct view line = view_head(*text, end < 0 ? text->len : (size_t)end);
	*text = view_skip(*text, line.len + (end >= 0));
	return line;
}

void golden_check(const char *file, const struct str *text)
{
	char path[512], bytes[4096];
	const char *asked = getenv("WEIR_GOLDEN");
	bool writes = asked && strcmp(asked, "write") == 0;
	struct str wanted = STR_INIT;
	snprintf(path, sizeof(path), "%s/tests/unit/%s", WEIR_SOURCE_DIR, file);
	FILE *f = fopen(path, writes ? "we" : "re");
	cr_assert(f, "%s is missing", path);
	if (writes)
		fwrite(text->ptr, 1, text->len, f);
	for (size_t n; !writes && (n = fread(bytes, 1, sizeof(bytes), f)) > 0;)
		str_put(&wanted, bytes, n);
	fclose(f);
	struct view is = str_as_view(text), was = str_as_view(&wanted);
	for (unsigned number = 1; !writes && (is.len || was.len); number++) {
		struct view now = line_of(&is), then = line_of(&was);
		cr_assert(view_eq(now, then),
			  "%s:%u:\n  is       %.*s\n  and not  %.*s\n"
			  "  (WEIR_GOLDEN=write writes it anew)",
			  file, number, (int)now.len, now.ptr, (int)then.len, then.ptr);
	}
	str_fini(&wanted);
}
