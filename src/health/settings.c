/* SPDX-License-Identifier: MIT */
/* Checks as the configuration wants them, compiled; whether they are the same after a reload. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "settings.h"

#include <pcre2.h>

/* A pattern that goes wild must not hold up other checks: some milliseconds. */
#define MATCH_LIMIT 500000
#define DEPTH_LIMIT 10000
#define HEAP_LIMIT_KIB 4096

static struct conf_pairs copy_pairs(struct arena *arena, const struct conf_pairs *from)
{
	struct conf_pairs to = {
	    .rows = arena_array(arena, from->n, sizeof(*from->rows)),
	    .n = from->n,
	};
	for (size_t i = 0; i < from->n; i++)
		to.rows[i] = (struct conf_pair){
		    .name = arena_view(arena, from->rows[i].name),
		    .value = arena_view(arena, from->rows[i].value),
		};
	return to;
}

static struct conf_statuses copy_statuses(struct arena *arena, const struct conf_statuses *from)
{
	struct conf_statuses to = {
	    .rows = arena_array(arena, from->n, sizeof(*from->rows)),
	    .n = from->n,
	};
	for (size_t i = 0; i < from->n; i++)
		to.rows[i] = from->rows[i];
	return to;
}

static struct view text_of_statuses(struct arena *arena, const struct conf_statuses *set)
{
	struct str text = STR_INIT;
	for (size_t i = 0; i < set->n; i++) {
		str_printf(&text, "%s%u", i ? ", " : "", set->rows[i].first);
		if (set->rows[i].last != set->rows[i].first)
			str_printf(&text, "-%u", set->rows[i].last);
	}
	struct view v = arena_view(arena, str_as_view(&text));
	str_fini(&text);
	return v;
}

static bool compile(struct health_settings *s, struct str *why)
{
	struct view pattern = s->conf.body;
	int number;
	PCRE2_SIZE offset;
	s->regex = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, PCRE2_DOTALL, &number,
				 &offset, NULL);
	if (!s->regex) {
		char text[128];
		pcre2_get_error_message(number, (PCRE2_UCHAR *)text, sizeof(text));
		str_printf(why, "'" VIEW_FMT "' at offset %zu: %s", VIEW_ARG(pattern),
			   (size_t)offset, text);
		return false;
	}
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	s->match_limits = limits;
	s->match_data = pcre2_match_data_create(1, NULL);
	if (!limits || !s->match_data) {
		str_text(why, "out of memory");
		return false;
	}
	pcre2_set_match_limit(limits, MATCH_LIMIT);
	pcre2_set_depth_limit(limits, DEPTH_LIMIT);
	pcre2_set_heap_limit(limits, HEAP_LIMIT_KIB);
	return true;
}

struct health_settings *health_settings_new(const struct conf_health *conf, struct str *why)
{
	struct arena *arena = arena_new();
	struct health_settings *s = arena_zalloc(arena, sizeof(*s));
	s->arena = arena;
	s->conf = *conf;
	s->conf.path = arena_view(arena, conf->path);
	s->conf.host = arena_view(arena, conf->host);
	s->conf.service = arena_view(arena, conf->service);
	s->conf.headers = copy_pairs(arena, &conf->headers);
	s->conf.expect = copy_statuses(arena, &conf->expect);
	s->expect = text_of_statuses(arena, &conf->expect);
	if (!conf->body.ptr)
		return s;
	s->conf.body = arena_view(arena, conf->body);
	if (compile(s, why))
		return s;
	health_settings_free(s);
	return NULL;
}

void health_settings_free(struct health_settings *s)
{
	if (!s)
		return;
	pcre2_code_free(s->regex);
	pcre2_match_data_free(s->match_data);
	pcre2_match_context_free(s->match_limits);
	arena_free(s->arena);
}

static bool same_pairs(const struct conf_pairs *a, const struct conf_pairs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!view_eq(a->rows[i].name, b->rows[i].name) ||
		    !view_eq(a->rows[i].value, b->rows[i].value))
			return false;
	return true;
}

static bool same_statuses(const struct conf_statuses *a, const struct conf_statuses *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->rows[i].first != b->rows[i].first || a->rows[i].last != b->rows[i].last)
			return false;
	return true;
}

static bool same_times(const struct conf_health *a, const struct conf_health *b)
{
	return a->interval_us == b->interval_us && a->timeout_us == b->timeout_us &&
	       a->fast_interval_us == b->fast_interval_us &&
	       a->slow_interval_us == b->slow_interval_us && a->rise == b->rise &&
	       a->fall == b->fall;
}

bool health_settings_same(const struct health_settings *s, const struct conf_health *conf)
{
	const struct conf_health *a = &s->conf;
	return a->on == conf->on && a->type == conf->type && view_eq(a->path, conf->path) &&
	       view_eq(a->host, conf->host) && view_eq(a->service, conf->service) &&
	       same_pairs(&a->headers, &conf->headers) &&
	       same_statuses(&a->expect, &conf->expect) && view_eq(a->body, conf->body) &&
	       a->port == conf->port && same_times(a, conf);
}

bool health_settings_expect(const struct health_settings *s, unsigned status)
{
	for (size_t i = 0; i < s->conf.expect.n; i++)
		if (status >= s->conf.expect.rows[i].first && status <= s->conf.expect.rows[i].last)
			return true;
	return false;
}

enum body_match health_settings_match(const struct health_settings *s, struct view body)
{
	if (!s->regex)
		return BODY_MATCHES;
	int rc = pcre2_match(s->regex, (PCRE2_SPTR)(body.ptr ? body.ptr : ""), body.len, 0, 0,
			     s->match_data, s->match_limits);
	if (rc >= 0)
		return BODY_MATCHES;
	return rc == PCRE2_ERROR_NOMATCH ? BODY_DIFFERS : BODY_UNDECIDED;
}
