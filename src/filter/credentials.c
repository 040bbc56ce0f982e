/* SPDX-License-Identifier: MIT */
/* "Basic" and the base64 of "name:password" (RFC 7617), read strictly. */
#include "weir/filter/passwords.h"

#include "weir/base/base64.h"

/* Padded; the bits that are left over are 0.  -1: malformed, or too long. */
static ptrdiff_t decode(struct view v, char *out, size_t cap)
{
	size_t n = 0;
	uint32_t bits = 0;
	unsigned n_bits = 0;
	if (v.len % 4)
		return -1;
	for (unsigned pad = 0; pad < 2 && view_ends(v, VIEW("=")); pad++)
		v.len--;
	for (size_t i = 0; i < v.len; i++) {
		int d = base64_digit(v.ptr[i], '+', '/');
		if (d < 0)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		n_bits += 6;
		if (n_bits < 8)
			continue;
		n_bits -= 8;
		if (n == cap)
			return -1;
		out[n++] = (char)(bits >> n_bits);
		bits &= (1u << n_bits) - 1;
	}
	return bits || n_bits >= 6 ? -1 : (ptrdiff_t)n;
}

/* Neither has control characters; a NUL would end the password early. */
static bool is_clean(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] < 0x20 || v.ptr[i] == 0x7f)
			return false;
	return true;
}

static bool parse(struct view value, struct credentials *out)
{
	const struct view scheme = VIEW("Basic ");
	if (!view_istarts(value, scheme))
		return false;
	ptrdiff_t len =
	    decode(view_trim(view_skip(value, scheme.len)), out->room, sizeof(out->room));
	if (len < 0)
		return false;
	struct view text = view_of(out->room, (size_t)len);
	ptrdiff_t colon = view_chr(text, ':');
	if (colon < 0 || !is_clean(text))
		return false;
	out->name = view_head(text, (size_t)colon);
	out->password = view_skip(text, (size_t)colon + 1);
	return out->name.len <= USER_NAME_MAX && out->password.len <= PASSWORD_MAX;
}

bool credentials_of(const struct message *msg, struct credentials *out)
{
	const struct header *found = NULL;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		const struct header *h = &msg->headers[i];
		if (h->id != HDR_AUTHORIZATION || h->drop)
			continue;
		if (found)
			return false;
		found = h;
	}
	return found && parse(found->value, out);
}
