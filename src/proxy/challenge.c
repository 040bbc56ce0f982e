/* SPDX-License-Identifier: MIT */
/* The question of an authority told from other requests, and its answer. */
#include "challenge.h"

/* Tokens have 128 bits at least, in base64; what is much longer is none. */
#define TOKEN_MAX 256

static const struct view prefix = {"/.well-known/acme-challenge/", 28};

bool challenge_asks(const struct message *msg)
{
	return view_starts(msg->path, prefix);
}

/* The alphabet of base64 for URLs and nothing else: what is sent back is no HTML. */
static bool is_token(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		char c = v.ptr[i], lower = char_lower(c);
		if (!(lower >= 'a' && lower <= 'z') && !char_is_digit(c) && c != '-' && c != '_')
			return false;
	}
	return v.len > 0 && v.len <= TOKEN_MAX;
}

static bool is_of(struct view guest, struct view token)
{
	return view_starts(guest, token) && guest.len > token.len && guest.ptr[token.len] == '.';
}

bool challenge_answer(const struct message *msg, struct view thumbprint, struct view guest,
		      struct str *out)
{
	struct view token = view_skip(msg->path, prefix.len);
	if (!is_token(token) || (msg->method != METHOD_GET && msg->method != METHOD_HEAD))
		return false;
	if (is_of(guest, token))
		str_view(out, guest);
	else
		str_printf(out, VIEW_FMT "." VIEW_FMT, VIEW_ARG(token), VIEW_ARG(thumbprint));
	return !out->overflow;
}
