/* SPDX-License-Identifier: MIT */
/*
 * Queueing formulas.  Pure; times in microseconds, rates per microsecond, so that
 * load = rate / (c * mu) has no unit.
 *
 *   Erlang C     probability that an arrival waits, M/M/c
 *   Allen-Cunneen  mean wait of G/G/c: that of M/M/c times (ca2 + cs2) / 2
 *   a wait that is not 0 is nearly exponential under load (Kingman)
 *
 * struct spread is a service time distribution as it was measured: weights on
 * the buckets of stats/hist.h.
 */
#ifndef WEIR_STATS_QUEUEING_H
#define WEIR_STATS_QUEUEING_H

#include <stdint.h>

#include "weir/stats/hist.h"

/* c servers, `a` = rate * mean service time (Erlangs).  1 when a >= c. */
double erlang_c(double c, double a);
/* Mean wait of M/M/c: mu is the rate of one server.  INFINITY when overloaded. */
double mmc_wait(double c, double mu, double rate);
/* P(response > t) of M/M/c. */
double mmc_tail(double c, double mu, double rate, double t);
/* Its quantile q. */
double mmc_quantile(double c, double mu, double rate, double q);

struct spread {
	double weight[HIST_BUCKETS];
	double n; /* sum of weights */
};

void spread_add(struct spread *spread, const double *weight);
double spread_mean(const struct spread *spread);
double spread_cv2(const struct spread *spread); /* variance over mean squared */
double spread_quantile(const struct spread *spread, double q);
/* 95 % interval of a quantile, by ranks. */
void spread_interval(const struct spread *spread, double q, double *low, double *high);

/*
 * Quantile of service time plus a wait that is 0 with probability 1 - p_wait and
 * exponential with mean wait / p_wait otherwise.
 */
double wait_quantile(const struct spread *service, double p_wait, double mean_wait, double q);

/*
 * Quantile of service times stretched by factors: stretch[i] with probability
 * p[i], n of them.
 */
double stretch_quantile(const struct spread *service, const double *p, const double *stretch,
			size_t n, double q);

#endif
