/* SPDX-License-Identifier: MIT */
/* Latency by phase of one thing: what workers recorded becomes windows. */
#include "weir/stats/meter.h"

#include <stdlib.h>
#include <string.h>

struct meter *meter_new(unsigned n_workers, uint64_t now_us)
{
	size_t size = sizeof(struct meter) + n_workers * sizeof(struct meter_local);
	struct meter *m = aligned_alloc(WEIR_CACHE_LINE, size);
	if (!m)
		return NULL;
	memset(m, 0, size);
	m->n_workers = n_workers;
	m->ok = windows_new(now_us);
	m->failed = windows_new(now_us);
	return m;
}

void meter_free(struct meter *m)
{
	if (!m)
		return;
	windows_free(m->ok);
	windows_free(m->failed);
	for (unsigned i = 0; i < m->n_workers; i++) {
		hist_set_fini(&m->local[i].ok);
		hist_set_fini(&m->local[i].failed);
	}
	free(m);
}

uint64_t meter_exchanges(const struct meter *m)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < m->n_workers; i++)
		n += counter_get(&m->local[i].exchanges);
	return n;
}

void meter_fold(struct meter *m, uint64_t now_us)
{
	const struct hist_set *ok[WORKERS_MAX], *failed[WORKERS_MAX];
	size_t n = m->n_workers < WORKERS_MAX ? m->n_workers : WORKERS_MAX;
	for (size_t i = 0; i < n; i++) {
		ok[i] = &m->local[i].ok;
		failed[i] = &m->local[i].failed;
	}
	if (m->ok)
		windows_fold(m->ok, ok, n, now_us);
	if (m->failed)
		windows_fold(m->failed, failed, n, now_us);
}
