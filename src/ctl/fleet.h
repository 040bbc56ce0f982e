/* SPDX-License-Identifier: MIT */
/*
 * Several weirs at once (--nodes, --all).
 *
 *   fleet_run(ctl, command)      in place of command->run(ctl)
 *
 * A command with OF_FLEET runs once: its api_get asks all nodes side by side and gets
 * one answer, in which counters are added and quantiles made of the summed buckets
 * (merge.h), never of quantiles.  Any other command runs for each node in turn.  Who
 * does not answer is said, and the rest is shown.
 */
#ifndef WEIR_CTL_FLEET_H
#define WEIR_CTL_FLEET_H

#include "commands.h"

#define FLEET_MAX 256

/* CTL_UNREACHABLE when nobody answers; see ctl->missing when only some do not. */
enum ctl_exit fleet_run(struct ctl *ctl, const struct command *command);

#endif
