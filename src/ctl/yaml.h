/* SPDX-License-Identifier: MIT */
/* JSON shown as the YAML that weir's configuration is written in. */
#ifndef WEIR_CTL_YAML_H
#define WEIR_CTL_YAML_H

#include <jansson.h>

#include "weir/base/str.h"

/* Block style, members in their order, text quoted where it must be. */
void put_yaml(struct str *out, const json_t *value);

#endif
