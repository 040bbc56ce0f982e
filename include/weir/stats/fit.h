/* SPDX-License-Identifier: MIT */
/*
 * How a backend's throughput grows with the number in flight, fitted to mean
 * durations by the level at arrival (stats/level.h).  Two models compete, BIC chooses:
 *
 *   the universal scalability law (Gunther)
 *     X(N) = lam N / (1 + sig (N-1) + kap N (N-1))
 *     fitted as R(N) = N/X = a + b (N-1) + c N (N-1), which is linear, by weighted
 *     least squares over the non-negative subsets of {a, b, c}: exact, no iteration
 *   c workers with a queue in front of them
 *     X(N) = p min(N, c) - q max(N - c, 0), for every whole c; or with durations that are
 *     off by a part of a service time beyond c, as they are unless service is memoryless
 *
 * Pure functions.  Rates are per second.
 */
#ifndef WEIR_STATS_FIT_H
#define WEIR_STATS_FIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/rng.h"
#include "weir/stats/level.h"

#define FIT_POINTS LEVEL_BINS
/* Bins with fewer completions are left out; too few bins, or too narrow, give no parameters. */
#define FIT_MIN_DONE 30
#define FIT_MIN_BINS 6
#define FIT_MIN_RANGE 8.0
#define FIT_MIN_WAITING 2.0 /* or, of workers that are known, so many times as many */
#define FIT_MAX_LOWEST 2.0
/* Nothing is said about more than this multiple of the highest level seen. */
#define FIT_REACH 1.5

struct fit_point {
	double n;    /* in flight */
	double rate; /* completions per second at that level */
	double done; /* completions it stands on */
};

enum fit_model { FIT_NONE, FIT_USL, FIT_WORKERS };

struct fit {
	enum fit_model model;
	const char *refusal; /* NULL: parameters may be shown; else why not, static text */
	double n_min, n_max; /* levels it stands on */
	size_t n_points;
	double r2;    /* of rate or of time, whichever the model explains better */
	double rms;   /* relative error, weighted by completions */
	double noise; /* what of it counting so few completions explains */
	struct {
		double lam, sig, kap;
		double se_lam, se_sig, se_kap;
		bool kap_significant; /* kap - 2 se > 0 and levels above half the peak were seen */
		double peak_n;        /* 0: none */
	} usl;
	struct {
		double per_worker; /* completions per second of one */
		double fall;       /* lost per second for each one waiting; or */
		double offset;     /* of the wait of who finds all busy, in service times */
		uint32_t c, c_low, c_high;
		bool saturated; /* levels above c were seen: c is not just a lower bound */
	} workers;
};

/* Points in ascending order of n, which is measured, or estimated: then knees are blurred. */
void fit_curve(const struct fit_point *points, size_t n, bool estimated, struct fit *out);

/* X(n) of the chosen model; 0 without one. */
double fit_rate(const struct fit *fit, double n);
/* The highest rate within FIT_REACH, and whether it is only a lower bound. */
double fit_capacity(const struct fit *fit, bool *at_least);
/* 95 % interval of the fitted model's X(at), by bootstrapping pairs 100 times. */
void fit_rate_interval(const struct fit_point *points, size_t n, const struct fit *fit, double at,
		       struct rng *rng, double *low, double *high);
/* Leaves `rng` as fit_rate_interval would. */
void fit_rate_pass_over(const struct fit *fit, struct rng *rng);

#endif
