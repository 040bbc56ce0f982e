/* SPDX-License-Identifier: MIT */
/* What live traffic says of a backend since the last look. */
#include "vitals.h"

/* All first checks of a pool begin within this time. */
#define FIRST_SPREAD_US 100000

bool vitals_note(struct vitals *v, bool ok, const struct conf_health *conf)
{
	enum vitals_is says = ok ? VITALS_UP : VITALS_DOWN;
	if (says == v->is) {
		v->against = 0;
		return false;
	}
	v->against++;
	uint32_t needed = v->is == VITALS_UNKNOWN ? 1 : ok ? conf->rise : conf->fall;
	if (v->against < needed)
		return false;
	*v = (struct vitals){.is = says};
	return true;
}

uint64_t vitals_interval_us(const struct vitals *v, const struct conf_health *conf)
{
	if (v->is == VITALS_UNKNOWN || v->against)
		return conf->fast_interval_us ? conf->fast_interval_us : conf->interval_us / 4;
	if (v->is == VITALS_DOWN)
		return conf->slow_interval_us ? conf->slow_interval_us : conf->interval_us * 2;
	return conf->interval_us;
}

uint64_t vitals_wait_us(const struct vitals *v, const struct conf_health *conf, uint32_t random)
{
	uint64_t base = vitals_interval_us(v, conf), tenth = base / 10;
	return base - tenth / 2 + (tenth * (random >> 16) >> 16);
}

uint64_t vitals_first_us(const struct conf_health *conf, uint32_t k, uint32_t n)
{
	uint64_t spread = conf->interval_us < FIRST_SPREAD_US ? conf->interval_us : FIRST_SPREAD_US;
	return n ? spread * k / n : 0;
}

uint64_t vitals_second_us(const struct conf_health *conf, uint32_t k, uint32_t n)
{
	return n ? conf->interval_us * (k + 1) / n : conf->interval_us;
}
