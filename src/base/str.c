/* SPDX-License-Identifier: MIT */
/* Text that grows, or says that it did not fit. */
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

static unsigned n_digits(uint64_t n)
{
	static const uint64_t powers[] = {1,
					  10,
					  100,
					  1000,
					  10000,
					  100000,
					  1000000,
					  10000000,
					  100000000,
					  1000000000,
					  10000000000,
					  100000000000,
					  1000000000000,
					  10000000000000,
					  100000000000000,
					  1000000000000000,
					  10000000000000000,
					  100000000000000000,
					  1000000000000000000,
					  10000000000000000000u};
	/* bits times log10(2) is the number of digits, or one less */
	unsigned bits = 64 - (unsigned)__builtin_clzll(n | 1), guess = bits * 1233 >> 12;
	return guess + (n >= powers[guess]);
}

/* Two digits for each division: a document of statistics is mostly numbers. */
char *digits_u64(char *to, uint64_t n)
{
	if (n < 10) {
		*to = (char)('0' + n);
		return to + 1;
	}
	char *end = to + n_digits(n), *at = end;
	for (; n >= 100; n /= 100)
		memcpy(at -= 2, pairs + n % 100 * 2, 2);
	if (n >= 10)
		memcpy(to, pairs + n * 2, 2);
	else
		*to = (char)('0' + n);
	return end;
}

char *digits_seconds(char *to, uint64_t us)
{
	char *dot = digits_u64(to, us / 1000000);
	unsigned rest = (unsigned)(us % 1000000);
	*dot = '.';
	memcpy(dot + 1, pairs + rest / 10000 * 2, 2);
	memcpy(dot + 3, pairs + rest / 100 % 100 * 2, 2);
	memcpy(dot + 5, pairs + rest % 100 * 2, 2);
	return dot + 7;
}

void str_u64(struct str *s, uint64_t n)
{
	char digits[DIGITS_U64];
	str_put(s, digits, (size_t)(digits_u64(digits, n) - digits));
}
