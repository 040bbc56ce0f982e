/* SPDX-License-Identifier: MIT */
/* Values of variables out of the head of a request. */
#include "weir/route/value.h"

#include "weir/http/cookie.h"

static struct view header_value(const struct message *msg, struct view name)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].drop != HEADER_DROPPED && view_ieq(msg->headers[i].name, name))
			return msg->headers[i].value;
	return VIEW_NONE;
}

struct view value_of_cookie(const struct message *msg, struct view name)
{
	struct cookie cookie;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct view rest = msg->headers[i].value;
		if (msg->headers[i].id != HDR_COOKIE || msg->headers[i].drop == HEADER_DROPPED)
			continue;
		while (cookie_next(&rest, &cookie))
			if (view_eq(cookie.name, name))
				return cookie.value;
	}
	return VIEW_NONE;
}

static struct view number(unsigned n, char room[EXPAND_ROOM])
{
	return view_of(room, (size_t)(digits_u64(room, n) - room));
}

static struct view host_of(const struct message *msg)
{
	struct view host;
	uint16_t port;
	return authority_split(msg->authority, &host, &port) ? host : VIEW_NONE;
}

static struct view port_of(const struct value_head *head, char room[EXPAND_ROOM])
{
	struct view host;
	uint16_t port = 0;
	if (!authority_split(head->msg->authority, &host, &port))
		return VIEW_NONE;
	if (!port)
		port = view_eq(head->scheme, VIEW("https")) ? 443 : 80;
	return number(port, room);
}

static struct view client_port(const struct addr *client, char room[EXPAND_ROOM])
{
	bool has_port = client->len && !addr_is_unix(client) && addr_port(client);
	return has_port ? number(addr_port(client), room) : VIEW_NONE;
}

struct view value_of_head(const struct value_head *head, const struct variable *v,
			  char room[EXPAND_ROOM])
{
	const struct message *msg = head->msg;
	struct view path, query;
	_Static_assert(EXPAND_ROOM >= ADDR_IP_TEXT_MAX, "an address fits");
	target_split(msg->path, &path, &query);
	switch (v->id) {
	case VARIABLE_client:
		return view_of(room, addr_format_ip(head->client, room));
	case VARIABLE_client_port:
		return client_port(head->client, room);
	case VARIABLE_scheme:
		return head->scheme;
	case VARIABLE_host:
		return host_of(msg);
	case VARIABLE_port:
		return port_of(head, room);
	case VARIABLE_uri:
		return msg->path;
	case VARIABLE_path:
		return path;
	case VARIABLE_query:
		return query;
	case VARIABLE_method:
		return msg->method_text;
	case VARIABLE_header:
		return header_value(msg, v->name);
	case VARIABLE_cookie:
		return value_of_cookie(msg, v->name);
	case VARIABLE_group:
		return route_group(head->scratch, v->group);
	default:
		return VIEW_NONE;
	}
}
