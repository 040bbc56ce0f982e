/* SPDX-License-Identifier: MIT */
/*
 * Load probes: a backend of a pool that balances by prequal is asked again and
 * again how much it has to do (prequal.path), so that its load is known although
 * other balancers use it as well.  One prober for all workers, on the health
 * thread; what it learns goes to the backend's memory, where every pick sees it.
 *
 *   idle --due--> asked --report--> idle, the connection is kept
 *     ^             |
 *     +--- lost ----+  late, broken, no report: the connection goes, and what was
 *                      known ages away within a second
 */
#ifndef WEIR_HEALTH_LOAD_H
#define WEIR_HEALTH_LOAD_H

#include "target.h"

/*
 * Asks from now on as `conf` says, or goes on with these settings.  `tls` is NULL
 * or lives until the next load_follow or load_stop.
 */
void load_follow(struct health_target *t, const struct conf_pool *conf, struct tls_client *tls);
/* No more questions.  Also right when there were none. */
void load_stop(struct health_target *t);

#endif
