/* SPDX-License-Identifier: MIT */
/* What weir knows of field names: which belong to a connection, to weir, to nobody. */
#include "weir/http/field.h"

#include "weir/base/defs.h"

static const uint8_t traits_of[HDR_N] = {
#define HEADER(id, name, traits) [HDR_##id] = (traits),
#include "weir/tbl/headers.def"
#undef HEADER
};

static const struct {
	struct view prefix;
	uint8_t traits;
} families[] = {
    {VIEW("x-forwarded-"), FIELD_KEPT | FIELD_HEAD | FIELD_PEER},
    {VIEW("x-client-cert-"), FIELD_KEPT | FIELD_HEAD | FIELD_PEER},
};

/* A byte of a name as CGI sees it. */
static inline char fold(char c)
{
	return c == '_' ? '-' : char_lower(c);
}

bool field_same(struct view a, struct view b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (fold(a.ptr[i]) != fold(b.ptr[i]))
			return false;
	return true;
}

unsigned field_traits_of(enum hdr_id id, struct view name)
{
	if (id != HDR_OTHER)
		return traits_of[id];
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		if (field_same(view_head(name, families[i].prefix.len), families[i].prefix))
			return families[i].traits;
	return 0;
}

static bool is_among(struct view name, const struct view *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (field_same(name, names[i]))
			return true;
	return false;
}

bool field_is_of_request(struct view name)
{
	static const struct view names[] = {
	    VIEW("Content-Length"),
	    VIEW("Transfer-Encoding"),
	    VIEW("Content-Encoding"),
	    VIEW("Expect"),
	    VIEW("Connection"),
	    VIEW("Upgrade"),
	    VIEW("Range"),
	    VIEW("If-Range"),
	    VIEW("If-Match"),
	    VIEW("If-None-Match"),
	    VIEW("If-Modified-Since"),
	    VIEW("If-Unmodified-Since"),
	    VIEW("X-Forwarded-Method"),
	    VIEW("X-Forwarded-Uri"),
	};
	return is_among(name, names, ARRAY_LEN(names));
}

bool field_is_for_client(const struct header *field)
{
	static const struct view names[] = {
	    VIEW("Location"),         VIEW("Set-Cookie"),       VIEW("WWW-Authenticate"),
	    VIEW("Content-Type"),     VIEW("Retry-After"),      VIEW("Cache-Control"),
	    VIEW("Content-Encoding"), VIEW("Content-Language"),
	};
	return !field->drop && is_among(field->name, names, ARRAY_LEN(names));
}

void field_drop(struct message *msg, struct view name)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (field_same(msg->headers[i].name, name))
			msg->headers[i].drop = true;
}

void field_edit(struct message *msg, struct view name)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (!msg->headers[i].drop && field_same(msg->headers[i].name, name))
			msg->headers[i].drop = HEADER_EDITED;
}
