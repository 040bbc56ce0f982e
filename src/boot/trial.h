/* SPDX-License-Identifier: MIT */
/*
 * weir -t: what a start would find beside the configuration itself, without binding,
 * making or changing anything.
 */
#ifndef WEIR_BOOT_TRIAL_H
#define WEIR_BOOT_TRIAL_H

#include <stdbool.h>

#include "weir/conf/conf.h"

/* Prints what is wrong to standard error; false when there is an error among it. */
bool trial(const struct conf *conf);

#endif
