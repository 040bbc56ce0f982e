/* SPDX-License-Identifier: MIT */
/*
 * Texts: one struct view each.  The types differ only in what they refuse.
 */
#include "http.h"
#include "text.h"
#include "type.h"
#include "weir/base/addr.h"
#include "weir/base/parse.h"
#include "weir/base/url.h"
#include "weir/base/yaml.h"

#define NAME_MAX_LEN 255
#define REALM_MAX 200

/* A null is a text only when it is quoted. */
static void text_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (!want_scalar(d, row, node))
		return;
	if (row->max && node->text.len > row->max) {
		decode_error(d, node, "'" VIEW_FMT "' has %zu bytes; it may have %llu",
			     VIEW_ARG(row_key(row)), node->text.len, (unsigned long long)row->max);
		return;
	}
	if (row->type->has_variables)
		decode_template(d, row->type, node, member_of(row, base));
	else if (!row->type->check_text || row->type->check_text(d, node))
		*(struct view *)member_of(row, base) = arena_view(d->arena, node->text);
}

static struct node *text_encode(struct encoder *e, const struct row *row, const void *base)
{
	struct view v = *(const struct view *)member_in(row, base);
	if (v.ptr && row->type->has_variables)
		v = conf_text_source(member_in(row, base), row->type->dollars, e->arena);
	return v.ptr ? node_scalar(e->arena, NODE_TEXT, v) : NULL;
}

/* YAML readers make numbers and booleans of some texts. */
static void any_scalar_schema(struct json *j)
{
	json_key(j, "type");
	json_array_begin(j);
	json_text(j, "string");
	json_text(j, "number");
	json_text(j, "boolean");
	json_array_end(j);
}

static void text_schema(struct json *j, const struct row *row)
{
	if (!row->type->pattern) {
		any_scalar_schema(j);
		return;
	}
	any_scalar_schema(j);
	json_member_text(j, "pattern", row->type->pattern);
}

/* What all of them have. */
#define TEXT .decode = text_decode, .encode = text_encode, .schema = text_schema

const struct conf_type conf_type_text = {
    .syntax = "text",
    TEXT,
    .secret = SECRET_VALUE,
};

const struct conf_type conf_type_body = {
    .syntax = "text",
    TEXT,
    .secret = SECRET_VALUE,
    .has_variables = true,
    .until = VARIABLE_ROUTE,
};

/* ---- words ---- */

static bool check_scheme(struct decoder *d, const struct node *node)
{
	if (node_is_text(node, "http") || node_is_text(node, "https"))
		return true;
	not_a_word(d, node, "http|https");
	return false;
}

const struct conf_type conf_type_scheme = {
    .syntax = "http or https",
    TEXT,
    .check_text = check_scheme,
    .pattern = "^https?$",
};

/* ---- one line ---- */

static bool is_line(struct view v)
{
	while (v.len) {
		uint32_t code;
		unsigned len = text_char(v, &code);
		if (!len || !yaml_is_printable(code) || code == '\t')
			return false;
		v = view_skip(v, len);
	}
	return true;
}

static bool check_line(struct decoder *d, const struct node *node)
{
	if (is_line(node->text))
		return true;
	decode_error(d, node, "line ends and control characters are not allowed here");
	return false;
}

#define LINE_PATTERN "^[^\\u0000-\\u001f\\u007f]*$"

const struct conf_type conf_type_line = {
    .syntax = "text",
    TEXT,
    .check_text = check_line,
    .pattern = LINE_PATTERN,
};

static bool check_realm(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	if (v.len && v.len <= REALM_MAX && is_line(v) && view_chr(v, '"') < 0 &&
	    view_chr(v, '\\') < 0)
		return true;
	decode_error(d, node, "a realm has 1 to %d bytes without control characters, '\"' and '\\'",
		     REALM_MAX);
	return false;
}

const struct conf_type conf_type_realm = {
    .syntax = "text",
    TEXT,
    .check_text = check_realm,
    .pattern = "^[^\\u0000-\\u001f\\u007f\"\\\\\\\\]+$",
};

static bool check_name(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	if (!check_line(d, node))
		return false;
	if (v.len > 0 && v.len <= NAME_MAX_LEN && v.ptr[0] != ' ' && v.ptr[v.len - 1] != ' ')
		return true;
	decode_error(d, node, "a name has 1 to %d bytes and neither begins nor ends with a space",
		     NAME_MAX_LEN);
	return false;
}

const struct conf_type conf_type_name = {
    .syntax = "a name",
    TEXT,
    .check_text = check_name,
    .pattern = "^[^\\u0000-\\u0020\\u007f]([^\\u0000-\\u001f\\u007f]*[^\\u0000-\\u0020\\u007f])?$",
};

const struct conf_type conf_type_header_name = {
    .syntax = "the name of a header field",
    TEXT,
    .check_text = http_check_token,
    .pattern = HTTP_TOKEN_PATTERN,
};

/* ---- addresses of mail ---- */

/* One address, which goes into a mailto: (RFC 8555 7.3 allows no list and no header fields). */
static bool check_email(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	ptrdiff_t at = view_chr(v, '@');
	bool ok = at > 0 && url_is_host(view_skip(v, (size_t)at + 1));
	for (ptrdiff_t i = 0; ok && i < at; i++)
		ok = v.ptr[i] > ' ' && v.ptr[i] < 0x7f && !strchr("\"'(),:;<>?&[]\\%", v.ptr[i]);
	if (!ok)
		decode_error(d, node, "'" VIEW_FMT "' is no address such as ops@example.com",
			     VIEW_ARG(v));
	return ok;
}

const struct conf_type conf_type_email = {
    .syntax = "an address such as ops@example.com",
    TEXT,
    .check_text = check_email,
    .pattern = "^[!#$*+./0-9=A-Z^_`a-z{|}~-]+@([A-Za-z0-9_-]+\\.)*[A-Za-z0-9_-]+$",
};

/* ---- files ---- */

static bool check_file(struct decoder *d, const struct node *node)
{
	if (node->text.len && is_line(node->text))
		return true;
	decode_error(d, node, "'" VIEW_FMT "' is no file name", VIEW_ARG(node->text));
	return false;
}

void warn_of_shell(struct decoder *d, const struct node *node, struct view v)
{
	if (view_starts(v, VIEW("~")))
		decode_warning(d, node,
			       "'~' is no home directory here: the path is taken as it is, below "
			       "the directory of this file");
	else if (view_chr(v, '$') >= 0)
		decode_warning(d, node, "'$' stands for nothing here: the path is taken as it is");
}

static void file_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (want_scalar(d, row, node) && check_file(d, node)) {
		warn_of_shell(d, node, node->text);
		*(struct view *)member_of(row, base) = decode_path(d, node->text);
	}
}

const struct conf_type conf_type_file = {
    .syntax = "a file name",
    .decode = file_decode,
    .encode = text_encode,
    .schema = text_schema,
    .pattern = "^[^\\u0000-\\u001f\\u007f]+$",
};

static void socket_file_decode(struct decoder *d, const struct row *row, struct node *node,
			       void *base)
{
	if (!node_is_text(node, "off"))
		file_decode(d, row, node, base);
}

static struct node *socket_file_encode(struct encoder *e, const struct row *row, const void *base)
{
	struct view v = *(const struct view *)member_in(row, base);
	return node_scalar(e->arena, v.len ? NODE_TEXT : NODE_WORD, v.len ? v : VIEW("off"));
}

const struct conf_type conf_type_socket_file = {
    .syntax = "off or a file name",
    .decode = socket_file_decode,
    .encode = socket_file_encode,
    .schema = text_schema,
    .pattern = "^[^\\u0000-\\u001f\\u007f]+$",
};

static bool is_output_word(struct view v)
{
	return view_eq(v, VIEW("off")) || view_eq(v, VIEW("stdout")) || view_eq(v, VIEW("syslog"));
}

static void output_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (node->kind == NODE_SCALAR && is_output_word(node->text))
		*(struct view *)member_of(row, base) = arena_view(d->arena, node->text);
	else
		file_decode(d, row, node, base);
}

static struct node *output_encode(struct encoder *e, const struct row *row, const void *base)
{
	struct view v = *(const struct view *)member_in(row, base);
	return node_scalar(e->arena, is_output_word(v) ? NODE_WORD : NODE_TEXT, v);
}

const struct conf_type conf_type_output = {
    .syntax = "off, stdout, syslog or a file name",
    .decode = output_decode,
    .encode = output_encode,
    .schema = text_schema,
    .pattern = "^[^\\u0000-\\u001f\\u007f]+$",
};

/* ---- paths and hosts of requests ---- */

/* As others write all that is below; here it would be a path that nobody asks for. */
static bool is_glob(struct view path)
{
	return path.len >= 2 && view_eq(view_skip(path, path.len - 2), VIEW("/*"));
}

static bool check_path(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	if (!view_starts(v, VIEW("/"))) {
		decode_error(d, node, "a path must start with '/'");
		return false;
	}
	if (is_glob(v)) {
		decode_error(d, node,
			     "'*' stands for itself in a path: '" VIEW_FMT
			     "' is that and all below it, and path_regex takes patterns",
			     VIEW_ARG(v.len > 2 ? view_head(v, v.len - 2) : VIEW("/")));
		return false;
	}
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (c > 0x20 && c != 0x7f && c != '?' && c != '#')
			continue;
		if (c == '?' || c == '#')
			decode_error(d, node,
				     "a path ends before '%c'; match the rest with 'query'", c);
		else
			decode_error(d, node, "a path holds no spaces or control bytes");
		return false;
	}
	return true;
}

const struct conf_type conf_type_path = {
    .syntax = "a path",
    TEXT,
    .check_text = check_path,
    .pattern = "^/(?!([^?#]*/)?\\*$)[^\\u0000-\\u0020?#\\u007f]*$",
};

/* _service._proto.name (RFC 2782), as the name of SRV records. */
static bool check_service_name(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	ptrdiff_t dot = view_chr(v, '.');
	if (!url_is_host(v) || !view_starts(v, VIEW("_")) || dot < 2 ||
	    !view_starts(view_skip(v, (size_t)dot + 1), VIEW("_"))) {
		decode_error(d, node,
			     "'" VIEW_FMT "' is no service such as _http._tcp.app.internal",
			     VIEW_ARG(v));
		return false;
	}
#ifndef WEIR_DNS
	decode_error(d, node, "'srv': this weir was built without c-ares and looks no names up");
	return false;
#endif
	return true;
}

const struct conf_type conf_type_service_name = {
    .syntax = "a service such as _http._tcp.app.internal",
    TEXT,
    .check_text = check_service_name,
    .pattern = "^_[A-Za-z0-9_-]+\\._[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)+$",
};

static bool check_regex(struct decoder *d, const struct node *node)
{
	if (node->text.len)
		return true;
	decode_error(d, node, "the regular expression is empty");
	return false;
}

const struct conf_type conf_type_regex = {
    .syntax = "a regular expression",
    TEXT,
    .check_text = check_regex,
    .pattern = "^(.|\\n)+$",
    .secret = SECRET_VALUE,
};

/* It goes into a request line: nothing may end it early. */
static bool check_replacement(struct decoder *d, const struct node *node)
{
	if (is_line(node->text) && view_chr(node->text, '#') < 0)
		return true;
	decode_error(d, node, "a path holds no '#' and no control characters");
	return false;
}

const struct conf_type conf_type_replacement = {
    .syntax = "a path with groups such as $1",
    TEXT,
    .check_text = check_replacement,
    .pattern = "^[^\\u0000-\\u001f#\\u007f]*$",
    .secret = SECRET_QUERY,
    .has_variables = true,
    .until = VARIABLE_POOL,
    .dollars = true,
};

/* host, host:port, [v6], [v6]:port */
static bool is_authority(struct view v)
{
	struct addr addr;
	size_t colon = v.len;
	while (colon && char_is_digit(v.ptr[colon - 1]))
		colon--;
	if (colon && colon < v.len && v.ptr[colon - 1] == ':') {
		uint64_t port;
		if (!parse_u64(view_skip(v, colon), &port) || port > 65535)
			return false;
		v = view_head(v, colon - 1);
	}
	if (view_starts(v, VIEW("[")))
		return addr_parse_ip(v, &addr) && addr.sa.sa_family == AF_INET6;
	return url_is_host(v);
}

static bool check_authority(struct decoder *d, const struct node *node)
{
	if (is_authority(node->text))
		return true;
	decode_error(d, node, "'" VIEW_FMT "' is no host name", VIEW_ARG(node->text));
	return false;
}

const struct conf_type conf_type_authority = {
    .syntax = "a host name",
    TEXT,
    .check_text = check_authority,
    .pattern = "^[][A-Za-z0-9._:-]+$",
};

const struct conf_type conf_type_rewritten_host = {
    .syntax = "a host name",
    TEXT,
    .check_text = check_authority,
    .pattern = "^([][A-Za-z0-9._:-]|\\{[^{}]+\\})+$",
    .has_variables = true,
    .until = VARIABLE_POOL,
};

/* ---- redirects ---- */

static bool check_redirect(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	bool ok = v.len > 0;
	for (size_t i = 0; i < v.len; i++)
		ok = ok && (unsigned char)v.ptr[i] > 0x20 && (unsigned char)v.ptr[i] < 0x7f;
	if (!ok)
		decode_error(d, node,
			     "'" VIEW_FMT
			     "' is no URL; spaces and characters beyond ASCII are written as "
			     "%%20 and the like",
			     VIEW_ARG(v));
	return ok;
}

const struct conf_type conf_type_redirect = {
    .syntax = "a URL",
    TEXT,
    .check_text = check_redirect,
    .pattern = "^[!-~]+$",
    .secret = SECRET_QUERY,
    .has_variables = true,
    .until = VARIABLE_ROUTE,
};

/* ---- what weir itself asks for ---- */

static bool check_target(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	bool ok = view_starts(v, VIEW("/"));
	for (size_t i = 0; i < v.len; i++)
		ok = ok && (unsigned char)v.ptr[i] > 0x20 && (unsigned char)v.ptr[i] < 0x7f &&
		     v.ptr[i] != '#';
	if (!ok)
		decode_error(d, node,
			     "a path starts with '/' and holds no spaces, no '#' and only ASCII");
	return ok;
}

const struct conf_type conf_type_request_target = {
    .syntax = "a path",
    TEXT,
    .check_text = check_target,
    .pattern = "^/[!-\"$-~]*$",
    .secret = SECRET_QUERY,
};

static bool check_host_field(struct decoder *d, const struct node *node)
{
	return node->text.len == 0 || check_authority(d, node);
}

const struct conf_type conf_type_host_field = {
    .syntax = "a host name, or nothing",
    TEXT,
    .check_text = check_host_field,
    .pattern = "^[][A-Za-z0-9._:-]*$",
};

const struct conf_type conf_type_header_value = {
    .syntax = "a header value",
    TEXT,
    .check_text = http_check_value,
    .pattern = HTTP_VALUE_PATTERN,
    .secret = SECRET_VALUE,
};
