/* SPDX-License-Identifier: MIT */
/* Cookie fields (RFC 6265): one cookie found, or taken out. */
#include "weir/http/cookie.h"

#include <string.h>

static struct view unquoted(struct view v)
{
	if (v.len >= 2 && v.ptr[0] == '"' && v.ptr[v.len - 1] == '"')
		return view_of(v.ptr + 1, v.len - 2);
	return v;
}

static bool split_pair(struct view pair, struct cookie *cookie)
{
	ptrdiff_t equals = view_chr(pair, '=');
	if (equals <= 0)
		return false;
	cookie->pair = pair;
	cookie->name = view_trim(view_head(pair, (size_t)equals));
	cookie->value = unquoted(view_trim(view_skip(pair, (size_t)equals + 1)));
	return cookie->name.len > 0;
}

/* What stands before the next semicolon, as it is; `rest` goes behind it. */
static struct view next_piece(struct view *rest)
{
	ptrdiff_t semicolon = view_chr(*rest, ';');
	size_t n = semicolon < 0 ? rest->len : (size_t)semicolon;
	struct view piece = view_head(*rest, n);
	*rest = view_skip(*rest, n + 1);
	return piece;
}

bool cookie_next(struct view *rest, struct cookie *cookie)
{
	while (rest->len)
		if (split_pair(view_trim(next_piece(rest)), cookie))
			return true;
	return false;
}

size_t cookie_without(struct view field, struct view name, char *out)
{
	struct cookie cookie;
	size_t len = 0;
	while (field.len) {
		struct view piece = next_piece(&field), pair = view_trim(piece);
		if (!pair.len || (split_pair(pair, &cookie) && view_eq(cookie.name, name)))
			continue;
		if (len)
			out[len++] = ';';
		else
			piece = pair; /* nothing stands before it any more */
		memcpy(out + len, piece.ptr, piece.len);
		len += piece.len;
	}
	return len;
}

bool cookie_set(struct view field, struct cookie *cookie)
{
	return split_pair(view_trim(next_piece(&field)), cookie);
}
