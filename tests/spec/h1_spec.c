/* SPDX-License-Identifier: MIT */
/*
 * Runs the cases of tests/spec/cases: whole, cut in two at each position, and
 * byte by byte; the events must be those of the file each time.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "h1_cases.h"
#include "weir/base/defs.h"

static struct h1_case *cases;
static size_t n_cases;

static void load(void)
{
	cases = h1_cases_new(&n_cases);
}

static void unload(void)
{
	h1_cases_free(cases, n_cases);
}

TestSuite(h1_spec, .init = load, .fini = unload);

static bool gives_events(const struct h1_case *c, const size_t *cuts, size_t n_cuts,
			 const char *how)
{
	struct str got = STR_INIT;
	h1_run(&c->run, str_as_view(&c->input), cuts, n_cuts, &got);
	bool same = view_eq(str_as_view(&got), str_as_view(&c->events));
	if (!same)
		fprintf(stderr, "%s: %s\n%s (first cut at %zu)\nexpected:\n%sgot:\n%s\n", c->file,
			c->sentence, how, n_cuts ? cuts[0] : 0, c->events.ptr,
			got.ptr ? got.ptr : "");
	str_fini(&got);
	return same;
}

Test(h1_spec, whole)
{
	size_t n_wrong = 0;
	cr_assert(n_cases > 0);
	for (size_t i = 0; i < n_cases; i++)
		n_wrong += !gives_events(&cases[i], NULL, 0, "given at once");
	cr_assert_eq(n_wrong, 0, "%zu of %zu cases", n_wrong, n_cases);
}

Test(h1_spec, cut_in_two)
{
	for (size_t i = 0; i < n_cases; i++)
		for (size_t cut = 1; cut < cases[i].input.len; cut++)
			cr_assert(gives_events(&cases[i], &cut, 1, "cut in two"));
}

Test(h1_spec, byte_by_byte)
{
	for (size_t i = 0; i < n_cases; i++) {
		size_t n = cases[i].input.len;
		size_t *cuts = malloc(n * sizeof(*cuts));
		for (size_t k = 0; k + 1 < n; k++)
			cuts[k] = k + 1;
		cr_assert(gives_events(&cases[i], cuts, n - 1, "byte by byte"));
		free(cuts);
	}
}

/* Not the parser's: see src/route/strict.c, src/proxy/attempt_answer.c, src/proxy/client_misled.c
 * and, for HTTP/2, http/h2_server.c. */
static bool is_judged_later(enum reject why)
{
	return why == REJECT_NUL_IN_PATH || why == REJECT_ENCODED_SLASH ||
	       why == REJECT_UNDERSCORE || why == REJECT_TOO_MANY_INTERIM ||
	       why == REJECT_MALFORMED ||
	       (why >= REJECT_PLAIN_AT_TLS && why <= REJECT_PROXY_UNEXPECTED);
}

/* A way to refuse that no case shows is a way that nobody has seen work. */
Test(h1_spec, each_reject_has_a_case)
{
	for (unsigned why = REJECT_NONE + 1; why < REJECT_N; why++) {
		char line[64];
		bool found = false;
		snprintf(line, sizeof(line), "reject %s %u\n", reject_name(why),
			 reject_status(why));
		for (size_t i = 0; i < n_cases && !found; i++)
			found = strstr(cases[i].events.ptr, line) != NULL;
		cr_expect_neq(found, is_judged_later((enum reject)why), "no case ends in \"%s\"",
			      reject_name(why));
	}
}
