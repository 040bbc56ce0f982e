/* SPDX-License-Identifier: MIT */
/* The text commands of HAProxy's stats socket on ours; dialect.c says why. */
#ifndef WEIR_ADMIN_DIALECT_H
#define WEIR_ADMIN_DIALECT_H

#include "api.h"

/* Whether a client's first bytes are such a command and no HTTP. */
bool dialect_is_spoken(struct view in);

/*
 * Answers one line, commands parted by semicolons.  True: more lines may follow
 * (*prompts, which the command `prompt` sets); false: the answer is the last.
 */
bool dialect_run(struct api *api, struct view line, bool *prompts, struct str *out);

#endif
