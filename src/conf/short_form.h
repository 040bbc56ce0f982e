/* SPDX-License-Identifier: MIT */
/* What was most likely meant by a value where a map or a list is due (short_forms.def). */
#ifndef WEIR_CONF_SHORT_FORM_H
#define WEIR_CONF_SHORT_FORM_H

#include "weir/base/arena.h"
#include "weir/base/view.h"

/* "did you mean 'health: {path: /up}'?", of the arena; NULL: nobody knows. */
const char *short_form_hint(struct arena *arena, const char *path, struct view value);

#endif
