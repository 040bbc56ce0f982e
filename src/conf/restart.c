/* SPDX-License-Identifier: MIT */
/* Which keys take effect at the next start only. */
#include "type.h"
#include "weir/conf/conf.h"

/* Both dumped: what looks the same is the same. */
static bool differs(const struct row *row, const struct conf *now, const struct conf *next)
{
	struct encoder e = {.arena = arena_new(), .conf = now};
	const struct node *a = row->type->encode(&e, row, now);
	e.conf = next;
	const struct node *b = row->type->encode(&e, row, next);
	bool same = a && b ? view_eq(a->text, b->text) : a == b;
	arena_free(e.arena);
	return !same;
}

bool conf_needs_restart(const struct conf *now, const struct conf *next, struct str *out)
{
	bool any = false;
	for (size_t i = 0; i < row_count(); i++) {
		const struct row *row = row_at(i);
		if (!(row->flags & ROW_RESTART) || !differs(row, now, next))
			continue;
		str_printf(out, "%s%s", any ? ", " : "", row->path);
		any = true;
	}
	return any;
}
