/* SPDX-License-Identifier: MIT */
/* Conditions of a route beside host and path. */
#include "condition.h"

#include "normalise.h"

#include "weir/base/hex.h"

static bool method_holds(const struct conf_views *methods, struct view method)
{
	for (size_t i = 0; i < methods->n; i++)
		if (view_eq(methods->rows[i], method)) /* methods have case, RFC 9110 9.1 */
			return true;
	return methods->n == 0;
}

static bool header_holds(const struct conf_pair *want, const struct message *msg)
{
	bool any = view_eq(want->value, VIEW("*"));
	for (uint32_t i = 0; msg && i < msg->n_headers; i++) {
		const struct header *h = &msg->headers[i];
		if (!h->drop && view_ieq(h->name, want->name) &&
		    (any || view_eq(h->value, want->value)))
			return true;
	}
	return false;
}

/* The next byte of v with %XX decoded; a '%' that begins no such thing is itself. */
static int next_byte(struct view *v)
{
	const char *p = v->ptr;
	if (p[0] == '%' && v->len > 2 && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
		*v = view_skip(*v, 3);
		return hex_value(p[1]) << 4 | hex_value(p[2]);
	}
	*v = view_skip(*v, 1);
	return (unsigned char)p[0];
}

static bool decoded_eq(struct view a, struct view b)
{
	while (a.len && b.len)
		if (next_byte(&a) != next_byte(&b))
			return false;
	return a.len == b.len;
}

/* Any argument of that name; "a" without '=' has the empty value. */
static bool argument_holds(const struct conf_pair *want, struct view query)
{
	bool any = view_eq(want->value, VIEW("*"));
	while (query.len) {
		ptrdiff_t end = view_chr(query, '&');
		struct view pair = end < 0 ? query : view_head(query, (size_t)end);
		query = view_skip(query, pair.len + 1);
		ptrdiff_t eq = view_chr(pair, '=');
		struct view name = eq < 0 ? pair : view_head(pair, (size_t)eq);
		struct view value = view_skip(pair, eq < 0 ? pair.len : (size_t)eq + 1);
		if (pair.len && decoded_eq(name, want->name) &&
		    (any || decoded_eq(value, want->value)))
			return true;
	}
	return false;
}

bool conditions_hold(const struct conf_route *route, const struct route_request *req,
		     struct view query)
{
	if (!method_holds(&route->match.method, req->method))
		return false;
	for (size_t i = 0; i < route->match.header.n; i++)
		if (!header_holds(&route->match.header.rows[i], req->msg))
			return false;
	for (size_t i = 0; i < route->match.query.n; i++)
		if (!argument_holds(&route->match.query.rows[i], query))
			return false;
	const struct conf_cidrs *nets = &route->match.client;
	return nets->n == 0 || (req->client && cidr_any(nets->rows, nets->n, req->client));
}
