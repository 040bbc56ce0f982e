/* SPDX-License-Identifier: MIT */
#include "weir/base/text.h"

#include <stdint.h>
#include <string.h>

size_t utf8_len(const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned char c = p[0];
	size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
	if (len == 0 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) ||
	    (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

/* Of a sequence of two or three bytes; no longer one is hostile. */
static bool is_hostile(const unsigned char *p, size_t len)
{
	if (len == 2) {
		unsigned c = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
		return c <= 0x9f || c == 0x061c; /* C1; Arabic letter mark */
	}
	unsigned c = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	return c == 0x200e || c == 0x200f ||   /* marks */
	       (c >= 0x2028 && c <= 0x202e) || /* separators, embeddings, overrides */
	       (c >= 0x2066 && c <= 0x206f);   /* isolates, deprecated shaping controls */
}

size_t text_harmless_len(const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t len = utf8_len(text, n);
	if (len == 1)
		return p[0] >= 0x20 && p[0] != 0x7f;
	return (len == 2 || len == 3) && is_hostile(p, len) ? 0 : len;
}

size_t text_clean(char *text, size_t len, const char *allowed)
{
	size_t out = 0;
	for (size_t i = 0, n; i < len; i += n) {
		n = text_harmless_len(text + i, len - i);
		if (n || (text[i] && strchr(allowed, text[i]))) {
			n = n ? n : 1;
			memmove(text + out, text + i, n);
			out += n;
		} else {
			n = utf8_len(text + i, len - i);
			n = n ? n : 1;
			text[out++] = '?';
		}
	}
	return out;
}
