/* SPDX-License-Identifier: MIT */
/* What was most likely meant by a value where a map or a list is due (short_forms.def). */
#include "short_form.h"

#include <string.h>

#include "weir/base/defs.h"

#define SHOWN_MAX 100 /* a longer value helps nobody to see what is meant */

static const struct {
	const char *path;
	char begins;
	const char *form;
} rows[] = {
#define SHORT_FORM(path, begins, form) {path, begins, form},
#include "weir/tbl/short_forms.def"
#undef SHORT_FORM
};

static bool is_one_of(struct view value, const struct view *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (view_eq(value, words[i]))
			return true;
	return false;
}

static bool is_yes(struct view value)
{
	static const struct view words[] = {VIEW("on"), VIEW("true"), VIEW("yes"), VIEW("enabled"),
					    VIEW("auto")};
	return is_one_of(value, words, ARRAY_LEN(words));
}

static bool is_no(struct view value)
{
	static const struct view words[] = {VIEW("off"), VIEW("false"), VIEW("no"), VIEW("none"),
					    VIEW("disabled")};
	return is_one_of(value, words, ARRAY_LEN(words));
}

static bool fits(char begins, struct view value)
{
	char first = value.ptr[0];
	switch (begins) {
	case '/':
		return first == '/';
	case '9':
		return char_is_digit(first);
	case 'y':
		return is_yes(value);
	case 's':
		return view_eq(value, VIEW("https"));
	default:
		return !is_yes(value) && !is_no(value);
	}
}

/* It stands in the form as it is, between quotes or not. */
static bool can_be_shown(struct view value)
{
	if (!value.len || value.len > SHOWN_MAX)
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] <= ' ' || strchr("\"\\{}[],#&*!|>'%@`\177", value.ptr[i]))
			return false;
	return true;
}

const char *short_form_hint(struct arena *arena, const char *path, struct view value)
{
	if (!can_be_shown(value))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].path, path) != 0 || !fits(rows[i].begins, value))
			continue;
		const char *form = rows[i].form, *at = strchr(form, '@');
		if (!at)
			return arena_printf(arena, "did you mean '%s'?", form);
		return arena_printf(arena, "did you mean '%.*s" VIEW_FMT "%s'?", (int)(at - form),
				    form, VIEW_ARG(value), at + 1);
	}
	return NULL;
}
