/* SPDX-License-Identifier: MIT */
/* What the status and the metrics say about certificates. */
#ifndef WEIR_ADMIN_CERTIFICATES_H
#define WEIR_ADMIN_CERTIFICATES_H

#include "metric.h"

#include "weir/admin/admin.h"
#include "weir/base/json.h"

/* Sentences about those that expire within 21 days, or are not renewed, into the open array. */
void put_certificate_problems(struct json *j, const struct admin_host *host, struct arena *arena);
void put_site_metrics(struct metric *m, const struct admin_host *host, struct arena *arena);
void put_certificate_metrics(struct metric *m, const struct admin_host *host);

#endif
