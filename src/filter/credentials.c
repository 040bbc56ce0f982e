/* SPDX-License-Identifier: MIT */
/* "Basic" and the base64 of "name:password" (RFC 7617), read strictly. */
#include "weir/filter/passwords.h"

#include "weir/base/base64.h"

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
	ptrdiff_t len = base64_read(view_trim(view_skip(value, scheme.len)), BASE64_PADDED,
				    out->room, sizeof(out->room));
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
