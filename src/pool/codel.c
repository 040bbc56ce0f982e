/* SPDX-License-Identifier: MIT */
/*
 * Whether a queue stands, by controlled delay in the form that servers use.
 */
#include "weir/pool/codel.h"

#define INTERVAL_MIN_US 100000
#define TARGETS_PER_INTERVAL 4

uint64_t codel_interval_us(uint64_t target_us)
{
	uint64_t long_one = target_us * TARGETS_PER_INTERVAL;
	return long_one > INTERVAL_MIN_US ? long_one : INTERVAL_MIN_US;
}

bool codel_look(struct codel *codel, uint64_t target_us, uint64_t now_us, uint64_t age_us)
{
	if (now_us >= codel->until_us) {
		uint64_t interval = codel_interval_us(target_us);
		/* nobody looked for a whole interval: nobody was served, nor came */
		bool stale = now_us - codel->until_us >= interval;
		codel->overloaded = !stale && codel->min_us > target_us;
		codel->until_us = now_us + interval;
		codel->min_us = age_us;
		return false;
	}
	if (age_us < codel->min_us)
		codel->min_us = age_us;
	if (age_us <= target_us)
		codel->overloaded = false;
	return codel->overloaded;
}
