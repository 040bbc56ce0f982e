/* SPDX-License-Identifier: MIT */
/*
 * Counters of backends and pools as rows, summed over the workers: what the API
 * and the metrics walk, so that a new row of the tables shows up in both.
 */
#ifndef WEIR_ADMIN_COUNTERS_H
#define WEIR_ADMIN_COUNTERS_H

#include "weir/pool/pool.h"

struct counter_row {
	const char *name;
	const char *sentence;
	size_t offset;
};

extern const struct counter_row backend_counter_rows[];
extern const size_t n_backend_counter_rows;
extern const struct counter_row pool_counter_rows[];
extern const size_t n_pool_counter_rows;

uint64_t backend_counter(const struct backend *backend, const struct counter_row *row);
/* By the row's name, which must exist. */
uint64_t backend_counter_named(const struct backend *backend, const char *name);
uint64_t pool_counter(const struct pool *pool, const struct counter_row *row);

#endif
