/* SPDX-License-Identifier: MIT */
/* Points in time as the API gives them. */
#ifndef WEIR_CTL_STAMP_H
#define WEIR_CTL_STAMP_H

#include <jansson.h>

#include "weir/base/str.h"

/* Local date and time; text that is no RFC 3339 stamp comes out as it is. */
void put_stamp(struct str *out, const json_t *at);

#endif
