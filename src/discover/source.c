/* SPDX-License-Identifier: MIT */
/* What a source found, or why it did not; and when it is asked again. */
#include "source.h"

#include <stdio.h>

#include "weir/base/clock.h"

#define BACKOFF_US UINT64_C(500000)
#define BACKOFF_MAX_US UINT64_C(30000000)

void source_again(struct source *s, uint64_t after_us)
{
	after_us += after_us / 10 * (rng_next(&s->discover->rng) >> 48) / 65536;
	timer_set(&s->discover->loop->timers, &s->timer, clock_us() + after_us);
}

static void tell(struct source *s, const struct discover_news *news)
{
	struct discover *d = s->discover;
	struct discover_news all = *news;
	all.pool = s->pool_name;
	all.kind = s->kind->keyword;
	all.text = s->text;
	all.n = s->n_members;
	d->host.news(d->host.ctx, &all);
}

void source_warn(struct source *s, const char *fmt, ...)
{
	bool first = !s->error[0];
	struct str text = str_fixed(s->error, sizeof(s->error));
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	if (first)
		tell(s, &(struct discover_news){.error = s->error});
}

void source_fail(struct source *s, const char *fmt, ...)
{
	char why[sizeof(s->error)];
	struct str text = str_fixed(why, sizeof(why));
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	source_warn(s, "%s", why);
	s->n_failures++;
	s->settled = true;
	unsigned row = s->failed_row < 6 ? s->failed_row++ : s->failed_row;
	uint64_t us = BACKOFF_US << row;
	source_again(s, us < BACKOFF_MAX_US ? us : BACKOFF_MAX_US);
}

/* ---- an answer ---- */

struct change {
	size_t n_new, n_gone, n_other;
	struct view one; /* the last that is new or gone */
};

static void take_row(struct source *s, const struct found *row, struct change *change)
{
	struct member *m = member_find(s, row->backend.name);
	if (!m) {
		m = member_add(s, row);
		change->n_new++;
		change->one = m->backend.name;
	} else if (!m->named) {
		bool back = m->backend.member == CONF_MEMBER_GONE;
		change->n_other += member_update(m, row) && !back;
		change->n_new += back;
		if (back)
			change->one = m->backend.name;
	}
	m->named = true;
}

/* Those that no row names are gone. */
static void take_leave(struct source *s, struct change *change)
{
	for (size_t i = 0; i < s->n_members; i++) {
		struct member *m = s->members[i];
		if (m->named || m->backend.member == CONF_MEMBER_GONE)
			continue;
		m->backend.member = CONF_MEMBER_GONE;
		m->since_us = clock_us();
		change->n_gone++;
		change->one = m->backend.name;
	}
}

static struct change take_all(struct source *s, const struct found *rows, size_t n)
{
	struct change change = {0};
	for (size_t i = 0; i < s->n_members; i++)
		s->members[i]->named = false;
	for (size_t i = 0; i < n; i++)
		take_row(s, &rows[i], &change);
	take_leave(s, &change);
	if (!change.n_new && !change.n_gone && !change.n_other)
		return change;
	s->n_changes++;
	s->discover->host.changed(s->discover->host.ctx);
	return change;
}

static void tell_change(struct source *s, const struct change *change, bool recovered)
{
	size_t n = change->n_new + change->n_gone;
	if (n || recovered)
		tell(s, &(struct discover_news){
			    .n_new = change->n_new,
			    .n_gone = change->n_gone,
			    .recovered = recovered,
			    .member = n == 1 ? change->one : VIEW_NONE,
			});
}

void source_answer(struct source *s, const struct found *rows, size_t n, const char *missing)
{
	char many[80];
	size_t most = n < SOURCE_MEMBERS_MAX ? n : SOURCE_MEMBERS_MAX;
	bool recovered = s->error[0] && !missing && n == most;
	if (n > most) {
		snprintf(many, sizeof(many), "%zu members are named; the first %zu count", n, most);
		missing = many;
	}
	/* what is missing since the answer before is not said again */
	if (!missing || s->failed_row)
		s->error[0] = '\0';
	s->failed_row = 0;
	s->answered_us = clock_us();
	s->n_answers++;
	s->settled = true;
	struct change change = take_all(s, rows, most);
	tell_change(s, &change, recovered);
	if (missing)
		source_warn(s, "%s", missing);
}

void source_empty(struct source *s)
{
	struct change change = take_all(s, NULL, 0);
	tell_change(s, &change, false);
}
