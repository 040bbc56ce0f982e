/* SPDX-License-Identifier: MIT */
/*
 * What shapes one answer, from the rows of plan.def.  An instance has one as
 * its defaults, a request with options of its own has a changed copy.
 */
#ifndef WEIR_APP_PLAN_H
#define WEIR_APP_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/str.h"
#include "weir/base/view.h"

#define PLAN_UNSET UINT64_MAX

enum plan_dist { DIST_FIXED, DIST_EXP, DIST_PARETO };
enum plan_framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };
enum plan_place { PLACE_NO, PLACE_BEFORE, PLACE_HEAD, PLACE_BODY };
enum plan_wrong { WRONG_NO, WRONG_SHORT, WRONG_LONG };
enum plan_early { EARLY_NO, EARLY_DRAIN, EARLY_CLOSE, EARLY_RESET };
enum plan_expect { EXPECT_SEND, EXPECT_NEVER };

struct plan {
#define PLAN(field, kind, dflt, help) uint64_t field;
#include "plan.def"
#undef PLAN
};

void plan_init(struct plan *plan);

/*
 * Sets the row `key` ('-' and '_' are the same, case is ignored).  False when
 * there is no such row or the value does not fit it.
 */
bool plan_set(struct plan *plan, struct view key, struct view value);

/* There is a row `key`. */
bool plan_knows(struct view key);

/* "service=50ms,workers=2": all of them; false at the first that fails. */
bool plan_set_list(struct plan *plan, struct view list);

/* The rows as text for --help. */
void plan_help(struct str *out);

#endif
