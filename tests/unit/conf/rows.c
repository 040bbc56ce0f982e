/* SPDX-License-Identifier: MIT */
/*
 * The table itself, and what is generated out of it.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cases.h"
#include "conf/row.h"
#include "conf/suggest.h"
#include "conf/type.h"
#include "weir/conf/conf.h"

Test(conf_rows, are_complete_sentences)
{
	for (size_t i = 0; i < row_count(); i++) {
		const struct row *r = row_at(i);
		cr_expect(strlen(r->help) > 3 && r->help[strlen(r->help) - 1] == '.',
			  "%s: '%s' is no sentence: more than 3 characters, and a full stop",
			  r->path, r->help);
		cr_expect(r->min <= r->max, "%s", r->path);
		cr_expect(r->type->syntax != NULL, "%s", r->path);
	}
}

Test(conf_rows, form_a_tree)
{
	size_t seen = 0, n_top = 0;
	for (size_t i = 0; i < row_count(); i++) {
		size_t n = 0;
		for (const struct row *c = row_first(row_at(i)); c; c = row_next(c), n++)
			cr_assert(row_parent(c) == row_at(i));
		cr_assert(n <= ROW_CHILDREN_MAX, "%s", row_at(i)->path);
		seen += n;
		for (size_t j = i + 1; j < row_count(); j++)
			cr_assert(strcmp(row_at(i)->path, row_at(j)->path) != 0,
				  "%s is there twice", row_at(i)->path);
	}
	for (const struct row *r = row_first(NULL); r; r = row_next(r))
		n_top++;
	cr_assert_eq(seen + n_top, row_count());
}

/* A member of the wrong struct would write past its element. */
Test(conf_rows, write_into_the_struct_of_their_element)
{
	for (size_t i = 0; i < row_count(); i++) {
		const struct row *r = row_at(i);
		size_t expected = sizeof(struct conf);
		if (strncmp(r->path, "listeners[].", 12) == 0)
			expected = sizeof(struct conf_listener);
		if (strncmp(r->path, "listeners[].tls.certificates[].", 31) == 0)
			expected = sizeof(struct conf_certificate);
		if (strncmp(r->path, "routes[].", 9) == 0)
			expected = sizeof(struct conf_route);
		if (strstr(r->path, ".errors.*."))
			expected = sizeof(struct conf_error_page);
		if (strncmp(r->path, "routes[].rate_limit[].", 22) == 0)
			expected = sizeof(struct conf_rate_limit);
		if (strncmp(r->path, "pools.*.", 8) == 0)
			expected = sizeof(struct conf_pool);
		if (strncmp(r->path, "pools.*.backends[].", 19) == 0)
			expected = sizeof(struct conf_backend);
		if (r->element_size)
			cr_expect_eq(r->element_size, expected, "%s", r->path);
		/* conf_needs_restart compares single values of the whole file */
		if (r->flags & ROW_RESTART)
			cr_expect(expected == sizeof(struct conf) && !row_first(r), "%s", r->path);
		cr_expect(r->offset + r->size <= expected, "%s", r->path);
	}
}

Test(conf_suggest, counts_edits)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} cases[] = {
	    {"weight", "weight", 0}, {"wieght", "weight", 1},
	    {"wight", "weight", 1},  {"weightt", "weight", 1},
	    {"veight", "weight", 1}, {"wegiht", "weight", 1},
	    {"wihgt", "weight", 2},  {"height", "weigth", 2},
	    {"abc", "xyz", 3},       {"", "ab", 2},
	    {"", "abc", 3},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect_eq(suggest_distance(view_str(cases[i].a), view_str(cases[i].b), 2),
			     cases[i].distance, "%s %s", cases[i].a, cases[i].b);
}

Test(conf_suggest, keeps_the_nearest_and_nothing_far)
{
	struct suggest s;
	suggest_init(&s, VIEW("ap"));
	suggest_words(&s, "api-next|app|apps");
	cr_assert_str_eq(suggest_hint(&s), "did you mean 'app'?");
	suggest_init(&s, VIEW("x"));
	suggest_words(&s, "on|ab");
	cr_assert_null(suggest_hint(&s));
}

/* What is said of another balancer's strategy begins with one that there is. */
Test(conf_suggest, strategies_of_others_are_ours)
{
	static const char *const here[] = {
#define FOREIGN_STRATEGY(word, here) here,
#include "weir/tbl/foreign_strategies.def"
#undef FOREIGN_STRATEGY
	};
	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
		bool found = false;
#define STRATEGY(symbol, keyword, needs, sentence)                  \
	found |= strncmp(here[i], keyword, strlen(keyword)) == 0 && \
		 strchr(",;", here[i][strlen(keyword)]) != NULL;
#include "weir/tbl/strategies.def"
#undef STRATEGY
		cr_expect(found, "%s", here[i]);
	}
}

static bool is_known(const char *parent, const char *key, size_t len)
{
	char path[128];
	snprintf(path, sizeof(path), "%s.%.*s", parent, (int)len, key);
	return row_find(path) != NULL;
}

/* What a guessed key is called here is a key there, and the guess is none. */
Test(conf_suggest, guessed_names_are_called_otherwise_here)
{
	static const char *const names[][3] = {
#define OTHER_NAME(parent, key, here) {parent, key, here},
#include "weir/tbl/other_names.def"
#undef OTHER_NAME
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *const *n = names[i];
		cr_expect(is_known(n[0], n[2], strcspn(n[2], ":")), "%s.%s", n[0], n[2]);
		cr_expect_not(is_known(n[0], n[1], strlen(n[1])), "%s.%s", n[0], n[1]);
	}
}

static bool says(const char *yaml, const char *hint)
{
	struct conf_diags diags;
	struct str said = STR_INIT;
	conf_diags_init(&diags);
	conf_free(conf_load_text(view_str(yaml), "weir.yaml", &diags));
	conf_diags_format(&diags, &said, false);
	bool found = said.ptr && strstr(said.ptr, hint);
	cr_expect(found, "%s: %s", hint, said.ptr ? said.ptr : "");
	conf_diags_fini(&diags);
	str_fini(&said);
	return found;
}

Test(conf_suggest, guessed_names_are_said)
{
	cr_expect(
	    says("listeners: [{address: 0.0.0.0:80}]\npools: {a: {check: {path: /}, backends: "
		 "[{url: x}]}}\nroutes: [{prefix: /x, pool: a}]\n",
		 "did you mean 'bind'?"));
	cr_expect(says("pools: {a: {check: {path: /}}}\n", "did you mean 'health'?"));
	cr_expect(says("pools: {a: {backends: [{url: x}]}}\n", "did you mean 'address'?"));
	cr_expect(says("routes: [{prefix: /x, pool: a}]\n", "did you mean 'match: {path: /}'?"));
	cr_expect(
	    says("routes: [{path: /x, pool: a}]\n", "it is written as 'routes[].match.path'"));
	cr_expect(says("pools: {a: {fall: 2}}\n", "it is written as 'pools.*.health.fall'"));
	cr_expect(says("log: {levle: debug}\n", "did you mean 'level'?"));
	cr_expect(says("pools: [{name: a}]\n", "did you mean 'pools: {NAME: {...}}'?"));
	cr_expect(says("routes: {/api: a}\n", "did you mean 'routes: [{...}]'?"));
}

/* ---- weir.yaml(5) ---- */

static void write_file(const char *path, struct view text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	cr_assert(fd >= 0, "%s", path);
	cr_assert_eq(write(fd, text.ptr, text.len), (ssize_t)text.len);
	close(fd);
}

/* scripts/gen-man sets WEIR_GEN_MAN to have the page written instead. */
Test(conf_man, committed_page_is_up_to_date)
{
	const char *path = WEIR_SOURCE_DIR "/man/weir.yaml.5";
	struct str page = STR_INIT;
	conf_man(&page);
	if (getenv("WEIR_GEN_MAN"))
		write_file(path, str_as_view(&page));
	char *file = calloc(1, page.len + 2);
	int fd = open(path, O_RDONLY);
	cr_assert(fd >= 0, "%s is missing: run scripts/gen-man", path);
	ssize_t n = read(fd, file, page.len + 1);
	close(fd);
	cr_assert(n == (ssize_t)page.len && memcmp(file, page.ptr, page.len) == 0,
		  "man/weir.yaml.5 is not what the rows say: run scripts/gen-man");
	free(file);
	str_fini(&page);
}

Test(conf_man, has_every_row)
{
	struct str page = STR_INIT;
	conf_man(&page);
	for (size_t i = 0; i < row_count(); i++) {
		const struct row *r = row_at(i);
		char line[128];
		snprintf(line, sizeof(line),
			 row_is_supported(r) && row_parent(r) ? ".It Ic %s :" : "%s", r->path);
		cr_expect(strstr(page.ptr, line), "%s", line);
	}
	str_fini(&page);
}

/* ---- JSON Schema ---- */

Test(conf_schema, agrees_with_the_loader)
{
	char dir[] = "/tmp/weir-schema-XXXXXX", path[128], command[512];
	struct str schema = STR_INIT;
	cr_assert(mkdtemp(dir) != NULL);
	conf_schema(&schema);
	snprintf(path, sizeof(path), "%s/schema.json", dir);
	write_file(path, str_as_view(&schema));
	str_fini(&schema);
	for (size_t i = 0; i < n_mistakes; i++) {
		if (!mistakes[i].in_schema)
			continue;
		snprintf(path, sizeof(path), "%s/bad-%03zu.yaml", dir, i);
		write_file(path, view_str(mistakes[i].yaml));
	}
	snprintf(command, sizeof(command),
		 "/usr/bin/python3 %s/tests/unit/conf/schema_check.py %s %s/conf", WEIR_SOURCE_DIR,
		 dir, WEIR_SOURCE_DIR);
	int status = system(command);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		cr_skip_test("python3-jsonschema or python3-yaml is not installed");
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
