/* SPDX-License-Identifier: MIT */
/*
 * A directory is one weir's: of two each would undo what the other one writes.  A lock of the
 * system's on a file in it, which ends with the process.  State thread.
 */
#ifndef WEIR_STATE_HOLD_H
#define WEIR_STATE_HOLD_H

#include <stdbool.h>

/* A descriptor of hold_take, -1: none; false when another directory has come to its place. */
bool hold_is_of(int fd, const char *directory);
/* 0 with a descriptor, or errno: EWOULDBLOCK while another process has it. */
int hold_take(int *fd, const char *directory);

#endif
