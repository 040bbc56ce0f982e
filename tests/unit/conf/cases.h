/* SPDX-License-Identifier: MIT */
/* Mistakes and what is said about them, shared by two tests. */
#ifndef TESTS_CONF_CASES_H
#define TESTS_CONF_CASES_H

#include <stdbool.h>
#include <stddef.h>

struct mistake {
	const char *yaml;
	unsigned line, column; /* of the first diagnostic; 0: no place */
	const char *fragment;  /* of its message and hint */
	bool in_schema;        /* the JSON Schema refuses it too */
};

extern const struct mistake mistakes[];
extern const size_t n_mistakes;

#endif
