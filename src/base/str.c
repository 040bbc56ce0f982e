/* SPDX-License-Identifier: MIT */
#include "weir/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void str_fini(struct str *s)
{
	if (!s->fixed)
		free(s->ptr);
	*s = STR_INIT;
}

bool str_reserve(struct str *s, size_t n)
{
	size_t need = s->len + n + 1;
	if (n > SIZE_MAX / 4) /* cap must not wrap on its way up */
		goto overflow;
	if (need <= s->cap)
		return true;
	if (s->fixed)
		goto overflow;
	size_t cap = s->cap ? s->cap : 128;
	while (cap < need)
		cap *= 2;
	char *p = realloc(s->ptr, cap);
	if (!p)
		goto overflow;
	s->ptr = p;
	s->cap = cap;
	return true;
overflow:
	s->overflow = true;
	return false;
}

void str_put_more(struct str *s, const void *ptr, size_t len)
{
	if (len == 0 && s->ptr)
		return;
	if (!str_reserve(s, len)) {
		if (!s->fixed || s->cap <= s->len + 1)
			return;
		len = s->cap - s->len - 1;
	}
	if (len)
		memcpy(s->ptr + s->len, ptr, len);
	s->len += len;
	s->ptr[s->len] = '\0';
}

void str_vprintf(struct str *s, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	size_t room = s->cap > s->len ? s->cap - s->len : 0;
	int n = vsnprintf(room ? s->ptr + s->len : NULL, room, fmt, ap);
	if (n > 0 && (size_t)n >= room) {
		if (str_reserve(s, (size_t)n))
			vsnprintf(s->ptr + s->len, s->cap - s->len, fmt, again);
		else
			n = room ? (int)room - 1 : 0;
	}
	va_end(again);
	if (n > 0)
		s->len += (size_t)n;
}

void str_printf(struct str *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(s, fmt, ap);
	va_end(ap);
}

/* "00" to "99" */
static const char pairs[] = "0001020304050607080910111213141516171819"
			    "2021222324252627282930313233343536373839"
			    "4041424344454647484950515253545556575859"
			    "6061626364656667686970717273747576777879"
			    "8081828384858687888990919293949596979899";

/* Two digits for each division: a document of statistics is mostly numbers. */
char *digits_u64(char *to, uint64_t n)
{
	char digits[DIGITS_U64];
	size_t i = sizeof(digits);
	while (n >= 10) {
		i -= 2;
		memcpy(digits + i, pairs + n % 100 * 2, 2);
		n /= 100;
	}
	if (n || i == sizeof(digits)) /* an odd one in front, or nothing but 0 */
		digits[--i] = (char)('0' + n);
	memcpy(to, digits + i, sizeof(digits) - i);
	return to + sizeof(digits) - i;
}

void str_u64(struct str *s, uint64_t n)
{
	char digits[DIGITS_U64];
	str_put(s, digits, (size_t)(digits_u64(digits, n) - digits));
}
