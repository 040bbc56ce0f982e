/* SPDX-License-Identifier: MIT */
#include "weir/proxy/outcome.h"

#include "weir/base/check.h"

static const struct outcome_row rows[N_OUTCOMES] = {
#define OUTCOME(name, who, when, status, is_error, sentence) \
	[OUTCOME_##name] = {#name, who, when, status, is_error, sentence},
#include "weir/tbl/outcomes.def"
#undef OUTCOME
};

bool outcome_blames_backend(enum outcome outcome)
{
	const struct outcome_row *row = outcome_row(outcome);
	return row->is_error && row->when != 'T' &&
	       (row->who == 'S' || row->who == 's' || row->who == 'P');
}

const struct outcome_row *outcome_row(enum outcome outcome)
{
	check((unsigned)outcome < N_OUTCOMES);
	return &rows[outcome];
}
