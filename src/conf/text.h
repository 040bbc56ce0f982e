/* SPDX-License-Identifier: MIT */
/*
 * Unicode as YAML 1.2 has it: which bytes a file may hold at all.
 */
#ifndef WEIR_CONF_TEXT_H
#define WEIR_CONF_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "report.h"
#include "weir/base/view.h"

/* Length of the first character of v (not empty), or 0 when it is not UTF-8. */
unsigned text_char(struct view v, uint32_t *code);
/* Reports the first byte that no YAML file may hold; true when there is none.
 * `option`: the text is that option's argument, not a file; else NULL. */
bool text_check(struct report *r, struct view text, const char *option);

#endif
