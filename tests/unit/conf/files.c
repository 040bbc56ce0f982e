/* SPDX-License-Identifier: MIT */
/* Files that are put together, and values of the environment in them. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loaded.h"
#include "weir/base/defs.h"

static char folder[] = "/tmp/weir-files-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[80];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *out = fopen(path, "w");
	cr_assert(out && fputs(text, out) >= 0 && fclose(out) == 0);
}

static void begin(void)
{
	char path[80];
	cr_assert(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/conf.d", folder);
	cr_assert_eq(mkdir(path, 0700), 0);
}

static void end(void)
{
	char command[80];
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(conf_files, .init = begin, .fini = end);

/* weir.yaml; NULL with `why`. */
static struct conf *try(const char *yaml, struct str *why)
{
	struct conf_diags diags;
	char path[80];
	write_file("weir.yaml", yaml);
	snprintf(path, sizeof(path), "%s/weir.yaml", folder);
	conf_diags_init(&diags);
	struct conf *conf = conf_load(path, &diags);
	conf_diags_format(&diags, why, false);
	conf_diags_fini(&diags);
	return conf;
}

/* What is shown of it has this; NULL: there is none, for this reason. */
static void expect(const char *yaml, const char *shown, const char *why)
{
	struct str said = STR_INIT, text = STR_INIT;
	struct conf *conf = try(yaml, &said);
	cr_expect_eq(conf != NULL, shown != NULL, "%s: %s", yaml, said.ptr);
	if (conf)
		conf_show_yaml(conf, &text);
	cr_expect(!shown || !conf || strstr(text.ptr, shown), "%s: no %s in %s", yaml, shown,
		  text.ptr);
	cr_expect(!why || (said.len && strstr(said.ptr, why)), "%s: no %s in %s", yaml, why,
		  said.ptr);
	cr_expect(!said.len || !strstr(said.ptr, "swordfish"), "%s", said.ptr);
	cr_expect(!text.len || !strstr(text.ptr, "swordfish"), "%s", text.ptr);
	conf_free(conf);
	str_fini(&said);
	str_fini(&text);
}

/* ---- include ---- */

Test(conf_files, are_put_together_in_the_order_of_their_names)
{
	struct str why = STR_INIT;
	static const char *const names[] = {"first", "second", "third"};
	write_file("conf.d/20-shop.yaml", "pools: {shop: {backends: ['127.0.0.1:2']}}\n"
					  "routes: [{name: third, pool: shop}]\n");
	write_file("conf.d/10-api.yaml", "routes: [{name: second, match: {path: /b}, pool: app}]\n"
					 "log: {access: {path: stdout}}\n");
	write_file("conf.d/not-this.txt", "nonsense");
	write_file("conf.d/99-empty.yaml", "# nothing\n");
	struct conf *conf = try("include: [conf.d/*.yaml]\n" BASE "log: {level: warn}\n"
				"routes: [{name: first, match: {path: /a}, pool: app}]\n",
				&why);
	cr_assert(conf != NULL, "%s", why.ptr);
	cr_assert_eq(conf->n_pools, 2);
	cr_assert_eq(conf->n_routes, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		cr_expect(says(conf->routes[i].name, names[i]));
	cr_expect(says(conf->log.access.path, "stdout") && conf->log.level == LOG_LEVEL_WARN);
	conf_free(conf);
	str_fini(&why);
}

Test(conf_files, what_does_not_go_together_names_both_places)
{
	static const struct {
		const char *more, *why; /* NULL: it does */
	} rows[] = {
	    {"pools: {app: {backends: ['127.0.0.1:3']}}\n",
	     "more.yaml:1:9: error: 'app' is also at "},
	    {"shutdown_timeout: 3s\n", NULL},
	    {"", NULL},
	    {"workers: 3\n", "more.yaml:1:1: error: 'workers' is also at "},
	    {"include: other.yaml\n", "more.yaml:1:1: error: an included file includes no others"},
	    {"- 1\n", "an included file is a map of sections"},
	    {"a: [\n", "more.yaml:"},
	    {"routes:\n  - {pol: app}\n", "more.yaml:2:6: error: unknown key 'pol'"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		write_file("more.yaml", rows[i].more);
		expect("include: more.yaml\nworkers: 2\n" BASE, rows[i].why ? NULL : "workers: 2\n",
		       rows[i].why);
	}
	expect("include: none.yaml\n" BASE, NULL, "none.yaml: No such file or directory");
	expect("include: none*.yaml\n" BASE, "10.0.0.1:80", NULL);
}

/* ---- the environment ---- */

#define PATH_OF(text) BASE "routes: [{match: {path: \"/" text "\"}, pool: app}]\n"

Test(conf_files, values_of_the_environment)
{
	static const struct {
		const char *yaml, *shown, *why;
	} rows[] = {
	    {PATH_OF("${OPEN}"), "path: /sesame\n", NULL},
	    {PATH_OF("a${OPEN}b${OPEN}"), "path: /asesamebsesame\n", NULL},
	    {PATH_OF("${NONE:-else}"), "path: /else\n", NULL},
	    {PATH_OF("${EMPTY:-else}"), "path: /else\n", NULL},
	    {PATH_OF("${OPEN:-else}"), "path: /sesame\n", NULL},
	    {PATH_OF("a${EMPTY}b"), "path: /ab\n", NULL},
	    {PATH_OF("$${OPEN}"), "/$${OPEN}", NULL},
	    {PATH_OF("${lower-case}"), "/$${lower-case}", NULL},
	    {PATH_OF("${1}"), "/$${1}", NULL},
	    {PATH_OF("${OPEN"), "/$${OPEN", NULL},
	    {PATH_OF("${NONE}"), NULL, "${NONE}: the environment has neither it nor a file"},
	    {PATH_OF("${BAD}"), NULL, "${BAD}: its value is no UTF-8, or has control characters"},
	    {PATH_OF("${BELL}"), NULL, "${BELL}: its value is no UTF-8, or has control characters"},
	    {PATH_OF("${secret:FISH}"), "path: \"/***\"", NULL},
	    {PATH_OF("a${secret:FISH}b"), "\"/a***b\"", NULL},
	    {PATH_OF("${IN}"), "path: \"/***\"", NULL},
	    {PATH_OF("${LOST}"), NULL, "${LOST}: "},
	    {BASE "log: {level: \"${secret:FISH}\"}\n", NULL, "***"},
	};
	char path[80];
	write_file("fish", "swordfish\r\n\n");
	setenv("OPEN", "sesame", 1);
	setenv("EMPTY", "", 1);
	unsetenv("NONE");
	unsetenv("NONE_FILE");
	setenv("BAD", "\xff", 1);
	setenv("BELL", "\a", 1);
	setenv("FISH", "swordfish", 1);
	unsetenv("IN");
	snprintf(path, sizeof(path), "%s/fish", folder);
	setenv("IN_FILE", path, 1);
	setenv("LOST_FILE", "/nowhere/at/all", 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(rows[i].yaml, rows[i].shown, rows[i].why);
}
