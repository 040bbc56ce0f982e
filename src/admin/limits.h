/* SPDX-License-Identifier: MIT */
#ifndef WEIR_ADMIN_LIMITS_H
#define WEIR_ADMIN_LIMITS_H

#include "metric.h"

#include "weir/admin/admin.h"

/* weir_compress_*. */
void put_compress_metrics(struct metric *m);
/* weir_rate_limit_*: one sample for each limit of each route. */
void put_limit_metrics(struct metric *m, const struct admin_host *host);

#endif
