/* SPDX-License-Identifier: MIT */
/* Texts in YAML, so that every reader, of YAML 1.1 or 1.2, takes a text for a text. */
#ifndef WEIR_BASE_YAML_H
#define WEIR_BASE_YAML_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/str.h"
#include "weir/base/view.h"

/* What may stand in a file as it is (YAML 1.2.2 section 5.1), line ends apart. */
bool yaml_is_printable(uint32_t code);
/* In quotes where there is a doubt. */
void yaml_put_text(struct str *out, struct view text);

#endif
