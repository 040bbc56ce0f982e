/* SPDX-License-Identifier: MIT */
/*
 * YAML text -> tree of nodes.  Refused: duplicate keys, merge keys, tags, more
 * than one document, keys that are no plain text, aliases that blow up.
 */
#ifndef WEIR_CONF_YAML_H
#define WEIR_CONF_YAML_H

#include "node.h"
#include "report.h"

#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 1000000 /* aliases counted as often as they are used */

/* NULL when the text cannot be understood at all, or is empty; `r` says why. */
struct node *yaml_read(struct report *r, struct arena *arena, struct view text);

#endif
