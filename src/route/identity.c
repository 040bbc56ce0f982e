/* SPDX-License-Identifier: MIT */
/*
 * Who the client is: what proxies say of it, believed or struck out, before anything looks at it.
 */
#include "weir/route/identity.h"

#include "weir/http/field.h"

/* ---- lists, from the right ---- */

/* The elements of all fields of one name, the last one first. */
struct backward {
	const struct message *msg;
	enum hdr_id id;
	uint32_t i; /* headers not looked at yet */
	struct view rest;
};

static struct backward backward_of(const struct message *msg, enum hdr_id id)
{
	return (struct backward){.msg = msg, .id = id, .i = msg->n_headers};
}

/* The last element of a list that is not empty, taken off. */
static bool take_last(struct view *list, struct view *element)
{
	while (list->len) {
		size_t from = list->len;
		while (from > 0 && list->ptr[from - 1] != ',')
			from--;
		*element = view_trim(view_skip(*list, from));
		*list = view_head(*list, from ? from - 1 : 0);
		if (element->len)
			return true;
	}
	return false;
}

static bool backward_next(struct backward *b, struct view *element)
{
	while (!take_last(&b->rest, element)) {
		do {
			if (b->i == 0)
				return false;
			b->i--;
		} while (b->msg->headers[b->i].id != b->id);
		b->rest = b->msg->headers[b->i].value;
	}
	return true;
}

/* ---- nodes ---- */

/* RFC 7239 6: digits, or hidden ("_x"). */
static bool is_port(struct view port)
{
	bool hidden = port.len > 1 && port.ptr[0] == '_';
	for (size_t i = 0; i < port.len; i++)
		if (!hidden && !char_is_digit(port.ptr[i]))
			return false;
	return port.len > 0 && (hidden || port.len <= 5);
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80". */
static bool node_parse(struct view node, struct addr *out)
{
	ptrdiff_t end = view_chr(node, ']');
	if (node.len && node.ptr[0] == '[')
		end = end < 0 ? end : end + 1;
	else
		end = view_chr(node, ':');
	struct view host = end < 0 ? node : view_head(node, (size_t)end);
	struct view rest = view_skip(node, host.len);
	if (!rest.len)
		return addr_parse_ip(host, out);
	if (rest.ptr[0] == ':' && is_port(view_skip(rest, 1)))
		return addr_parse_ip(host, out);
	return host.ptr[0] != '[' && addr_parse_ip(node, out);
}

/* ---- Forwarded, RFC 7239 4 ---- */

struct element {
	struct view node, proto, host;
};

/* The value behind a '=': a token, or what stands between quotes. */
static bool take_value(struct view *rest, struct view *value)
{
	if (!rest->len || rest->ptr[0] != '"') {
		ptrdiff_t end = view_chr(*rest, ';');
		*value = view_trim(end < 0 ? *rest : view_head(*rest, (size_t)end));
		*rest = view_skip(*rest, end < 0 ? rest->len : (size_t)end);
		return value->len && view_chr(*value, '"') < 0;
	}
	struct view inside = view_skip(*rest, 1);
	ptrdiff_t end = view_chr(inside, '"');
	if (end < 0)
		return false;
	*value = view_head(inside, (size_t)end);
	*rest = view_trim(view_skip(inside, (size_t)end + 1));
	/* nothing of what is read here needs an escape */
	return view_chr(*value, '\\') < 0 && (!rest->len || rest->ptr[0] == ';');
}

/* False when it is malformed or says something twice: then it says nothing. */
static bool element_parse(struct view text, struct element *out)
{
	*out = (struct element){VIEW_NONE, VIEW_NONE, VIEW_NONE};
	while (text.len) {
		ptrdiff_t equals = view_chr(text, '=');
		struct view name = view_trim(view_head(text, equals < 0 ? 0 : (size_t)equals)),
			    value;
		text = view_skip(text, (size_t)equals + 1);
		if (!name.len || !take_value(&text, &value))
			return false;
		struct view *to = view_ieq(name, VIEW("for"))     ? &out->node
				  : view_ieq(name, VIEW("proto")) ? &out->proto
				  : view_ieq(name, VIEW("host"))  ? &out->host
								  : NULL;
		if (to && to->ptr)
			return false;
		if (to)
			*to = value;
		text = view_skip(text, 1);
	}
	return true;
}

/* ---- the client ---- */

/* One node on the way back; true when the one before it is to be asked, too. */
static bool step(struct view node, const struct conf_cidrs *trusted, struct addr *client)
{
	struct addr addr;
	if (!node_parse(node, &addr)) {
		client->len = 0;
		return false;
	}
	*client = addr;
	return cidr_any(trusted->rows, trusted->n, &addr);
}

static void set_scheme(struct identity *who, struct view said)
{
	if (view_ieq(said, VIEW("https")) || view_ieq(said, VIEW("wss")))
		who->scheme = VIEW("https");
	else if (view_ieq(said, VIEW("http")) || view_ieq(said, VIEW("ws")))
		who->scheme = VIEW("http");
}

static void believe_forwarded(struct identity *who, const struct message *msg,
			      const struct conf_cidrs *trusted, struct addr *client)
{
	struct backward b = backward_of(msg, HDR_FORWARDED);
	struct element element;
	struct view text;
	bool go_on = true;
	while (go_on && backward_next(&b, &text)) {
		bool good = element_parse(text, &element);
		go_on = step(good ? element.node : VIEW_NONE, trusted, client);
		who->forwarded = client;
		if (good && element.host.ptr)
			who->host = element.host;
		if (good)
			set_scheme(who, element.proto);
	}
}

/* What the last field of this name says last. */
static struct view last_said(const struct message *msg, struct view name)
{
	struct view said = VIEW_NONE;
	for (uint32_t i = msg->n_headers; i-- > 0;) {
		struct view list = msg->headers[i].value;
		if (msg->headers[i].id == HDR_OTHER && view_ieq(msg->headers[i].name, name) &&
		    take_last(&list, &said))
			break;
	}
	return said;
}

/* Of gateways that have another way to say it. */
static void believe_others(struct identity *who, const struct message *msg)
{
	set_scheme(who, last_said(msg, VIEW("x-forwarded-scheme")));
	if (who->scheme.len)
		return;
	struct view ssl = last_said(msg, VIEW("x-forwarded-ssl"));
	if (view_ieq(ssl, VIEW("on")))
		who->scheme = VIEW("https");
	else if (view_ieq(ssl, VIEW("off")))
		who->scheme = VIEW("http");
}

void identity_believe(struct identity *who, const struct message *msg,
		      const struct conf_cidrs *trusted, struct addr *client)
{
	struct view of_connection = who->scheme;
	who->scheme = VIEW_NONE;
	struct backward nodes = backward_of(msg, HDR_X_FORWARDED_FOR);
	struct backward protos = backward_of(msg, HDR_X_FORWARDED_PROTO);
	struct view node, proto = VIEW_NONE;
	bool said = backward_next(&nodes, &node);
	bool more = backward_next(&protos, &proto);
	if (!said)
		believe_forwarded(who, msg, trusted, client);
	/* a list of schemes has one for each node; a lone one is for all */
	while (said && step(node, trusted, client) && backward_next(&nodes, &node))
		more = more && backward_next(&protos, &proto);
	set_scheme(who, proto);
	if (!who->scheme.len)
		believe_others(who, msg);
	if (!who->scheme.len)
		who->scheme = of_connection;
}

/* ---- what the backend is told ---- */

static void add(struct message *msg, enum hdr_id id, struct view name, struct view value)
{
	msg->headers[msg->n_headers++] =
	    (struct header){.name = name, .value = value, .id = (uint8_t)id};
}

/* All that a trusted peer said in order, then the peer itself. */
static struct view joined_for(const struct identity *who, const struct message *msg,
			      struct str *room)
{
	const size_t from = room->len;
	char ip[ADDR_IP_TEXT_MAX];
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		if (msg->headers[i].id != HDR_X_FORWARDED_FOR || !msg->headers[i].value.len)
			continue;
		str_view(room, msg->headers[i].value);
		str_text(room, ", ");
	}
	if (who->forwarded) {
		str_view(room, view_of(ip, addr_format_ip(who->forwarded, ip)));
		str_text(room, ", ");
	}
	str_view(room, who->peer_ip);
	return view_of(room->ptr + from, room->len - from);
}

/* Forwarded goes on with an element for the peer. */
static struct view own_element(const struct identity *who, struct str *room)
{
	const size_t from = room->len;
	bool v6 = view_chr(who->peer_ip, ':') >= 0;
	str_printf(room, v6 ? "for=\"[" VIEW_FMT "]\"" : "for=" VIEW_FMT,
		   VIEW_ARG(view_eq(who->peer_ip, VIEW("unix")) ? VIEW("unknown") : who->peer_ip));
	return view_of(room->ptr + from, room->len - from);
}

/* Fields of FIELD_PEER; those that are not known by their id begin with an x. */
static const uint64_t peer_fields = HDR_BIT(OTHER)
#define HEADER(id, name, traits) | ((traits) & FIELD_PEER ? HDR_BIT(id) : 0)
#include "weir/tbl/headers.def"
#undef HEADER
    ;

/* What has been said by who may say it. */
struct claims {
	bool xff, proto, xfh, forwarded;
};

static void look_at(const struct identity *who, struct header *h, struct claims *claims)
{
	switch (h->id) {
	case HDR_OTHER:
		if (likely((h->name.ptr[0] | 0x20) != 'x') || !(field_traits(h) & FIELD_PEER))
			return;
		h->drop |= !who->trusted;
		return;
	case HDR_X_FORWARDED_FOR:
		claims->xff = true;
		h->drop = true; /* written anew */
		return;
	case HDR_X_FORWARDED_PROTO:
		claims->proto = true;
		break;
	case HDR_X_FORWARDED_HOST:
		claims->xfh = true;
		break;
	case HDR_FORWARDED:
		claims->forwarded = true;
		break;
	case HDR_X_CLIENT_CERT_SUBJECT:
	case HDR_X_CLIENT_CERT_FINGERPRINT:
		h->drop |= who->subject.ptr != NULL;
		break;
	default:
		if (!(peer_fields >> h->id & 1))
			return;
	}
	h->drop |= !who->trusted;
}

/* Absolute form: its authority is the Host (RFC 9112 3.2.2); HTTP/2 and HTTP/1.0 may lack it. */
static void claim_host(struct message *msg)
{
	struct header *host = message_find(msg, HDR_HOST);
	if (!host) {
		add(msg, HDR_HOST, VIEW("Host"), msg->authority);
	} else if (unlikely(!view_eq(host->value, msg->authority))) {
		host->value = msg->authority;
		host->line_len = 0;
	}
}

static void claim_scheme(const struct identity *who, struct message *msg)
{
	static const char http[] = "X-Forwarded-Proto: http\r\n",
			  https[] = "X-Forwarded-Proto: https\r\n";
	static const struct header rows[] = {
	    HEADER_OF_LINE(X_FORWARDED_PROTO, http, 17),
	    HEADER_OF_LINE(X_FORWARDED_PROTO, https, 17),
	};
	msg->headers[msg->n_headers++] = rows[who->scheme.len == 5];
}

static void claim_rest(const struct identity *who, struct message *msg, struct str *room,
		       const struct claims *claims)
{
	bool told = unlikely(who->trusted) && (claims->xff || who->forwarded);
	add(msg, HDR_X_FORWARDED_FOR, VIEW("X-Forwarded-For"),
	    told ? joined_for(who, msg, room) : who->peer_ip);
	if (unlikely(who->subject.ptr != NULL)) {
		add(msg, HDR_X_CLIENT_CERT_SUBJECT, VIEW("X-Client-Cert-Subject"), who->subject);
		add(msg, HDR_X_CLIENT_CERT_FINGERPRINT, VIEW("X-Client-Cert-Fingerprint"),
		    who->fingerprint);
	}
	if (likely(!who->trusted || !claims->proto))
		claim_scheme(who, msg);
	if (likely(!who->trusted || !claims->xfh) && (who->host.len || msg->authority.len))
		add(msg, HDR_X_FORWARDED_HOST, VIEW("X-Forwarded-Host"),
		    who->host.len ? who->host : msg->authority);
	if (unlikely(who->trusted && claims->forwarded))
		add(msg, HDR_FORWARDED, VIEW("Forwarded"), own_element(who, room));
}

void identity_claim(const struct identity *who, struct message *msg, bool upgrade, struct str *room)
{
	struct claims claims = {0};
	message_drop_hop_by_hop(msg, upgrade);
	for (uint32_t i = 0; (msg->ids & peer_fields) && i < msg->n_headers; i++)
		look_at(who, &msg->headers[i], &claims);
	claim_host(msg);
	claim_rest(who, msg, room, &claims);
	if (unlikely(upgrade))
		add(msg, HDR_CONNECTION, VIEW("Connection"), VIEW("upgrade"));
}
