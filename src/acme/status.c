/* SPDX-License-Identifier: MIT */
/* What the API tells of certificates. */
#include "own.h"

#include "weir/base/clock.h"

static struct view joined(const struct conf_views *names, struct arena *arena)
{
	struct str all = STR_INIT;
	for (size_t i = 0; i < names->n; i++)
		str_printf(&all, "%s" VIEW_FMT, i ? " " : "", VIEW_ARG(names->rows[i]));
	struct view v = arena_view(arena, str_as_view(&all));
	str_fini(&all);
	return v;
}

static void fill(const struct acme *acme, const struct site *s, struct arena *arena,
		 struct acme_site *out)
{
	struct str step = STR_INIT;
	bool under_way = acme->ordering == s;
	if (under_way)
		order_words(&acme->order, &step);
	else if (acme->conf && !acme->turn.mine && acme_due_in(acme, s) == 0)
		str_text(&step, "waiting for its turn among the nodes that share");
	*out = (struct acme_site){
	    .names = joined(&s->names, arena),
	    .file = arena_view(arena, s->path),
	    .step = arena_view(arena, str_as_view(&step)),
	    .order = arena_view(arena, under_way ? str_as_view(&acme->order.url) : VIEW("")),
	    .error = arena_view(arena, str_as_view(&s->error)),
	    .trusted = s->trusted,
	    .saved = s->trusted && !s->unsaved,
	    .next_wall_us = clock_wall_us() + acme_due_in(acme, s),
	    .n_orders = s->n_orders,
	    .n_failed = s->n_failed,
	    .failures = s->failures,
	};
	str_fini(&step);
}

const struct acme_site *acme_status(const struct acme *acme, struct arena *arena, size_t *n)
{
	*n = 0;
	list_each (it, &acme->sites)
		++*n;
	struct acme_site *rows = arena_array(arena, *n, sizeof(*rows)), *row = rows;
	list_each (it, &acme->sites)
		fill(acme, list_entry(it, struct site, link), arena, row++);
	return rows;
}
