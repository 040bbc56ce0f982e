/* SPDX-License-Identifier: MIT */
/*
 * include: further files, merged into the tree before anything of it is decoded.
 * Thread: control.
 */
#ifndef WEIR_CONF_INCLUDE_H
#define WEIR_CONF_INCLUDE_H

#include "env.h"

/*
 * Reads what `root` includes, relative to `dir`, and puts it together.  False when a file
 * cannot be had or read at all.  Nodes live in the arena of `env`, their texts too.
 */
bool include_all(struct env *env, struct node *root, const char *dir);

#endif
