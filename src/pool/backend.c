/* SPDX-License-Identifier: MIT */
/* States of a backend, out of backend_states.def. */
#include "weir/pool/backend.h"

static const struct {
	const char *name;
	bool takes_new;
} states[] = {
#define BACKEND_STATE(name, takes_new, sentence) [BACKEND_##name] = {#name, takes_new},
#include "weir/tbl/backend_states.def"
#undef BACKEND_STATE
};

const char *backend_state_name(enum backend_state state)
{
	return (size_t)state < ARRAY_LEN(states) ? states[state].name : "?";
}

bool backend_state_takes_new(enum backend_state state)
{
	return (size_t)state < ARRAY_LEN(states) && states[state].takes_new;
}
