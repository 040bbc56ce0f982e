/* SPDX-License-Identifier: MIT */
/*
 * Addresses and networks.
 */
#include <arpa/inet.h>

#include "type.h"
#include "weir/base/addr.h"
#include "weir/base/parse.h"
#include "weir/base/url.h"

/* "unix:x.sock" is a file name too. */
static struct view absolute_text(struct decoder *d, struct view text)
{
	if (!view_starts(text, VIEW("unix:")) || text.len == 5)
		return arena_view(d->arena, text);
	struct view path = decode_path(d, view_skip(text, 5));
	return view_str(arena_printf(d->arena, "unix:" VIEW_FMT, VIEW_ARG(path)));
}

static bool has_control(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] < 0x20 || v.ptr[i] == 0x7f)
			return true;
	return false;
}

static bool is_name(struct view v)
{
	bool letters = false;
	for (size_t i = 0; i < v.len; i++) {
		char c = char_lower(v.ptr[i]);
		letters |= c >= 'a' && c <= 'z';
		if (!(c >= 'a' && c <= 'z') && !char_is_digit(c) && c != '.' && c != '-' &&
		    c != '_')
			return false;
	}
	return letters;
}

static bool is_port(struct view v)
{
	uint64_t n;
	return parse_u64(v, &n) && n <= UINT16_MAX;
}

/* What was meant, as far as one can guess; NULL: one cannot. */
static const char *address_hint(struct decoder *d, struct view v)
{
	struct addr ip;
	ptrdiff_t slashes = view_chr(v, '/'), colon = view_chr(v, ':');
	if (slashes > 0 && v.ptr[slashes - 1] == ':') /* a URL: what is between its slashes */
		return arena_printf(d->arena, "an address stands alone, without '" VIEW_FMT "//'%s",
				    VIEW_ARG(view_head(v, (size_t)slashes)),
				    view_starts(v, VIEW("https:")) ? "; TLS is the key 'tls'" : "");
	if (view_starts(v, VIEW("/")) || view_starts(v, VIEW("./")))
		return arena_printf(d->arena, "did you mean 'unix:" VIEW_FMT "'?", VIEW_ARG(v));
	if (is_port(v) || (colon == 0 && is_port(view_skip(v, 1))))
		return arena_printf(d->arena, "did you mean '127.0.0.1:" VIEW_FMT "'?",
				    VIEW_ARG(colon == 0 ? view_skip(v, 1) : v));
	if (addr_parse_ip(v, &ip))
		return "a port is missing";
	return NULL;
}

/* Where names mean nothing. */
static const char *name_hint(struct decoder *d, struct view v)
{
	ptrdiff_t colon = view_chr(v, ':');
	struct view host = view_head(v, colon < 0 ? v.len : (size_t)colon);
	if (view_ieq(host, VIEW("localhost")))
		return arena_printf(d->arena,
				    "names are not looked up here: write '127.0.0.1" VIEW_FMT "'",
				    VIEW_ARG(view_skip(v, host.len)));
	if (is_name(host))
		return arena_printf(
		    d->arena,
		    "names are not looked up here: write the address that 'getent hosts " VIEW_FMT
		    "' shows",
		    VIEW_ARG(host));
	return NULL;
}

static void no_address(struct decoder *d, const struct node *node)
{
	const char *hint = address_hint(d, node->text);
	decode_error_hint(d, node, hint ? hint : name_hint(d, node->text),
			  "'" VIEW_FMT
			  "' is no address such as 10.0.0.1:8000, [::1]:8000 or unix:/path",
			  VIEW_ARG(node->text));
}

static bool read_address(struct decoder *d, const struct row *row, const struct node *node,
			 struct addr *addr, struct view *text)
{
	bool ok = false;
	if (!want_scalar(d, row, node))
		return false;
	*text = absolute_text(d, node->text);
	if (view_starts(*text, VIEW("unix:")) && text->len - 5 >= sizeof(addr->un.sun_path))
		decode_error(d, node, "the path of a unix socket has at most %zu bytes, not %zu",
			     sizeof(addr->un.sun_path) - 1, text->len - 5);
	else if (has_control(*text) || !addr_parse(*text, addr))
		no_address(d, node);
	else if (!addr_is_unix(addr) && addr_port(addr) < row->min)
		decode_error(d, node, "the port must not be 0");
	else
		ok = true;
	if (ok && addr_is_unix(addr))
		warn_of_shell(d, node, view_skip(node->text, 5));
	return ok;
}

static void address_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct addr addr;
	struct view text;
	if (!read_address(d, row, node, &addr, &text))
		return;
	*(struct addr *)member_of(row, base) = addr;
	*(struct view *)(void *)((char *)base + row->aux) = text;
}

static struct node *address_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct view *text = (const void *)((const char *)base + row->aux);
	return text->ptr ? node_scalar(e->arena, NODE_TEXT, *text) : NULL;
}

#define ADDRESS_PATTERN \
	"^((\\*|[0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}|unix:[^\\u0000-\\u001f\\u007f]+)$"

static void address_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, ADDRESS_PATTERN);
}

const struct conf_type conf_type_address = {
    .syntax = "an address such as 10.0.0.1:8000",
    .decode = address_decode,
    .encode = address_encode,
    .schema = address_schema,
};

/* ---- an address, or a name and its port ---- */

/* The port behind the last colon; the name before it goes to *name. */
static bool split_name(struct view v, struct view *name, uint64_t *port)
{
	size_t colon = v.len;
	while (colon && v.ptr[colon - 1] != ':')
		colon--;
	*name = view_head(v, colon ? colon - 1 : v.len);
	return colon && parse_u64(view_skip(v, colon), port) && *port <= UINT16_MAX;
}

/* Its last label has a letter: 10.0.0.300 is a mistake, not a name. */
static bool is_host_name(struct view v)
{
	size_t dot = v.len;
	if (!url_is_host(v))
		return false;
	while (dot && v.ptr[dot - 1] != '.')
		dot--;
	return is_name(view_skip(v, dot));
}

/* True when it is a name; what is wrong with it is reported. */
static bool read_name(struct decoder *d, const struct row *row, const struct node *node)
{
	struct view name;
	uint64_t port = 0;
	bool has_port = split_name(node->text, &name, &port);
	if (!is_host_name(has_port ? name : node->text))
		return false;
	if (!has_port)
		decode_error_hint(
		    d, node,
		    arena_printf(d->arena, "did you mean '" VIEW_FMT ":80'?", VIEW_ARG(node->text)),
		    "'" VIEW_FMT "' has no port", VIEW_ARG(node->text));
	else if (port < row->min)
		decode_error(d, node, "the port must not be 0");
#ifndef WEIR_DNS
	else
		decode_error(d, node,
			     "'" VIEW_FMT
			     "' is a name: this weir was built without c-ares and looks "
			     "none up",
			     VIEW_ARG(node->text));
#endif
	return true;
}

static void place_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct view *text = (void *)((char *)base + row->aux);
	if (want_scalar(d, row, node) && read_name(d, row, node))
		*text = arena_view(d->arena, node->text);
	else if (node->kind == NODE_SCALAR && !node_is_null(node))
		address_decode(d, row, node, base);
}

static void place_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, "^([0-9.]+:[0-9]{1,5}|\\[[0-9A-Fa-f:.]+\\]:[0-9]{1,5}|"
			  "([A-Za-z0-9_-]+\\.)*[0-9_-]*[A-Za-z][A-Za-z0-9_-]*:[0-9]{1,5}|"
			  "unix:[^\\u0000-\\u001f\\u007f]+)$");
}

const struct conf_type conf_type_place = {
    .syntax = "an address such as 10.0.0.1:8000, or a name such as app.internal:8000",
    .decode = place_decode,
    .encode = address_encode,
    .schema = place_schema,
};

/* ---- one or several: {struct addr *, struct view *, n} ---- */

static void addresses_decode(struct decoder *d, const struct row *row, struct node *node,
			     void *base)
{
	struct conf_listener *listener = base;
	struct node_item one = {.value = node};
	const struct node_item *it = node->kind == NODE_LIST ? node->items : &one;
	size_t n = node->kind == NODE_LIST ? node->n : 1;
	if (n == 0)
		decode_error(d, node, "'" VIEW_FMT "' is empty", VIEW_ARG(row_key(row)));
	listener->binds = arena_array(d->arena, n, sizeof(*listener->binds));
	listener->bind_texts = arena_array(d->arena, n, sizeof(*listener->bind_texts));
	for (; it; it = it->next) {
		size_t i = listener->n_binds;
		listener->n_binds +=
		    read_address(d, row, it->value, &listener->binds[i], &listener->bind_texts[i]);
	}
}

static struct node *addresses_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_listener *listener = base;
	struct node *list = node_list(e->arena);
	(void)row;
	for (size_t i = 0; i < listener->n_binds; i++)
		node_add(e->arena, list, node_scalar(e->arena, NODE_TEXT, listener->bind_texts[i]));
	return list->n == 1 ? list->items->value : list;
}

static void one_or_list_schema(struct json *j, const char *pattern, bool may_be_empty)
{
	json_key(j, "anyOf");
	json_array_begin(j);
	json_object_begin(j);
	schema_pattern(j, pattern);
	json_object_end(j);
	json_object_begin(j);
	schema_type(j, "array");
	if (!may_be_empty)
		json_member_u64(j, "minItems", 1);
	json_key(j, "items");
	json_object_begin(j);
	schema_pattern(j, pattern);
	json_object_end(j);
	json_object_end(j);
	json_array_end(j);
}

static void addresses_schema(struct json *j, const struct row *row)
{
	(void)row;
	one_or_list_schema(j, ADDRESS_PATTERN, false);
}

const struct conf_type conf_type_addresses = {
    .syntax = "an address such as 0.0.0.0:80, or a list",
    .decode = addresses_decode,
    .encode = addresses_encode,
    .schema = addresses_schema,
};

/* ---- networks: struct conf_cidrs ---- */

static void networks_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_cidrs *nets = member_of(row, base);
	struct node_item one = {.value = node};
	const struct node_item *it = node->kind == NODE_LIST ? node->items : &one;
	nets->rows =
	    arena_array(d->arena, node->kind == NODE_LIST ? node->n : 1, sizeof(*nets->rows));
	if (!it && !row->def)
		decode_error(d, node, "'" VIEW_FMT "' is empty", VIEW_ARG(row_key(row)));
	for (; it; it = it->next) {
		if (!want_scalar(d, row, it->value))
			continue;
		if (cidr_parse(it->value->text, &nets->rows[nets->n]))
			nets->n++;
		else
			decode_error(d, it->value,
				     "'" VIEW_FMT "' is no network such as 10.0.0.0/8 or fd00::/8",
				     VIEW_ARG(it->value->text));
	}
}

static struct node *network_node(struct encoder *e, const struct cidr *net)
{
	static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
	char ip[INET6_ADDRSTRLEN] = "";
	bool is_v4 = net->bits >= 96 && memcmp(net->ip, v4, sizeof(v4)) == 0;
	inet_ntop(is_v4 ? AF_INET : AF_INET6, net->ip + (is_v4 ? 12 : 0), ip, sizeof(ip));
	return node_printf(e->arena, NODE_TEXT, "%s/%u", ip, net->bits - (is_v4 ? 96u : 0u));
}

static struct node *networks_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_cidrs *nets = member_in(row, base);
	struct node *list = node_list(e->arena);
	for (size_t i = 0; i < nets->n; i++)
		node_add(e->arena, list, network_node(e, &nets->rows[i]));
	return nets->n || row->def ? list : NULL;
}

static void networks_schema(struct json *j, const struct row *row)
{
	one_or_list_schema(j, "^\\[?[0-9A-Fa-f:.]+\\]?(/[0-9]{1,3})?$", row->def != NULL);
}

const struct conf_type conf_type_networks = {
    .syntax = "a network such as 10.0.0.0/8, or a list",
    .decode = networks_decode,
    .encode = networks_encode,
    .schema = networks_schema,
};
