/* SPDX-License-Identifier: MIT */
/*
 * What HTTP allows in names and values that a configuration writes into
 * messages (RFC 9110 section 5).  conf may not include http/.
 */
#ifndef WEIR_CONF_HTTP_H
#define WEIR_CONF_HTTP_H

#include "decode.h"

bool http_is_token(struct view v);
/* No control bytes but tab: it can never end a line of a head. */
bool http_is_value(struct view v);

#define HTTP_TOKEN_PATTERN "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"
#define HTTP_VALUE_PATTERN "^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f]*$"

/* These report. */
bool http_check_token(struct decoder *d, const struct node *node);
bool http_check_value(struct decoder *d, const struct node *node);

#endif
