/* SPDX-License-Identifier: MIT */
/*
 * A view is a borrowed run of bytes: pointer and length, no terminator, no
 * ownership.  It is valid as long as whatever it points into.
 *
 *   struct view host = view_trim(hdr->value);
 *   if (view_ieq(host, VIEW("example.com"))) ...
 *   printf(VIEW_FMT "\n", VIEW_ARG(host));
 */
#ifndef WEIR_BASE_VIEW_H
#define WEIR_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct view {
	const char *ptr;
	size_t len;
};

#define VIEW(lit) ((struct view){(lit), sizeof(lit) - 1})
#define VIEW_NONE ((struct view){NULL, 0})
#define VIEW_FMT "%.*s"
#define VIEW_ARG(v) (int)(v).len, (v).ptr ? (v).ptr : ""

static inline struct view view_of(const char *ptr, size_t len)
{
	return (struct view){ptr, len};
}

/* From a terminated string; NULL gives the empty view. */
static inline struct view view_str(const char *s)
{
	return (struct view){s, s ? strlen(s) : 0};
}

static inline bool view_is_empty(struct view v)
{
	return v.len == 0;
}

static inline bool view_eq(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline char char_lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static inline bool char_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Equal without regard to ASCII case. */
bool view_ieq(struct view a, struct view b);
bool view_starts(struct view v, struct view prefix);
bool view_istarts(struct view v, struct view prefix);
bool view_ends(struct view v, struct view suffix);

/* Index of the first `c`, or -1. */
ptrdiff_t view_chr(struct view v, char c);

/* Without leading and trailing space and tab (the OWS of RFC 9110). */
struct view view_trim(struct view v);

static inline struct view view_skip(struct view v, size_t n)
{
	if (n >= v.len) /* no arithmetic on the NULL of an empty view */
		return (struct view){v.len ? v.ptr + v.len : v.ptr, 0};
	return (struct view){v.ptr + n, v.len - n};
}

static inline struct view view_head(struct view v, size_t n)
{
	return (struct view){v.ptr, n < v.len ? n : v.len};
}

/*
 * Next element of a comma separated list (RFC 9110 5.6.1), trimmed; empty
 * elements are skipped.  `rest` shrinks.  False at the end.  Quotes are not
 * looked at: use it for token lists only.
 */
bool view_next_token(struct view *rest, struct view *token);

/* A copy on the heap with a NUL behind it, which the caller owns; there is memory for it. */
struct view view_own(struct view v);
/* Frees it, and leaves VIEW_NONE. */
void view_disown(struct view *v);

/* Order by bytes, shorter first on a tie; for sorting. */
int view_cmp(struct view a, struct view b);

#endif
