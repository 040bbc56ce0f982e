/* SPDX-License-Identifier: MIT */
/* The digits of base64 (RFC 4648).  How strictly a text is read is its reader's affair. */
#ifndef WEIR_BASE_BASE64_H
#define WEIR_BASE_BASE64_H

#include "weir/base/str.h"

/* The value of a digit, -1: it is none.  The last two are + and / (section 4), or, in names of
 * files and in URLs, - and _ (section 5). */
static inline int base64_digit(char c, char d62, char d63)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (char_is_digit(c))
		return c - '0' + 52;
	return c == d62 ? 62 : c == d63 ? 63 : -1;
}

/* The digits of `bytes`, without padding. */
void base64_put(struct str *out, struct view bytes, char d62, char d63);

#endif
