/* SPDX-License-Identifier: MIT */
/* What of a request tells clients apart, taken out of its head. */
#include "weir/route/source.h"

#include <string.h>

#include "normalise.h"
#include "weir/route/value.h"

/* The network part of an IPv6 address: what lies below is the client's to choose. */
#define V6_PREFIX 8

/* IPv4 as text, as other proxies hash it; empty for a unix socket. */
static struct view client_text(const struct addr *peer, char out[ADDR_IP_TEXT_MAX])
{
	if (!peer->len || addr_is_unix(peer))
		return VIEW_NONE;
	if (peer->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&peer->in6.sin6_addr)) {
		memcpy(out, &peer->in6.sin6_addr, V6_PREFIX);
		return view_of(out, V6_PREFIX);
	}
	return view_of(out, addr_format_ip(peer, out));
}

static struct view host_text(struct view authority, char out[SOURCE_ROOM])
{
	struct view host;
	uint16_t port;
	if (!authority_split(authority, &host, &port) || host.len > SOURCE_ROOM)
		return authority;
	for (size_t i = 0; i < host.len; i++)
		out[i] = char_lower(host.ptr[i]);
	return view_of(out, host.len);
}

/*
 * Decoded, as the backend will: else whoever writes the same in another way is another one.
 * What has been encoded and is longer than the room is nobody's.
 */
static struct view query_text(struct view query, struct view name, char room[SOURCE_ROOM])
{
	while (query.len) {
		ptrdiff_t end = view_chr(query, '&');
		struct view pair = end < 0 ? query : view_head(query, (size_t)end);
		ptrdiff_t eq = view_chr(pair, '=');
		query = view_skip(query, pair.len + 1);
		if (eq < 0 || !argument_eq(view_head(pair, (size_t)eq), name))
			continue;
		struct view value = view_skip(pair, (size_t)eq + 1);
		if (view_chr(value, '%') < 0 && view_chr(value, '+') < 0)
			return value;
		return value.len > SOURCE_ROOM ? VIEW_NONE : argument_decode(value, room);
	}
	return VIEW_NONE;
}

/* The form in which routes compare it, for the same reason. */
static struct view path_text(struct view path, char room[SOURCE_ROOM])
{
	if (likely(path_is_normal(path)))
		return path;
	return path.len > SOURCE_ROOM ? VIEW_NONE : path_normalise(path, room);
}

static struct view header_text(struct message *msg, struct view name)
{
	const struct header *h = message_find_name(msg, name);
	return h ? h->value : VIEW_NONE;
}

struct view source_text(enum conf_hash_on on, struct view name, const struct addr *peer,
			struct message *msg, char room[SOURCE_ROOM])
{
	struct view path, query;
	_Static_assert(SOURCE_ROOM >= ADDR_IP_TEXT_MAX, "one room for both");
	target_split(msg->path, &path, &query);
	switch (on) {
	case CONF_HASH_CLIENT_IP:
		return client_text(peer, room);
	case CONF_HASH_PATH:
		return path_text(path, room);
	case CONF_HASH_URI:
		return msg->path;
	case CONF_HASH_HOST:
		return host_text(msg->authority, room);
	case CONF_HASH_HEADER:
		return header_text(msg, name);
	case CONF_HASH_COOKIE:
		return value_of_cookie(msg, name);
	case CONF_HASH_QUERY:
		return query_text(query, name, room);
	}
	return VIEW_NONE;
}

struct view source_uri(const struct message *msg, char room[SOURCE_ROOM])
{
	struct view path, query;
	target_split(msg->path, &path, &query);
	if (path_is_normal(path) && view_chr(query, '%') < 0 && view_chr(query, '+') < 0)
		return query.len ? msg->path : path;
	if (msg->path.len > SOURCE_ROOM)
		return VIEW_NONE;
	struct view normal = path_normalise(path, room);
	if (!query.len || normal.ptr != room)
		return normal;
	size_t len = normal.len;
	room[len++] = '?';
	return view_of(room, len + query_normalise(query, room + len).len);
}
