/* SPDX-License-Identifier: MIT */
/* Why an exchange or attempt ended: tbl/outcomes.def as an enum. */
#ifndef WEIR_PROXY_OUTCOME_H
#define WEIR_PROXY_OUTCOME_H

#include <stdbool.h>

#include "weir/base/view.h"

enum outcome {
#define OUTCOME(name, who, when, status, is_error, fault, sentence) OUTCOME_##name,
#include "weir/tbl/outcomes.def"
#undef OUTCOME
	N_OUTCOMES,
};

/* Whether it counts against the backend: see outcomes.def. */
enum outcome_fault {
	OUTCOME_FAULT_NEVER,
	OUTCOME_FAULT_ALWAYS,
	OUTCOME_FAULT_WHOLE,
	OUTCOME_FAULT_LATE,
};

struct outcome_row {
	const char *name;
	char who, when;
	unsigned status;
	bool is_error;
	enum outcome_fault fault;
	const char *sentence;
	struct view
	    members; /* name and sentence as the access log has them: '"outcome":"ok",...' */
};

const struct outcome_row *outcome_row(enum outcome outcome);

#endif
