/* SPDX-License-Identifier: MIT */
/* Private to stats/: the steps of a look. */
#ifndef WEIR_STATS_SCALING_STEPS_H
#define WEIR_STATS_SCALING_STEPS_H

#include "weir/stats/scaling.h"

/* verdict.c: from the evidence to opinions and sentences. */
void scaling_judge(struct scaling *scaling, const struct scaling_input *input);
/* forecast.c: fills scaling->forecasts, and scores what has come true. */
void scaling_predict(struct scaling *scaling, const struct scaling_input *input);

#endif
