/* SPDX-License-Identifier: MIT */
/* What strategies remember of a backend, for the process that takes over. */
#include "weir/balance/strategy.h"

/* Goes up when a field comes, goes, or means something else. */
#define VERSION 1

void strategy_memory_pack(const struct strategy_memory *m, struct str *out)
{
	pack_u64(out, VERSION);
	pack_u64(out, atomic_load(&m->level));
	pack_u64(out, atomic_load(&m->errors));
	pack_u64(out, atomic_load(&m->explored_us));
	pack_u64(out, atomic_load(&m->peak));
	pack_u64(out, atomic_load(&m->report));
	pack_u64(out, atomic_load(&m->averse_us));
	pack_u64(out, atomic_load(&m->asked_us));
	for (unsigned i = 0; i < STRATEGY_TAGS; i++)
		pack_u64(out, atomic_load(&m->tagged[i]));
}

void strategy_memory_unpack(struct unpack *in, struct strategy_memory *m)
{
	uint64_t values[7];
	uint32_t tagged[STRATEGY_TAGS];
	in->bad |= unpack_u64(in) != VERSION;
	values[0] = unpack_max(in, UINT32_MAX);
	values[1] = unpack_max(in, UINT32_MAX);
	for (unsigned i = 2; i < 7; i++)
		values[i] = unpack_u64(in);
	for (unsigned i = 0; i < STRATEGY_TAGS; i++)
		tagged[i] = (uint32_t)unpack_max(in, UINT32_MAX);
	if (in->bad)
		return;
	atomic_store(&m->level, (uint32_t)values[0]);
	atomic_store(&m->errors, (uint32_t)values[1]);
	atomic_store(&m->explored_us, values[2]);
	atomic_store(&m->peak, values[3]);
	atomic_store(&m->report, values[4]);
	atomic_store(&m->averse_us, values[5]);
	atomic_store(&m->asked_us, values[6]);
	for (unsigned i = 0; i < STRATEGY_TAGS; i++)
		atomic_store(&m->tagged[i], tagged[i]);
}
