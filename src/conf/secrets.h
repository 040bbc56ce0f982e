/* SPDX-License-Identifier: MIT */
/*
 * Private to conf/: secrets (env.h) in what others are to read become ***.
 * Thread: control.
 */
#ifndef WEIR_CONF_SECRETS_H
#define WEIR_CONF_SECRETS_H

#include "node.h"
#include "weir/conf/conf.h"

/* In a tree that is to be written. */
void secrets_hide(const struct conf_views *secrets, struct arena *arena, struct node *root);
/* In a sentence about values; what is new of it is in `arena`. */
struct view secrets_hide_said(const struct conf_views *secrets, struct arena *arena,
			      struct view text);

/* The same of a sentence about a value with a secret in it: nor anything that it quotes. */
struct view secrets_hide_quoted(const struct conf_views *secrets, struct arena *arena,
				struct view text);

#endif
