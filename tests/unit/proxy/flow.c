/* SPDX-License-Identifier: MIT */
/* Every file of scripts is a test: see script.h for what they say. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "kernel.h"
#include "script.h"

#include "weir/base/file.h"
#include "weir/proxy/outcome.h"

#define CASES WEIR_SOURCE_DIR "/tests/unit/proxy/cases/"

#define FLOWS(X)     \
	X(answers)   \
	X(asking)    \
	X(bulk)      \
	X(connect)   \
	X(exchange)  \
	X(gather)    \
	X(filter)    \
	X(hedge)     \
	X(keepalive) \
	X(log)       \
	X(mirror)    \
	X(outcomes)  \
	X(queue)     \
	X(retry)     \
	X(timeouts)  \
	X(stream)    \
	X(trailers)  \
	X(tunnel)

#define FLOW(name)                                   \
	Test(flow, name)                             \
	{                                            \
		script_run_file(CASES #name ".txt"); \
	}
FLOWS(FLOW)

Test(flow, without_memory)
{
	script_run_without_memory(CASES "memory.txt");
}

Test(flow, a_poll_that_is_left_out_would_find_nothing)
{
	kernel_poll_always(true);
	script_run_file(CASES "keepalive.txt");
	script_run_file(CASES "tunnel.txt");
}

/* What a full socket leaves over goes out piece by piece. */
Test(flow, sends_that_move_little)
{
	kernel_send_most(40);
	script_run_file(CASES "stream.txt");
}

Test(flow, with_faults)
{
	script_run_with_faults(CASES "memory.txt");
	script_run_with_faults(CASES "faults.txt");
}

/* ---- nothing is left out ---- */

#define FILE_MAX (1024 * 1024)

static void read_into(struct str *all, const char *path)
{
	struct str why = STR_INIT;
	cr_assert_eq(file_read(path, FILE_MAX, 0, all, &why), ERR_OK, "%s", path);
	str_fini(&why);
}

static bool says(const struct str *text, const char *what)
{
	return memmem(text->ptr, text->len, what, strlen(what)) != NULL;
}

Test(flow, every_file_of_scripts_is_run)
{
#define NAME(name) CASES #name ".txt",
	static const char *const run[] = {FLOWS(NAME) CASES "memory.txt", CASES "faults.txt"};
	glob_t found;
	cr_assert_eq(glob(CASES "*", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		bool is_run = false;
		for (size_t k = 0; k < ARRAY_LEN(run); k++)
			is_run |= strcmp(run[k], found.gl_pathv[i]) == 0;
		cr_expect(is_run, "%s", found.gl_pathv[i]);
	}
	globfree(&found);
}

/* Peers of scripts speak no TLS, and passwords are checked by a thread, in its own time. */
static const struct {
	enum outcome outcome;
	const char *file, *says; /* where it is seen instead */
} elsewhere[] = {
    {OUTCOME_misdirected, "tests/e2e/test_tls.py", "answer.status == 421"},
    {OUTCOME_tls_untrusted, "tests/e2e/test_tls_backends.py", "tls_untrusted"},
    {OUTCOME_auth_busy, "tests/e2e/test_auth.py", "auth_busy"},
};

/* Its place in `elsewhere`, or the length of that. */
static size_t elsewhere_at(enum outcome outcome)
{
	size_t i = 0;
	while (i < ARRAY_LEN(elsewhere) && elsewhere[i].outcome != outcome)
		i++;
	return i;
}

static bool is_scripted(const struct str *scripts, enum outcome outcome)
{
	char line[80];
	snprintf(line, sizeof(line), "\nexpect outcome.%s = 1\n", outcome_row(outcome)->name);
	return says(scripts, line);
}

Test(flow, every_outcome_has_a_script)
{
	struct str scripts = STR_INIT;
	glob_t found;
	cr_assert_eq(glob(CASES "*.txt", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++)
		read_into(&scripts, found.gl_pathv[i]);
	globfree(&found);
	for (unsigned i = 0; i < N_OUTCOMES; i++) {
		bool here = is_scripted(&scripts, (enum outcome)i);
		bool there = elsewhere_at((enum outcome)i) < ARRAY_LEN(elsewhere);
		cr_expect(here != there, "%s: a script expects it %s",
			  outcome_row((enum outcome)i)->name, here ? "as well" : "nowhere");
	}
	str_fini(&scripts);
}

Test(flow, the_other_outcomes_are_seen_where_it_is_said)
{
	for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
		struct str text = STR_INIT;
		char path[256];
		snprintf(path, sizeof(path), "%s/%s", WEIR_SOURCE_DIR, elsewhere[i].file);
		read_into(&text, path);
		cr_expect(says(&text, elsewhere[i].says), "%s in %s", elsewhere[i].says, path);
		str_fini(&text);
	}
}
