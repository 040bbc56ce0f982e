/* SPDX-License-Identifier: MIT */
#ifndef WEIR_ADMIN_MIRROR_H
#define WEIR_ADMIN_MIRROR_H

#include "metric.h"

#include "weir/admin/admin.h"

/* weir_mirror_*: one sample for each mirror. */
void put_mirror_metrics(struct metric *m, const struct admin_host *host);
/* Answers are compared anew for all mirrors that have to do with the pool; empty: for all. */
void mirrors_begin_epoch(const struct admin_host *host, struct view pool);

#endif
