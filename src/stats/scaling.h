/* SPDX-License-Identifier: MIT */
/* Private to stats/: the steps of a look. */
#ifndef WEIR_STATS_SCALING_STEPS_H
#define WEIR_STATS_SCALING_STEPS_H

#include "weir/stats/scaling.h"

/* epoch.c: notices changes of members, weights and limits. */
void scaling_look_epoch(struct scaling *scaling, const struct scaling_input *input);

/* share.c: five seconds of one backend; levels up to `top` were met. */
void scaling_part_block(struct scaling_part *part, struct scaling_block *block,
			const struct levels *const *levels, size_t n, uint32_t top);
void scaling_look_shift(struct scaling *scaling);
/* May begin a new epoch. */
void scaling_look_change(struct scaling *scaling, const struct scaling_input *input);

/* verdict.c: from the evidence to opinions and sentences. */
void scaling_judge(struct scaling *scaling, const struct scaling_input *input);
/* forecast.c: fills scaling->forecasts, and scores what has come true. */
void scaling_predict(struct scaling *scaling, const struct scaling_input *input);

#endif
