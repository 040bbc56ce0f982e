/* SPDX-License-Identifier: MIT */
/* What the status and the metrics say about sources of members. */
#ifndef WEIR_ADMIN_SOURCES_H
#define WEIR_ADMIN_SOURCES_H

#include "metric.h"

#include "weir/admin/admin.h"
#include "weir/base/json.h"

/* Sentences about those that fail, into the open array. */
void put_source_problems(struct json *j, const struct admin_host *host, struct arena *arena);
void put_source_metrics(struct metric *m, const struct admin_host *host, struct arena *arena);

#endif
