/* SPDX-License-Identifier: MIT */
/* Private to stats/: the steps of a look. */
#ifndef WEIR_STATS_SCALING_STEPS_H
#define WEIR_STATS_SCALING_STEPS_H

#include "weir/stats/scaling.h"

/* By what was learned before: from here on load explains that all wait. */
#define FULL_FROM 0.85

/* Neighbours are alike: the theory of independent ones is too sure by so much. */
#define EXCESS 1.5

/* Requests of other nodes, beside those from here: with more of them levels are estimated. */
#define OTHERS_FEW 0.05

static inline bool scaling_hears(const struct scaling *scaling)
{
	return scaling->others_rate > OTHERS_FEW * scaling->rate;
}

/* epoch.c: notices changes of members, weights and limits. */
void scaling_look_epoch(struct scaling *scaling, const struct scaling_input *input);

/* scaling.c: gives back what was served. */
void scaling_part_forget_recents(struct scaling_part *part);
void scaling_forget_recents(struct scaling *scaling);

/* curve.c: points and fit. */
void scaling_look_curve(struct scaling *scaling, const struct scaling_input *input);

/* bins.c: the bin of a level; NULL without memory. */
struct scaling_bin *scaling_part_bin_make(struct scaling_part *part, uint32_t level);

/* Of durations: below it nothing is shared that matters. */
#define NO_SHARE 0.10
/* Blocks that tell something together. */
#define BLOCKS_MIN 6

/* share.c: the block of that age, 0 is the newest; NULL: not of this epoch. */
const struct scaling_block *scaling_block_at(const struct scaling *scaling, unsigned age);
/* Of the logarithms of durations at equal level and backend, in blocks of these ages; of n. */
double scaling_variance(const struct scaling *scaling, unsigned from, unsigned to, double *n);
/* Student's t that is as rare with so many degrees of freedom as z is. */
double scaling_student(double z, double freedom);
/* Five seconds of one backend; levels up to `top` were met. */
void scaling_part_block(struct scaling_part *part, struct scaling *scaling,
			const struct levels *const *levels, size_t n, uint32_t top);
void scaling_look_shift(struct scaling *scaling, bool pooled);

/* slope.c: some that met this level; those of split levels, then the block of the part is full. */
void scaling_slope_add(struct scaling_slope *sums, double level, double n, double log_sum);
void scaling_slope_block(struct scaling_block *block, struct scaling_part *part, uint32_t top,
			 const struct scaling_slope *split);
void scaling_look_slope(struct scaling *scaling);
/* That is why p95 has grown so; or it is known not to be.  Neither: it is not known. */
bool scaling_load_slows(const struct scaling *scaling, double growth);
bool scaling_load_is_innocent(const struct scaling *scaling, double growth);

/* change.c: more comes than they do, and than they did when nobody was slow: that is load. */
bool scaling_is_flooded(const struct scaling *scaling);
/* Whether these are other requests is not known yet. */
static inline bool scaling_kind_is_open(const struct scaling_change *change)
{
	return change->at_us && change->was.n > 0 && !change->of_kind;
}

/* The variance of the logarithms of durations at equal level and backend. */
double scaling_spread(const struct scaling *scaling);

/* peer.c: compares what share.c has put aside. */
void scaling_look_peers(struct scaling *scaling, const struct scaling_input *input);
double scaling_peer_factor(const struct scaling *scaling, const struct scaling_part *part,
			   bool *sure);

/* company.c: n requests of own level k took `us` together. */
void scaling_part_met(struct scaling_part *part, uint32_t k, double n, double us);
/* The level that was met with k in flight here, others' requests included. */
double scaling_part_level(const struct scaling_part *part, uint32_t k);

/* size.c: what full backends do in pools of different sizes. */
void scaling_look_sizes(struct scaling *scaling, const struct scaling_input *input);
void scaling_forget_sizes(struct scaling *scaling);
/* Some that found k - 1 at the backend, n of them, took `us` together. */
void scaling_part_waited(struct scaling_part *part, const struct scaling *scaling, uint32_t k,
			 double n, double us);
void scaling_part_second(struct scaling_part *part); /* the second is over */
/* Five seconds of those that had a backend to themselves; their logarithms are in `unit`. */
void scaling_size_quiet(struct scaling *scaling, const struct scaling_split *met_nobody,
			double unit);
/* change.c: may begin a new epoch. */
void scaling_look_change(struct scaling *scaling, const struct scaling_input *input);

/* arrivals.c: how many requests come, and how evenly. */
void scaling_look_rate(struct scaling *scaling);
void scaling_look_arrivals(struct scaling *scaling);

/* verdict.c (and verdict.h): from the evidence to opinions and sentences. */
void scaling_judge(struct scaling *scaling, const struct scaling_input *input);
/* Of so many an observed p99 is worth a comparison. */
#define FORECAST_P99_SAMPLES 1000
/* What is forecast is of so many seconds that come. */
#define FORECAST_S 120
/* From here on a queue has no steady state worth a number. */
#define OVERLOAD 0.97
/* forecast_law.c: utilisation and quantiles of f->backends at f->rate. */
void forecast_law(const struct scaling *scaling, bool pooled, struct scaling_forecast *f);
/* forecast_score.c: from so many backends to so many: what was said of that; what came of it. */
void forecast_remember(struct scaling *scaling, uint32_t from, uint32_t to, uint64_t now_us);
void forecast_score(struct scaling *scaling, uint64_t now_us);
/* forecast.c: fills scaling->forecasts, and scores what has come true. */
void scaling_predict(struct scaling *scaling, const struct scaling_input *input);

#endif
