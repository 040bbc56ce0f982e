/* SPDX-License-Identifier: MIT */
/*
 * The phases of an exchange as an enum out of tbl/phases.def: PHASE_queue,
 * PHASE_connect, ... PHASE_total.
 */
#ifndef WEIR_STATS_PHASE_H
#define WEIR_STATS_PHASE_H

#include <stdbool.h>

#include "weir/base/view.h"

enum phase {
#define PHASE(name, sentence) PHASE_##name,
#include "weir/tbl/phases.def"
#undef PHASE
	N_PHASES
};

/* The API's name and its meaning; static text. */
const char *phase_name(enum phase phase);
const char *phase_sentence(enum phase phase);
bool phase_parse(struct view name, enum phase *out);

#endif
