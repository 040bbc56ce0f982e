/* SPDX-License-Identifier: MIT */
/* What a listener refuses or drops: NUL and encoded separators in paths, underscores in names. */
#include "weir/route/strict.h"

#include "normalise.h"
#include "weir/base/hex.h"
#include "weir/http/field.h"

/* ---- paths ---- */

/* The byte that "%XX" at p stands for, or -1. */
static int decoded(const char *p, const char *end)
{
	if (end - p < 3 || hex_value(p[1]) < 0 || hex_value(p[2]) < 0)
		return -1;
	return hex_value(p[1]) << 4 | hex_value(p[2]);
}

static enum reject path_verdict(struct view path, bool refuses_slash)
{
	const char *end = path.ptr + path.len;
	for (const char *p = path.ptr; p < end; p++) {
		int byte = *p == '%' ? decoded(p, end) : *p == '\\' ? '\\' : -1;
		if (byte == 0)
			return REJECT_NUL_IN_PATH;
		if (refuses_slash && (byte == '/' || byte == '\\'))
			return REJECT_ENCODED_SLASH;
	}
	return REJECT_NONE;
}

/* ---- names ---- */

/* Would CGI take it for a field that weir knows by its id? */
static bool resembles_known(struct view name)
{
	for (unsigned id = HDR_OTHER + 1; id < HDR_N; id++)
		if (field_same(name, hdr_name((enum hdr_id)id)))
			return true;
	return false;
}

static void pass(struct message *msg)
{
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *h = &msg->headers[i];
		if (!h->drop || view_chr(h->name, '_') < 0 || field_traits(h) ||
		    resembles_known(h->name))
			continue;
		h->drop = false;
		msg->n_underscore--;
	}
}

enum reject strict_fields(enum conf_underscores underscores, struct message *msg)
{
	if (likely(msg->n_underscore == 0) || underscores == CONF_UNDERSCORES_DROP)
		return REJECT_NONE;
	if (underscores == CONF_UNDERSCORES_REFUSE)
		return REJECT_UNDERSCORE;
	pass(msg);
	return REJECT_NONE;
}

/* ---- both ---- */

enum reject strict_request(const struct conf_listener *conf, struct message *msg)
{
	const struct view all = msg->path;
	if (unlikely(memchr(all.ptr, '%', all.len) || memchr(all.ptr, '\\', all.len))) {
		struct view path, query;
		target_split(all, &path, &query);
		enum reject why = path_verdict(path, conf->encoded_slash == CONF_SLASH_REFUSE);
		if (why != REJECT_NONE)
			return why;
	}
	return strict_fields(conf->underscores, msg);
}
