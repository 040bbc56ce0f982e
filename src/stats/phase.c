/* SPDX-License-Identifier: MIT */
/* The phases of an exchange. */
#include "weir/stats/phase.h"

#include "weir/base/check.h"

static const struct {
	const char *name;
	const char *sentence;
} phases[N_PHASES] = {
#define PHASE(name, sentence) [PHASE_##name] = {#name, sentence},
#include "weir/tbl/phases.def"
#undef PHASE
};

const char *phase_name(enum phase phase)
{
	check((size_t)phase < N_PHASES);
	return phases[phase].name;
}

const char *phase_sentence(enum phase phase)
{
	check((size_t)phase < N_PHASES);
	return phases[phase].sentence;
}

bool phase_parse(struct view name, enum phase *out)
{
	for (size_t i = 0; i < N_PHASES; i++) {
		if (view_eq(name, view_str(phases[i].name))) {
			*out = (enum phase)i;
			return true;
		}
	}
	return false;
}
