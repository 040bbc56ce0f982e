/* SPDX-License-Identifier: MIT */
/* The table of outcomes. */
#include "weir/proxy/outcome.h"

#include "weir/base/check.h"

/* As VIEW, where only constants may stand. */
#define VIEW_ROW(text) {(text), sizeof(text) - 1}

static const struct outcome_row rows[N_OUTCOMES] = {
#define OUTCOME(name, who, when, status, is_error, fault, sentence) \
	[OUTCOME_##                                                 \
	    name] = {#name,    who,                                 \
		     when,     status,                              \
		     is_error, OUTCOME_FAULT_##fault,               \
		     sentence, VIEW_ROW("\"outcome\":\"" #name "\",\"end\":\"" sentence "\"")},
#include "weir/tbl/outcomes.def"
#undef OUTCOME
};

const struct outcome_row *outcome_row(enum outcome outcome)
{
	check((unsigned)outcome < N_OUTCOMES);
	return &rows[outcome];
}
