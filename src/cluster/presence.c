/* SPDX-License-Identifier: MIT */
/* What a node says of itself: written and read. */
#include "presence.h"

#define PRESENCE_VERSION 1
#define NAME_BYTES_MAX 256

void presence_pack(struct str *out, const struct presence *who,
		   const struct pool_registry *registry, size_t max)
{
	struct view pool = VIEW_NONE;
	pack_u64(out, PRESENCE_VERSION);
	pack_view(out, who->name);
	pack_view(out, who->status);
	pack_view(out, who->version);
	list_each (it, &registry->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		const struct history_row *row = b->history ? history_newest(b->history) : NULL;
		if (!row || (row->in_flight <= 0 && !row->requests))
			continue;
		if (out->len + b->pool_name.len + b->address_text.len + 32 > max)
			break;
		/* empty: the pool of the row before */
		pack_view(out, view_eq(pool, b->pool_name) ? VIEW_NONE : b->pool_name);
		pack_view(out, b->address_text);
		pack_u64(out, (uint64_t)(row->in_flight * 1000));
		pack_u64(out, row->requests);
		pool = b->pool_name;
	}
}

bool presence_unpack(struct unpack *in, struct presence *who)
{
	if (unpack_u64(in) != PRESENCE_VERSION)
		return false;
	who->name = unpack_view(in);
	who->status = unpack_view(in);
	who->version = unpack_view(in);
	return !in->bad && who->name.len && who->name.len <= NAME_BYTES_MAX &&
	       who->status.len <= NAME_BYTES_MAX && who->version.len <= NAME_BYTES_MAX;
}

bool presence_next(struct unpack *in, struct presence_row *row)
{
	if (!in->left)
		return false;
	struct view pool = unpack_view(in);
	if (pool.len)
		row->pool = pool;
	row->address = unpack_view(in);
	/* more than any backend can have is damage */
	row->in_flight = (double)unpack_max(in, UINT32_MAX) / 1000;
	row->requests = unpack_max(in, UINT32_MAX);
	return !in->bad && row->pool.len;
}
