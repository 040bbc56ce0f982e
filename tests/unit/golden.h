/* SPDX-License-Identifier: MIT */
/*
 * What weir says, whole, beside a file that has it: a member or a column that goes, comes or
 * changes is seen, whichever it is.  What is meant to change is written by
 *
 *   WEIR_GOLDEN=write build/release/bin/unit_admin
 *
 * and read as a diff.  JSON is laid out so that a diff is short; of members whose values are the
 * machine's only that they are there is compared.
 */
#ifndef TESTS_UNIT_GOLDEN_H
#define TESTS_UNIT_GOLDEN_H

#include "weir/base/str.h"

/* JSON as lines, behind `out`; `any` are the names of such members, the last one NULL. */
void golden_json(struct str *out, struct view json, const char *const *any);
/* Fails the test with the first line that differs; `file` is a path in tests/unit. */
void golden_check(const char *file, const struct str *text);

#endif
