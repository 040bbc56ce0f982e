/* SPDX-License-Identifier: MIT */
/* Private to admin/: one writing of GET /metrics, and the parts of it that are files of their own.
 */
#ifndef WEIR_ADMIN_METRICS_H
#define WEIR_ADMIN_METRICS_H

#include "api.h"
#include "metric.h"

struct scene {
	struct metric m;
	struct admin_status status;
	const struct pool *pools;
	uint32_t n_pools;
	bool scoped;           /* to one pool */
	struct view **backend; /* "{pool="p",backend="b"" by pool and backend: escaped once */
	struct str labels;     /* owns; of the histogram being written */
};

static inline uint32_t load_u32(const _Atomic uint32_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

/* A sample of a backend. */
static inline void begin_backend(struct scene *s, const char *name, uint32_t p, uint32_t i)
{
	metric_begin(&s->m, name);
	metric_labels(&s->m, s->backend[p][i]);
}

/* A backend of the walk; fn writes what it has to say of it. */
typedef void backend_fn(struct scene *s, uint32_t p, uint32_t i, const void *arg);
/* metrics_backends.c: all of them, in the order of the pools. */
void each_backend(struct scene *s, backend_fn *fn, const void *arg);
/* metrics_backends.c: their states, counters, checks. */
void put_backend_metrics(struct scene *s);
/* metrics_time.c: how long exchanges took; a histogram appears with its first sample. */
void put_time_metrics(struct scene *s);

#endif
