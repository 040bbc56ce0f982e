/* SPDX-License-Identifier: MIT */
/* Private to stats/: the steps of a look. */
#ifndef WEIR_STATS_SCALING_STEPS_H
#define WEIR_STATS_SCALING_STEPS_H

#include "weir/stats/scaling.h"

/* epoch.c: notices changes of members, weights and limits. */
void scaling_look_epoch(struct scaling *scaling, const struct scaling_input *input);

/* share.c: five seconds of one backend; levels up to `top` were met. */
void scaling_part_block(struct scaling_part *part, struct scaling *scaling,
			const struct levels *const *levels, size_t n, uint32_t top);
void scaling_look_shift(struct scaling *scaling);

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
/* May begin a new epoch. */
void scaling_look_change(struct scaling *scaling, const struct scaling_input *input);

/* verdict.c: from the evidence to opinions and sentences. */
void scaling_judge(struct scaling *scaling, const struct scaling_input *input);
/* forecast.c: fills scaling->forecasts, and scores what has come true. */
void scaling_predict(struct scaling *scaling, const struct scaling_input *input);

#endif
