/* SPDX-License-Identifier: MIT */
/*
 * The cases of tests/spec/cases: text files, many cases each.
 *
 *   # a comment
 *   === a sentence about the case
 *   request line=20 body=10        or: response HEAD; the limits are optional
 *   GET / HTTP/1.1\r\n             the input: lines joined without their line end,
 *   Host: a\r\n                    \r \n \t \\ \xHH as in C,
 *   X: \{20:ab}\r\n\r\n            and \{20:ab} for twenty times "ab"
 *   ---
 *   request GET / HTTP/1.1         the events, see h1_run.h
 */
#ifndef WEIR_TESTS_SPEC_H1_CASES_H
#define WEIR_TESTS_SPEC_H1_CASES_H

#include "h1_run.h"

struct h1_case {
	char *file;
	char *sentence;
	struct h1_run run;
	struct str input;
	struct str events;
};

/* All cases of all files; ends the process when one is malformed. */
struct h1_case *h1_cases_new(size_t *n);
void h1_cases_free(struct h1_case *cases, size_t n);

#endif
