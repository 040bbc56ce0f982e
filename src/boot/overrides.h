/* SPDX-License-Identifier: MIT */
/* Private to runtime.c and overrides.c: what was changed at run time, by backend. */
#ifndef WEIR_BOOT_OVERRIDES_H
#define WEIR_BOOT_OVERRIDES_H

#include "control.h"

struct pool_override *override_find(const struct control *control, struct view pool,
				    struct view backend);
/* The override of a backend, made when there is none; NULL when there are too many, or now
 * that another process has been told of those there are. */
struct pool_override *override_get(struct control *control, struct view pool, struct view backend,
				   struct str *why);
void override_free(struct pool_override *o);
/* Frees one that says nothing. */
void override_drop_empty(struct pool_override *o);
/* Another process is about to take over: what it has not been told would be lost. */
bool override_is_frozen(const struct control *control, struct str *why);

#endif
