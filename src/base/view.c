/* SPDX-License-Identifier: MIT */
/* Comparing and searching bytes that belong to somebody else. */
#include "weir/base/view.h"

#include <stdlib.h>

#include "weir/base/check.h"

struct view view_own(struct view v)
{
	char *copy = malloc(v.len + 1);
	check(copy != NULL);
	if (v.len)
		memcpy(copy, v.ptr, v.len);
	copy[v.len] = '\0';
	return view_of(copy, v.len);
}

void view_disown(struct view *v)
{
	free((char *)v->ptr);
	*v = VIEW_NONE;
}

bool view_ieq(struct view a, struct view b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (char_lower(a.ptr[i]) != char_lower(b.ptr[i]))
			return false;
	return true;
}

bool view_starts(struct view v, struct view prefix)
{
	return v.len >= prefix.len && view_eq(view_head(v, prefix.len), prefix);
}

bool view_istarts(struct view v, struct view prefix)
{
	return v.len >= prefix.len && view_ieq(view_head(v, prefix.len), prefix);
}

bool view_ends(struct view v, struct view suffix)
{
	return v.len >= suffix.len && view_eq(view_skip(v, v.len - suffix.len), suffix);
}

ptrdiff_t view_chr(struct view v, char c)
{
	const char *p = v.len ? memchr(v.ptr, c, v.len) : NULL;
	return p ? p - v.ptr : -1;
}

struct view view_trim(struct view v)
{
	while (v.len && (v.ptr[0] == ' ' || v.ptr[0] == '\t')) {
		v.ptr++;
		v.len--;
	}
	while (v.len && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == '\t'))
		v.len--;
	return v;
}

bool view_next_token(struct view *rest, struct view *token)
{
	while (rest->len) {
		ptrdiff_t comma = view_chr(*rest, ',');
		size_t n = comma < 0 ? rest->len : (size_t)comma;
		*token = view_trim(view_head(*rest, n));
		*rest = view_skip(*rest, comma < 0 ? n : n + 1);
		if (token->len)
			return true;
	}
	return false;
}

int view_cmp(struct view a, struct view b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
	if (order)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}
