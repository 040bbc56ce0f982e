/* SPDX-License-Identifier: MIT */
/* Text of strangers, made harmless for terminals and log viewers; UTF-8. */
#include "weir/base/text.h"

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

unsigned utf8_code_point(const char *text, size_t len)
{
	static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	unsigned c = (unsigned char)text[0] & lead[len];
	for (size_t i = 1; i < len; i++)
		c = c << 6 | ((unsigned char)text[i] & 0x3f);
	return c;
}

static bool is_hostile(unsigned c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) ||      /* C0, DEL, C1 */
	       c == 0x061c || c == 0x200e || c == 0x200f || /* marks of direction */
	       (c >= 0x2028 && c <= 0x202e) ||              /* separators, embeddings, overrides */
	       (c >= 0x2066 && c <= 0x206f); /* isolates, deprecated shaping controls */
}

size_t text_harmless_len(const char *text, size_t n)
{
	size_t len = utf8_len(text, n);
	return len && is_hostile(utf8_code_point(text, len)) ? 0 : len;
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
