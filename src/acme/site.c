/* SPDX-License-Identifier: MIT */
/* One certificate: what is served of it, and what its folder holds. */
#include "site.h"

#include <limits.h>
#include <stdio.h>

#include "disk.h"
#include "notes.h"
#include "renew.h"

#include "weir/base/clock.h"
#include "weir/base/log.h"

#define AGAIN_MAX_US (7 * UINT64_C(86400000000))

struct site *site_new(const char *folder, const struct conf_views *names)
{
	struct arena *arena = arena_new();
	struct site *s = arena_zalloc(arena, sizeof(*s));
	s->arena = arena;
	s->names.rows = arena_array(arena, names->n, sizeof(*s->names.rows));
	s->names.n = names->n;
	for (size_t i = 0; i < names->n; i++) {
		char *text = arena_strdup(arena, names->rows[i].ptr);
		for (char *c = text; *c; c++)
			*c = char_lower(*c);
		s->names.rows[i] = view_str(text);
	}
	s->file = arena_printf(arena, "%.*s.pem", NAME_MAX - 16, s->names.rows[0].ptr);
	s->path = view_str(arena_printf(arena, "%s/%s", folder, s->file));
	s->pem = s->error = STR_INIT;
	return s;
}

void site_free(struct site *s)
{
	x509_forget(&s->pem);
	str_fini(&s->error);
	arena_free(s->arena);
}

bool site_load(struct site *s, const char *folder, bool says)
{
	struct str pem = STR_INIT, why = STR_INIT;
	bool ok = disk_read(folder, s->file, &pem);
	if (ok && !x509_facts(str_as_view(&pem), &s->names, &s->facts, &why)) {
		if (says)
			log_warn("acme: " VIEW_FMT " is left out: %s", VIEW_ARG(s->path), why.ptr);
		ok = false;
	}
	s->trusted = ok;
	if (ok)
		s->pem = pem;
	else
		x509_forget(&pem);
	str_fini(&why);
	return ok;
}

void site_begin_anew(struct site *s, const struct conf_acme *conf)
{
	s->of_this = s->trusted && notes_is_from(str_as_view(&s->pem), conf->directory.text);
	s->failures = 0;
	s->retry_us = s->told_us = s->ask_us = 0;
	s->start_s = s->end_s = 0;
}

/* What a clock that was wrong has written is not kept to for longer than an authority may ask. */
void site_remember(struct site *s, const char *folder, struct view directory)
{
	char next[NAME_MAX + 1];
	struct str text = STR_INIT;
	struct notes notes;
	disk_next(s->file, next);
	if (disk_read(folder, next, &text) && notes_read(str_as_view(&text), directory, &notes) &&
	    notes.failures) {
		uint64_t after = site_in_us((int64_t)notes.again_s);
		s->failures = notes.failures;
		s->retry_us = clock_us() + (after < AGAIN_MAX_US ? after : AGAIN_MAX_US);
		str_text(&s->error, "the last order failed, before this start");
	}
	x509_forget(&text);
}

void site_renewed(struct site *s)
{
	s->trusted = s->of_this = true;
	s->failures = 0;
	s->retry_us = s->told_us = s->ask_us = 0;
	s->start_s = s->end_s = 0;
	str_reset(&s->error);
}

uint64_t site_in_us(int64_t wall_s)
{
	uint64_t now = clock_wall_us(), then = wall_s > 0 ? (uint64_t)wall_s * 1000000 : 0;
	return then > now ? then - now : 0;
}

int64_t site_renewal(const struct site *s)
{
	const struct x509_facts *f = &s->facts;
	if (!s->start_s)
		return renew_at(f->not_before_s, f->not_after_s, f->hash);
	return renew_in_window(s->start_s, s->end_s, f->not_before_s, f->not_after_s, f->hash);
}
