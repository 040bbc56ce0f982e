/* SPDX-License-Identifier: MIT */
/*
 * Who comes from another balancer is told what the key, or the strategy, is here
 * (foreign_keys.def, foreign_strategies.def); who guesses a key, what it is called
 * (other_names.def).
 */
#include "foreign.h"

#include <string.h>

#include "weir/base/defs.h"

static const struct {
	struct view key;
	const char *clause;
} keys[] = {
#define FOREIGN(key, clause) {VIEW(key), clause},
#include "weir/tbl/foreign_keys.def"
#undef FOREIGN
};

const char *foreign_key(struct view key)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (view_eq(keys[i].key, key))
			return keys[i].clause;
	return NULL;
}

static const struct {
	const char *parent;
	struct view key;
	const char *here;
} names[] = {
#define OTHER_NAME(parent, key, here) {parent, VIEW(key), here},
#include "weir/tbl/other_names.def"
#undef OTHER_NAME
};

/* "listeners[]" are the elements of the row "listeners", "pools.*" those of "pools". */
static bool is_parent(const char *written, const char *row)
{
	size_t n = strlen(row);
	const char *rest = strncmp(written, row, n) == 0 ? written + n : "?";
	return !*rest || strcmp(rest, "[]") == 0 || strcmp(rest, ".*") == 0;
}

const char *foreign_name(const char *parent, struct view key)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (is_parent(names[i].parent, parent) && view_eq(names[i].key, key))
			return names[i].here;
	return NULL;
}

static const struct {
	struct view word;
	const char *here;
} strategies[] = {
#define FOREIGN_STRATEGY(word, here) {VIEW(word), here},
#include "weir/tbl/foreign_strategies.def"
#undef FOREIGN_STRATEGY
};

/* LEAST_CONN, "ip hash" and hdr(Host) are meant as least-conn, ip-hash and hdr. */
static bool means(struct view written, struct view word)
{
	ptrdiff_t bracket = view_chr(written, '(');
	if (bracket >= 0)
		written.len = (size_t)bracket;
	if (written.len != word.len)
		return false;
	for (size_t i = 0; i < word.len; i++) {
		char c = char_lower(written.ptr[i]);
		if ((c == '_' || c == ' ' ? '-' : c) != word.ptr[i])
			return false;
	}
	return true;
}

const char *foreign_strategy(struct view word)
{
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++)
		if (means(word, strategies[i].word))
			return strategies[i].here;
	return NULL;
}
