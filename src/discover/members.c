/* SPDX-License-Identifier: MIT */
/* The members of a source, in order of their names. */
#include <stdlib.h>

#include "source.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

void member_free(struct member *m)
{
	view_disown(&m->backend.name);
	view_disown(&m->backend.address_text);
	view_disown(&m->cause);
	free(m);
}

/* Index of the first that is not before `name`. */
static size_t place_of(const struct source *s, struct view name)
{
	size_t from = 0, to = s->n_members;
	while (from < to) {
		size_t mid = (from + to) / 2;
		if (view_cmp(s->members[mid]->backend.name, name) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

struct member *member_find(const struct source *s, struct view name)
{
	size_t i = place_of(s, name);
	return i < s->n_members && view_eq(s->members[i]->backend.name, name) ? s->members[i]
									      : NULL;
}

struct member *member_add(struct source *s, const struct found *row)
{
	struct member *m = calloc(1, sizeof(*m));
	check(m != NULL);
	m->backend = row->backend;
	m->backend.name = view_own(row->backend.name);
	m->backend.address_text = view_own(row->backend.address_text);
	m->backend.srv = VIEW_NONE;
	m->cause = view_own(row->cause);
	m->since_us = clock_us();
	if (s->n_members == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->members = realloc(s->members, s->cap * sizeof(*s->members));
		check(s->members != NULL);
	}
	size_t i = place_of(s, row->backend.name);
	memmove(&s->members[i + 1], &s->members[i], (s->n_members - i) * sizeof(*s->members));
	s->members[i] = m;
	s->n_members++;
	return m;
}

static void replace(struct view *mine, struct view other)
{
	if (view_eq(*mine, other))
		return;
	view_disown(mine);
	*mine = view_own(other);
}

bool member_update(struct member *m, const struct found *row)
{
	struct conf_backend *b = &m->backend;
	bool same = view_eq(b->address_text, row->backend.address_text) &&
		    b->weight == row->backend.weight && b->priority == row->backend.priority &&
		    b->max_requests == row->backend.max_requests &&
		    b->member == row->backend.member;
	if (b->member != row->backend.member)
		m->since_us = clock_us();
	replace(&b->address_text, row->backend.address_text);
	replace(&m->cause, row->cause);
	b->address = row->backend.address;
	b->weight = row->backend.weight;
	b->priority = row->backend.priority;
	b->max_requests = row->backend.max_requests;
	b->member = row->backend.member;
	return !same;
}

size_t members_sweep(struct source *s, bool (*goes)(const struct member *m, void *ctx), void *ctx)
{
	size_t kept = 0, n = s->n_members;
	for (size_t i = 0; i < n; i++) {
		if (goes(s->members[i], ctx))
			member_free(s->members[i]);
		else
			s->members[kept++] = s->members[i];
	}
	s->n_members = kept;
	return n - kept;
}

void found_set_address(struct found *row, const struct addr *addr, struct arena *arena)
{
	char text[ADDR_TEXT_MAX];
	row->backend.address = *addr;
	row->backend.address_text = arena_view(arena, view_of(text, addr_format(addr, text)));
	row->backend.name = row->backend.address_text;
}
