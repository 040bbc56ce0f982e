/* SPDX-License-Identifier: MIT */
/*
 * Who comes from another balancer is told what the key, or the strategy, is here
 * (foreign_keys.def, foreign_strategies.def).
 */
#include "foreign.h"

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
