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

/* The name of a field that may be edited. */
bool http_check_edited(struct decoder *d, const struct node *node);
#define HTTP_EDITED_PATTERN                                                                  \
	"^(?!([Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]|"                        \
	"[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-[Ee][Nn][Cc][Oo][Dd][Ii][Nn][Gg]|"                 \
	"([Pp][Rr][Oo][Xx][Yy]-)?[Cc][Oo][Nn][Nn][Ee][Cc][Tt][Ii][Oo][Nn]|[Hh][Oo][Ss][Tt]|" \
	"[Kk][Ee][Ee][Pp]-[Aa][Ll][Ii][Vv][Ee]|[Tt][Ee]|[Tt][Rr][Aa][Ii][Ll][Ee][Rr]|"       \
	"[Uu][Pp][Gg][Rr][Aa][Dd][Ee])$)[-!#$%&'*+.^_`|~0-9A-Za-z]+$"

#endif
