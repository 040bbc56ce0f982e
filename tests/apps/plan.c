/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <ctype.h>
#include <stddef.h>

#include "weir/base/parse.h"

enum plan_kind {
	DURATION,
	SIZE,
	NUMBER,
	FLAG,
	DIST,
	FRAMING,
	PLACE,
	WRONG,
	EARLY,
	EXPECT,
	N_KINDS
};

/* Words of the choices, in the order of their enum. */
static const char *const words[N_KINDS][5] = {
    [FLAG] = {"0", "1"},
    [DIST] = {"fixed", "exp", "pareto"},
    [FRAMING] = {"length", "chunked", "close"},
    [PLACE] = {"no", "before", "head", "body"},
    [WRONG] = {"no", "short", "long"},
    [EARLY] = {"no", "drain", "close", "reset"},
    [EXPECT] = {"send", "never"},
};

static const struct plan_row {
	const char *name;
	enum plan_kind kind;
	size_t offset;
	uint64_t dflt;
	const char *help;
} rows[] = {
#define PLAN(field, kind, dflt, help) {#field, kind, offsetof(struct plan, field), dflt, help},
#include "plan.def"
#undef PLAN
};

static uint64_t *row_field(struct plan *plan, const struct plan_row *row)
{
	return (uint64_t *)(void *)((char *)plan + row->offset);
}

void plan_init(struct plan *plan)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		*row_field(plan, &rows[i]) = rows[i].dflt;
}

static bool same_key(const char *name, struct view key)
{
	size_t i = 0;
	for (; i < key.len && name[i]; i++) {
		char c = key.ptr[i] == '-' ? '_' : char_lower(key.ptr[i]);
		if (c != name[i])
			return false;
	}
	return i == key.len && name[i] == '\0';
}

static bool parse_choice(enum plan_kind kind, struct view value, uint64_t *out)
{
	for (uint64_t i = 0; i < ARRAY_LEN(words[0]) && words[kind][i]; i++) {
		if (view_ieq(value, view_str(words[kind][i]))) {
			*out = i;
			return true;
		}
	}
	return false;
}

static bool parse_value(enum plan_kind kind, struct view value, uint64_t *out)
{
	switch (kind) {
	case DURATION:
		return parse_duration_us(value, out);
	case SIZE: /* a bare number is bytes here: /bytes/N and curl users like it */
		return parse_u64(value, out) || parse_size(value, out);
	case NUMBER:
		return parse_u64(value, out);
	default:
		return parse_choice(kind, value, out);
	}
}

bool plan_set(struct plan *plan, struct view key, struct view value)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (same_key(rows[i].name, key))
			return parse_value(rows[i].kind, value, row_field(plan, &rows[i]));
	return false;
}

bool plan_knows(struct view key)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (same_key(rows[i].name, key))
			return true;
	return false;
}

bool plan_set_list(struct plan *plan, struct view list)
{
	struct view pair;
	while (view_next_token(&list, &pair)) {
		ptrdiff_t eq = view_chr(pair, '=');
		if (eq < 0 ||
		    !plan_set(plan, view_head(pair, (size_t)eq), view_skip(pair, (size_t)eq + 1)))
			return false;
	}
	return true;
}

void plan_help(struct str *out)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		str_printf(out, "  %-13s %s\n", rows[i].name, rows[i].help);
}
