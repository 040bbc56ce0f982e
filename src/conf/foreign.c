/* SPDX-License-Identifier: MIT */
/* Who comes from another balancer is told what the key is here (foreign_keys.def). */
#include "foreign.h"

#include "weir/base/defs.h"

static const struct {
	struct view key;
	const char *clause;
} rows[] = {
#define FOREIGN(key, clause) {VIEW(key), clause},
#include "weir/tbl/foreign_keys.def"
#undef FOREIGN
};

const char *foreign_key(struct view key)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (view_eq(rows[i].key, key))
			return rows[i].clause;
	return NULL;
}
