/* SPDX-License-Identifier: MIT */
/*
 * Load reports of backends in a response header (ORCA, "endpoint-load-metrics"):
 *
 *   endpoint-load-metrics: cpu_utilization=0.6, named_metrics.rif=7
 *   endpoint-load-metrics: TEXT cpu_utilization:0.6
 *   endpoint-load-metrics: JSON {"named_metrics": {"rif": 7}}
 *
 * Pure; what it reads comes from the network.
 */
#ifndef WEIR_BALANCE_ORCA_H
#define WEIR_BALANCE_ORCA_H

#include <stdbool.h>

#include "weir/base/view.h"

/* Longer reports are refused. */
#define ORCA_MAX 256

struct orca {
	double rif; /* requests in flight at the backend; negative: not said */
	unsigned n; /* metrics in the report */
};

/*
 * False when the report is malformed: a name twice, a value that is no finite
 * number of 0 or more, anything left over.
 */
bool orca_parse(struct view value, struct orca *out);

#endif
