/* SPDX-License-Identifier: MIT */
/*
 * The header table: known names, look-up, and which fields end at this hop.
 * The hash of names is filled from headers.def before main: a row is all it
 * takes to know a field.
 */
#include "weir/http/message.h"

#include "header_id.h"
#include "weir/base/check.h"
#include "weir/base/defs.h"
#include "weir/http/field.h"

const struct view hdr_names[HDR_N] = {
#define HEADER(id, name, traits) [HDR_##id] = {(name), sizeof(name) - 1},
#include "weir/tbl/headers.def"
#undef HEADER
};
uint8_t hdr_slots[HDR_SLOTS];
_Static_assert(HDR_N <= 64, "sets of header ids are 64-bit masks");

__attribute__((constructor)) static void fill_slots(void)
{
	for (unsigned id = HDR_OTHER + 1; id < HDR_N; id++) {
		unsigned i = hdr_slot(hdr_names[id].ptr, hdr_names[id].len);
		while (hdr_slots[i] != HDR_OTHER)
			i = (i + 1) % HDR_SLOTS;
		hdr_slots[i] = (uint8_t)id;
	}
}

struct view hdr_name(enum hdr_id id)
{
	check(id < HDR_N);
	return hdr_names[id];
}

enum hdr_id hdr_lookup(struct view name)
{
	if (view_is_empty(name))
		return HDR_OTHER;
	enum hdr_id id = hdr_of_token(name);
	/* this name need not be a token: compare once more, exactly */
	return id != HDR_OTHER && view_ieq(name, hdr_names[id]) ? id : HDR_OTHER;
}

enum method method_of(struct view v)
{
	static const struct {
		struct view name;
		enum method method;
	} methods[] = {
	    {VIEW("POST"), METHOD_POST},       {VIEW("HEAD"), METHOD_HEAD},
	    {VIEW("PUT"), METHOD_PUT},         {VIEW("DELETE"), METHOD_DELETE},
	    {VIEW("OPTIONS"), METHOD_OPTIONS}, {VIEW("PATCH"), METHOD_PATCH},
	    {VIEW("TRACE"), METHOD_TRACE},     {VIEW("CONNECT"), METHOD_CONNECT},
	};
	if (likely(view_eq(v, VIEW("GET"))))
		return METHOD_GET;
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (view_eq(v, methods[i].name))
			return methods[i].method;
	return METHOD_OTHER;
}

bool method_is_idempotent(enum method method)
{
	switch (method) {
	case METHOD_GET:
	case METHOD_HEAD:
	case METHOD_PUT:
	case METHOD_DELETE:
	case METHOD_OPTIONS:
	case METHOD_TRACE:
		return true;
	case METHOD_OTHER:
	case METHOD_POST:
	case METHOD_PATCH:
	case METHOD_CONNECT:
		break;
	}
	return false;
}

struct header *message_find(struct message *msg, enum hdr_id id)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == id && !msg->headers[i].drop)
			return &msg->headers[i];
	return NULL;
}

struct header *message_find_name(struct message *msg, struct view name)
{
	enum hdr_id id = hdr_lookup(name);
	if (id != HDR_OTHER)
		return message_find(msg, id);
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *hdr = &msg->headers[i];
		if (hdr->id == HDR_OTHER && !hdr->drop && view_ieq(hdr->name, name))
			return hdr;
	}
	return NULL;
}

bool message_load_report(struct message *msg, struct view *value)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *h = &msg->headers[i];
		if (!view_istarts(h->name, VIEW("endpoint-load-metrics")))
			continue;
		*value = h->value;
		h->drop = true;
		n++;
	}
	return n == 1;
}

/* ---- fields of this hop ---- */

static const uint64_t hop_fields = 0
#define HEADER(id, name, traits) | ((traits) & FIELD_HOP ? HDR_BIT(id) : 0)
#include "weir/tbl/headers.def"
#undef HEADER
    ;

static void drop_named(struct message *msg, struct view name)
{
	enum hdr_id id = hdr_lookup(name);
	unsigned traits = field_traits_of(id, name);
	if (traits & FIELD_KEPT)
		return;
	msg->names_fields |= !traits && !view_ieq(name, VIEW("close"));
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *hdr = &msg->headers[i];
		if (hdr->id == id && (id != HDR_OTHER || view_ieq(hdr->name, name)))
			hdr->drop = true;
	}
}

/* One Connection value; "keep-alive" and "close" alone, nearly all there are, name nothing. */
static void drop_connection(struct message *msg, struct view value)
{
	if (value_is(value, VIEW("keep-alive")) || value_is(value, VIEW("close")))
		return;
	struct view token;
	while (view_next_token(&value, &token))
		drop_named(msg, token);
}

static NOINLINE void drop_hop(struct message *msg, uint64_t hop)
{
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *hdr = &msg->headers[i];
		if (!(hop >> hdr->id & 1))
			continue;
		hdr->drop = true;
		if (hdr->id == HDR_CONNECTION)
			drop_connection(msg, hdr->value);
	}
}

void message_drop_hop_by_hop(struct message *msg, bool keep_upgrade)
{
	uint64_t hop = hop_fields | (keep_upgrade ? 0 : HDR_BIT(UPGRADE));
	if (msg->ids & hop)
		drop_hop(msg, hop);
}
