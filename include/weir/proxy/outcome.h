/* SPDX-License-Identifier: MIT */
/* Why an exchange or attempt ended: tbl/outcomes.def as an enum. */
#ifndef WEIR_PROXY_OUTCOME_H
#define WEIR_PROXY_OUTCOME_H

#include <stdbool.h>

enum outcome {
#define OUTCOME(name, who, when, status, is_error, sentence) OUTCOME_##name,
#include "weir/tbl/outcomes.def"
#undef OUTCOME
	N_OUTCOMES,
};

struct outcome_row {
	const char *name;
	char who, when;
	unsigned status;
	bool is_error;
	const char *sentence;
};

const struct outcome_row *outcome_row(enum outcome outcome);
/*
 * An error, and the backend's doing: not the client's, not of weir's own limits.
 * The time of the whole exchange (`when` is T) is no single backend's: whoever
 * held it when it was over may have got it a moment ago.
 */
bool outcome_blames_backend(enum outcome outcome);

#endif
