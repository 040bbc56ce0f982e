/* SPDX-License-Identifier: MIT */
/*
 * A growing byte string for building text: answers, diagnostics, log lines.
 *
 *   struct str s = STR_INIT;              // grows on the heap
 *   str_printf(&s, "%d backends", n);
 *   write(fd, s.ptr, s.len);
 *   str_fini(&s);
 *
 * or over memory of the caller, which never grows:
 *
 *   char room[256];
 *   struct str s = str_fixed(room, sizeof(room));
 *
 * What does not fit (fixed room, heap exhausted) is left out and `overflow` is
 * set; nothing is ever written past the end.  The bytes are always terminated.
 */
#ifndef WEIR_BASE_STR_H
#define WEIR_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "weir/base/defs.h"
#include "weir/base/view.h"

struct str {
	char *ptr; /* owns, unless fixed */
	size_t len;
	size_t cap;
	bool fixed;
	bool overflow;
};

#define STR_INIT ((struct str){NULL, 0, 0, false, false})

static inline struct str str_fixed(char *room, size_t size)
{
	room[0] = '\0';
	return (struct str){room, 0, size, true, false};
}

void str_fini(struct str *s);
static inline void str_reset(struct str *s)
{
	s->len = 0;
	s->overflow = false;
	if (s->ptr)
		s->ptr[0] = '\0';
}

/* Makes room for `n` more bytes and a terminator; false when it cannot. */
bool str_reserve(struct str *s, size_t n);

/* When it does not fit as it is. */
void str_put_more(struct str *s, const void *ptr, size_t len);
/* Answers of the API are made of millions of short pieces. */
static inline void str_put(struct str *s, const void *ptr, size_t len)
{
	if (unlikely(!len || len >= s->cap - s->len)) {
		str_put_more(s, ptr, len);
		return;
	}
	memcpy(s->ptr + s->len, ptr, len);
	s->len += len;
	s->ptr[s->len] = '\0';
}
void str_printf(struct str *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void str_vprintf(struct str *s, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void str_u64(struct str *s, uint64_t n);

/* The digits of n, without a terminator; their end comes back. */
#define DIGITS_U64 20 /* at most */
char *digits_u64(char *to, uint64_t n);
/* Microseconds as seconds: "12.345678". */
#define DIGITS_SECONDS (DIGITS_U64 + 1)
char *digits_seconds(char *to, uint64_t us);

static inline void str_view(struct str *s, struct view v)
{
	str_put(s, v.ptr, v.len);
}
static inline void str_text(struct str *s, const char *text)
{
	str_view(s, view_str(text));
}
static inline void str_char(struct str *s, char c)
{
	str_put(s, &c, 1);
}
static inline struct view str_as_view(const struct str *s)
{
	return view_of(s->ptr ? s->ptr : "", s->len);
}

#endif
