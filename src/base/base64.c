/* SPDX-License-Identifier: MIT */
/* Base64 in any of its alphabets. */
#include "weir/base/base64.h"

void base64_put(struct str *out, struct view bytes, char d62, char d63)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	const unsigned char *b = (const unsigned char *)bytes.ptr;
	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
		uint32_t v = (uint32_t)b[i] << 16 | (n > 1 ? (uint32_t)b[i + 1] << 8 : 0) |
			     (n > 2 ? b[i + 2] : 0);
		for (size_t k = 0; k <= n; k++) {
			uint32_t d = v >> (18 - 6 * k) & 63;
			str_char(out, d < 62 ? digits[d] : d == 62 ? d62 : d63);
		}
	}
}
