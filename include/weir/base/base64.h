/* SPDX-License-Identifier: MIT */
/* Base64 (RFC 4648) is read here, strictly: one text for each value. */
#ifndef WEIR_BASE_BASE64_H
#define WEIR_BASE_BASE64_H

#include "weir/base/str.h"

enum base64_form {
	BASE64_PADDED, /* section 4: + and /, filled up with = */
	BASE64_URL,    /* section 5, for names of files and URLs: - and _, nothing behind it */
};

static inline int base64_digit(char c, enum base64_form form)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (char_is_digit(c))
		return c - '0' + 52;
	return c == (form == BASE64_URL ? '-' : '+')   ? 62
	       : c == (form == BASE64_URL ? '_' : '/') ? 63
						       : -1;
}

/* Into `out`, which may be where the text is; how many bytes, -1: malformed, or more than `cap`.
 * Inline, since pins are read on the way of a request. */
static inline ptrdiff_t base64_read(struct view text, enum base64_form form, char *out, size_t cap)
{
	size_t n = 0;
	uint32_t bits = 0;
	unsigned n_bits = 0;
	if (form == BASE64_PADDED && text.len % 4)
		return -1;
	for (unsigned pad = 0; form == BASE64_PADDED && pad < 2 && view_ends(text, VIEW("="));
	     pad++)
		text.len--;
	for (size_t i = 0; i < text.len; i++) {
		int digit = base64_digit(text.ptr[i], form);
		if (digit < 0)
			return -1;
		bits = bits << 6 | (uint32_t)digit;
		n_bits += 6;
		if (n_bits < 8)
			continue;
		n_bits -= 8;
		if (n == cap)
			return -1;
		out[n++] = (char)(bits >> n_bits);
		bits &= (1u << n_bits) - 1;
	}
	return bits || n_bits >= 6 ? -1 : (ptrdiff_t)n;
}

/* The digits of `bytes`, without padding. */
void base64_put(struct str *out, struct view bytes, char d62, char d63);

#endif
