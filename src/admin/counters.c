/* SPDX-License-Identifier: MIT */
/* The names of the counters, out of their tables, as the API and the metrics say them. */
#include "counters.h"

#include <stddef.h>
#include <string.h>

#include "weir/base/check.h"

#define COUNTER(name, sentence) {#name, sentence, offsetof(struct backend_counters, name)},
const struct counter_row backend_counter_rows[] = {
#include "weir/tbl/backend_counters.def"
};
#undef COUNTER
const size_t n_backend_counter_rows = ARRAY_LEN(backend_counter_rows);

#define COUNTER(name, sentence) {#name, sentence, offsetof(struct pool_counters, name)},
const struct counter_row pool_counter_rows[] = {
#include "weir/tbl/pool_counters.def"
};
#undef COUNTER
const size_t n_pool_counter_rows = ARRAY_LEN(pool_counter_rows);

static uint64_t counter_at(const void *counters, size_t offset)
{
	return counter_get((const struct counter *)(const void *)((const char *)counters + offset));
}

uint64_t backend_counter(const struct backend *backend, const struct counter_row *row)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < backend->n_workers; i++)
		n += counter_at(&backend->local[i]->counters, row->offset);
	return n;
}

uint64_t backend_counter_named(const struct backend *backend, const char *name)
{
	for (size_t i = 0; i < n_backend_counter_rows; i++)
		if (strcmp(backend_counter_rows[i].name, name) == 0)
			return backend_counter(backend, &backend_counter_rows[i]);
	check(false);
	return 0;
}

uint64_t pool_counter(const struct pool *pool, const struct counter_row *row)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < pool->state->n_workers; i++)
		n += counter_at(&pool->state->local[i]->counters, row->offset);
	return n;
}
