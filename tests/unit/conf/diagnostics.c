/* SPDX-License-Identifier: MIT */
/*
 * Every mistake gets its place and its sentence, all of them in one run.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "weir/conf/conf.h"

static struct conf *load(const char *yaml, struct conf_diags *diags)
{
	conf_diags_init(diags);
	return conf_load_text(view_str(yaml), "/etc/weir/weir.yaml", diags);
}

Test(conf_diagnostics, each_mistake_has_its_place_and_sentence)
{
	for (size_t i = 0; i < n_mistakes; i++) {
		const struct mistake *m = &mistakes[i];
		struct conf_diags diags;
		cr_expect(load(m->yaml, &diags) == NULL, "case %zu loads: %s", i, m->yaml);
		cr_assert(diags.n > 0, "case %zu says nothing: %s", i, m->yaml);
		const struct conf_diag *d = &diags.rows[0];
		char said[512];
		snprintf(said, sizeof(said), "%s%s%s", d->message, d->hint ? " " : "",
			 d->hint ? d->hint : "");
		cr_expect(d->severity == CONF_ERROR, "case %zu: a warning comes first", i);
		cr_expect(d->line == m->line && d->column == m->column,
			  "case %zu is placed at %u:%u instead of %u:%u: %s\n%s", i, d->line,
			  d->column, m->line, m->column, said, m->yaml);
		cr_expect(strstr(said, m->fragment) != NULL, "case %zu says '%s', not '%s'", i,
			  said, m->fragment);
		conf_diags_fini(&diags);
	}
}

/* A single mistake makes a single error; a few cases hold more on purpose. */
Test(conf_diagnostics, one_mistake_is_one_error)
{
	size_t n_more = 0;
	for (size_t i = 0; i < n_mistakes; i++) {
		struct conf_diags diags;
		load(mistakes[i].yaml, &diags);
		n_more += diags.n_errors != 1;
		cr_expect(diags.n_errors == 1 || strstr(mistakes[i].yaml, "a8: 1"),
			  "case %zu: %zu errors: %s", i, diags.n_errors, mistakes[i].yaml);
		conf_diags_fini(&diags);
	}
	cr_assert_eq(n_more, 1);
}

Test(conf_diagnostics, duplicates_are_found_among_many_keys)
{
	struct conf_diags diags;
	cr_assert_null(load("a1: 1\na2: 1\na3: 1\na4: 1\na5: 1\na6: 1\na7: 1\na8: 1\na9: 1\n"
			    "a10: 1\na10: 2\na3: 2\n",
			    &diags));
	struct str text = STR_INIT;
	conf_diags_format(&diags, &text, false);
	cr_assert(strstr(text.ptr, ":11:1: error: duplicate key 'a10' (first at line 10)"));
	cr_assert(strstr(text.ptr, ":12:1: error: duplicate key 'a3' (first at line 3)"));
	str_fini(&text);
	conf_diags_fini(&diags);
}

Test(conf_diagnostics, format_points_at_the_place)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	cr_assert_null(load("listeners: [{bind: 0.0.0.0:80}]\n"
			    "pools:\n"
			    "  app:\n"
			    "    backends:\n"
			    "      - address: 10.0.0.1:80\n"
			    "        wieght: 3\n"
			    "    balance: rondom\n",
			    &diags));
	conf_diags_format(&diags, &text, false);
	char expected[800] = "/etc/weir/weir.yaml:6:9: error: unknown key 'wieght' in "
			     "pools.app.backends[0]\n"
			     "    6 |         wieght: 3\n"
			     "      |         ^~~~~~ did you mean 'weight'?\n"
			     "/etc/weir/weir.yaml:7:14: error: 'rondom' is not one of ";
#define STRATEGY(symbol, keyword, needs, sentence) strcat(expected, keyword ", ");
#include "weir/tbl/strategies.def"
#undef STRATEGY
	strcpy(strrchr(expected, ','), "\n    7 |     balance: rondom\n"
				       "      |              ^~~~~~ did you mean 'random'?\n");
	cr_expect_str_eq(text.ptr, expected);
	str_reset(&text);
	conf_diags_format(&diags, &text, true);
	cr_expect(strstr(text.ptr, "\033[1;31merror:\033[0m "));
	str_fini(&text);
	conf_diags_fini(&diags);
}

Test(conf_diagnostics, twenty_are_kept_and_all_counted)
{
	struct conf_diags diags;
	struct str yaml = STR_INIT, text = STR_INIT;
	for (int i = 0; i < 35; i++)
		str_printf(&yaml, "k%d: 1\n", i);
	cr_assert_null(load(yaml.ptr, &diags));
	cr_assert_eq(diags.n_errors, 37); /* two keys are missing besides */
	cr_assert_eq(diags.n, 20);
	conf_diags_format(&diags, &text, false);
	cr_assert(strstr(text.ptr, "37 errors, the first 20 are shown\n"));
	str_fini(&yaml);
	str_fini(&text);
	conf_diags_fini(&diags);
}

Test(conf_diagnostics, long_lines_are_cut_around_the_place)
{
	struct conf_diags diags;
	struct str yaml = STR_INIT, text = STR_INIT;
	str_text(&yaml, "{listeners: [{bind: 0.0.0.0:80}], user: \"");
	for (int i = 0; i < 5000; i++)
		str_text(&yaml, "\xc3\xa4");
	str_text(&yaml, "\", oops: 1, pools: {app: {backends: [10.0.0.1:80]}}}");
	cr_assert_null(load(yaml.ptr, &diags));
	cr_assert_eq(diags.rows[0].column, 5045);
	cr_assert(strlen(diags.rows[0].source) < 400);
	cr_assert(strncmp(diags.rows[0].source, "...", 3) == 0);
	/* the caret stands below the key: both are counted in characters */
	const char *at = strstr(diags.rows[0].source, "oops");
	unsigned column = 1;
	for (const char *p = diags.rows[0].source; p < at; p++)
		column += ((unsigned char)*p & 0xc0) != 0x80;
	cr_assert_eq(diags.rows[0].source_column, column);
	str_fini(&yaml);
	str_fini(&text);
	conf_diags_fini(&diags);
}

Test(conf_diagnostics, nothing_drives_the_terminal)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	cr_assert_null(load("\"a\\e[2J\\x9b2J\": 1\n# \x1b[2J\n", &diags));
	conf_diags_format(&diags, &text, false);
	for (size_t i = 0; i < text.len; i++)
		cr_expect(text.ptr[i] == '\n' || (unsigned char)text.ptr[i] >= 0x20);
	cr_expect_null(strstr(text.ptr, "\xc2\x9b"));
	conf_diags_fini(&diags);
	cr_assert_null(load("\"a\\e[2J\\x9b2J\": 1\n", &diags));
	str_reset(&text);
	conf_diags_format(&diags, &text, false);
	cr_expect(strstr(text.ptr, "unknown key 'a?[2J??2J'"), "%s", text.ptr);
	str_fini(&text);
	conf_diags_fini(&diags);
}

Test(conf_diagnostics, unused_routes_are_warned_about)
{
	struct conf_diags diags;
	struct conf *conf = load("listeners: [{bind: 0.0.0.0:80}]\n"
				 "pools: {app: {backends: [10.0.0.1:80]}}\n"
				 "routes:\n"
				 "  - {match: {path: /a}, pool: app}\n"
				 "  - {match: {}, pool: app}\n"
				 "  - {name: late, pool: app}\n",
				 &diags);
	cr_assert_not_null(conf);
	cr_assert_eq(diags.n, 1);
	cr_assert_eq(diags.rows[0].severity, CONF_WARNING);
	cr_assert_eq(diags.rows[0].line, 6);
	cr_assert_str_eq(diags.rows[0].message,
			 "route 'late' is never used: the route at line 5 matches every request");
	conf_free(conf);
	conf_diags_fini(&diags);
}

Test(conf_diagnostics, doubtful_values_are_warned_about)
{
	struct conf_diags diags;
	struct conf *conf = load("listeners: [{bind: 0.0.0.0:80}]\n"
				 "pools: {app: {backends: [{address: 10.0.0.1:80, weight: 0}]}}\n"
				 "routes:\n"
				 "  - {match: {method: get}, pool: app}\n",
				 &diags);
	cr_assert_not_null(conf);
	cr_assert_eq(diags.n, 2);
	cr_assert_eq(diags.n_errors, 0);
	cr_expect_str_eq(diags.rows[0].message, "no backend of pool 'app' has a weight");
	cr_expect(strstr(diags.rows[1].message, "methods are case-sensitive"));
	conf_free(conf);
	conf_diags_fini(&diags);
}

/* Of a configuration whose routes or status are `what`, in lines from 7 on. */
static void expect_misfit(const char *what, unsigned column, const char *fragment)
{
	struct conf_diags diags;
	char yaml[512];
	snprintf(yaml, sizeof(yaml),
		 "listeners: [{bind: 0.0.0.0:80}]\n"
		 "pools:\n"
		 "  app: {backends: [10.0.0.1:80]}\n"
		 "  next: {backends: [10.0.0.1:81]}\n"
		 "  pins: {backends: [10.0.0.1:82], sticky: {learn: sid}}\n"
		 "%s\n",
		 what);
	struct conf *conf = load(yaml, &diags);
	cr_assert_not_null(conf, "%s", yaml);
	cr_assert_eq(diags.n, fragment ? 1 : 0, "%zu diagnostics: %s", diags.n, yaml);
	if (fragment) {
		const struct conf_diag *d = &diags.rows[0];
		cr_expect(d->severity == CONF_WARNING && d->line == 7 && d->column == column,
			  "%u:%u: %s", d->line, d->column, yaml);
		cr_expect(strstr(d->message, fragment) != NULL, "'%s'", d->message);
	}
	conf_free(conf);
	conf_diags_fini(&diags);
}

Test(conf_diagnostics, what_does_not_go_together_is_warned_about)
{
	expect_misfit("routes:\n  - {pool: app, auth: {forward: {pool: pins}}}", 40,
		      "without 'sticky'");
	expect_misfit("status:\n  {bind: 127.0.0.1:9, auth: {forward: {pool: pins}}}\n"
		      "routes: [{pool: app}]",
		      46, "without 'sticky'");
	expect_misfit("routes:\n  - {pool: app, mirror: {pool: app}}", 32,
		      "another pool than 'app'");
	expect_misfit("routes:\n  - {split: {app: 9, next: 1}, mirror: {pool: next}}", 47,
		      "whose backends get such requests twice");
	expect_misfit("routes:\n  - {pool: app, mirror: {pool: next, share: 0%}}", 45,
		      "such as 1%");
	expect_misfit("routes:\n  - {pool: app, auth: {forward: {pool: app}},"
		      " mirror: {pool: next, share: 1%}}",
		      0, NULL);
	expect_misfit("routes:\n  - {pool: app, auth: {forward: {pool: next, copy: [X-U]}}, "
		      "rate_limit: [{key: 'header:x-u', rate: 1/s}]}",
		      74, "counted before the auth service");
	expect_misfit("routes:\n  - {pool: app, auth: {forward: {pool: next, copy: [X-U]}}, "
		      "match: {header: {x-u: a}}}",
		      77, "chosen before the auth service");
	expect_misfit("routes:\n  - {split: {app: 9, next: 0}, mirror: {pool: next}}", 0, NULL);
}

/* What is said about a route that answers 403 before one that leads to a pool. */
static void expect_way(const char *listener, const char *match, const char *way)
{
	struct conf_diags diags;
	char yaml[512];
	snprintf(yaml, sizeof(yaml),
		 "listeners: [{bind: 0.0.0.0:80%s}]\n"
		 "pools: {app: {backends: [10.0.0.1:80]}}\n"
		 "routes:\n"
		 "  - {name: open, pool: app, match: {path: /open}}\n"
		 "  - {name: deny, respond: {status: 403}, match: {%s}}\n"
		 "  - {pool: app}\n",
		 listener, match);
	struct conf *conf = load(yaml, &diags);
	cr_assert_not_null(conf, "%s", yaml);
	cr_expect_eq(diags.n, way != NULL, "%s", yaml);
	if (diags.n && way) {
		cr_expect_eq(diags.rows[0].severity, CONF_WARNING);
		cr_expect_eq(diags.rows[0].line, 5);
		cr_expect(strstr(diags.rows[0].message, "route 'deny' denies by path") != NULL);
		cr_expect(strstr(diags.rows[0].message, way), "%s: %s", yaml,
			  diags.rows[0].message);
	}
	conf_free(conf);
	conf_diags_fini(&diags);
}

Test(conf_diagnostics, routes_that_deny_by_path_may_be_passed_by)
{
	const char *strict = ", encoded_slash: refuse";
	expect_way("", "path: /1", "%2F or %5C");
	expect_way(", encoded_slash: keep", "path_regex: ^/1", "%2F or %5C");
	expect_way(strict, "path: /1", NULL);
	expect_way(strict, "path: /admin", "in another case");
	expect_way(strict, "path_exact: /1", "slash or more at the end");
	expect_way(strict, "path: /1/", "without the slash");
	expect_way(strict, "path_regex: ^/admin", "in another case");
	expect_way(strict, "path_regex: '(?i)^/admin(/|$)'", NULL);
	expect_way(strict, "path_regex: '(?i)^//admin'", "runs of slashes and dot segments");
	expect_way(strict, "path_regex: '(?i)/\\.\\./admin'", "runs of slashes and dot segments");
	expect_way("", "method: DELETE", NULL);
}

/* ---- warnings about what stands elsewhere ---- */

enum warned { NOT_LOADED, SILENT, WARNED };

static enum warned of_pins(const char *sticky, const char *rest)
{
	struct conf_diags diags;
	struct str yaml = STR_INIT, text = STR_INIT;
	str_printf(&yaml,
		   "listeners: [{bind: 127.0.0.1:80}]\n"
		   "pools: {app: {backends: [127.0.0.1:81], sticky: %s}}\n%s",
		   sticky, rest);
	struct conf *conf = load(yaml.ptr, &diags);
	conf_diags_format(&diags, &text, false);
	bool warned = text.len && strstr(text.ptr, "end with this process");
	if (conf)
		conf_free(conf);
	conf_diags_fini(&diags);
	str_fini(&yaml);
	str_fini(&text);
	return !conf ? NOT_LOADED : warned ? WARNED : SILENT;
}

/* A key that is drawn at start is kept where anything is: not in a build without SQLite. */
Test(conf_diagnostics, pins_end_with_the_process_where_no_state_is_kept)
{
	unsetenv("STATE_DIRECTORY");
	cr_expect_eq(of_pins("{cookie: pin}", ""), WARNED);
	cr_expect_eq(of_pins("{cookie: pin}", "state: off\n"), WARNED);
	cr_expect_eq(of_pins("{learn: session}", ""), SILENT);
	enum warned kept = of_pins("{cookie: pin}", "state: {directory: /tmp/weir}\n");
	cr_expect_neq(kept, WARNED);
	setenv("STATE_DIRECTORY", "/var/lib/weir", 1);
	cr_expect_eq(of_pins("{cookie: pin}", ""), kept == NOT_LOADED ? WARNED : SILENT);
	setenv("STATE_DIRECTORY", "", 1); /* which names no place */
	cr_expect_eq(of_pins("{cookie: pin}", ""), WARNED);
}
