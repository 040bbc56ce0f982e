/* SPDX-License-Identifier: MIT */
/*
 * The rules of routing written down once more, as slowly and plainly as
 * possible: text is copied, split into lists and compared row by row.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>

#include "fixture.h"
#include "weir/base/check.h"

/* Decodes what `wanted` says; other "%xx" become "%XX".  The caller frees. */
static bool is_unreserved(int byte)
{
	return byte && (isalnum(byte) || strchr("-._~", byte)) && byte < 0x80;
}

static bool is_any(int byte)
{
	(void)byte;
	return true;
}

/* A digit that would complete what begins with the '%' there, which is itself. */
static bool completes(const struct str *out, ptrdiff_t percent, int byte)
{
	ptrdiff_t behind = (ptrdiff_t)out->len - percent;
	return percent >= 0 && isxdigit(byte) &&
	       (behind == 1 || (behind == 2 && isxdigit((unsigned char)out->ptr[out->len - 1])));
}

/* Where not all is wanted, what comes out is not to be decoded again. */
static struct str decode(struct view v, bool (*wanted)(int byte))
{
	struct str out = STR_INIT;
	ptrdiff_t percent = -1;
	str_reserve(&out, v.len + 1);
	for (size_t i = 0; i < v.len; i++) {
		char digits[3] = "";
		if (v.ptr[i] == '%' && i + 2 < v.len)
			memcpy(digits, v.ptr + i + 1, 2);
		if (isxdigit((unsigned char)digits[0]) && isxdigit((unsigned char)digits[1])) {
			int byte = (int)strtol(digits, NULL, 16);
			if (wanted(byte) && (wanted == is_any || !completes(&out, percent, byte)))
				str_char(&out, (char)byte);
			else
				str_printf(&out, "%%%02X", (unsigned)byte);
			i += 2;
		} else {
			if (v.ptr[i] == '%')
				percent = (ptrdiff_t)out.len;
			str_char(&out, v.ptr[i]);
		}
	}
	return out;
}

/* Segments into a list, empty ones skipped, then dots resolved, then joined again. */
static struct str naive_path(struct view path)
{
	struct str decoded = decode(path, is_unreserved), out = STR_INIT;
	struct view rest = str_as_view(&decoded), *list = calloc(path.len + 2, sizeof(*list));
	size_t n = 0;
	bool directory = false; /* ends in a slash */
	str_char(&out, '/');
	while (rest.len) {
		ptrdiff_t slash = view_chr(rest, '/');
		struct view segment = slash < 0 ? rest : view_head(rest, (size_t)slash);
		rest = view_skip(rest, segment.len + (slash >= 0));
		bool dot = view_eq(segment, VIEW(".")), dots = view_eq(segment, VIEW(".."));
		if (segment.len)
			directory = slash >= 0 || dot || dots;
		if (dots && n)
			n--;
		if (segment.len && !dot && !dots)
			list[n++] = segment;
	}
	for (size_t i = 0; i < n; i++) {
		str_view(&out, list[i]);
		if (i + 1 < n || directory)
			str_char(&out, '/');
	}
	free(list);
	str_fini(&decoded);
	return out;
}

static struct str naive_host(struct view host)
{
	struct str out = STR_INIT;
	size_t colons = 0, last = 0;
	bool digits = true;
	for (size_t i = 0; i < host.len; i++) {
		if (host.ptr[i] == ':') {
			colons++;
			last = i;
			digits = true;
		} else {
			digits = digits && char_is_digit(host.ptr[i]);
		}
	}
	if (colons && digits && (colons == 1 || (last && host.ptr[last - 1] == ']')))
		host.len = last;
	if (view_ends(host, VIEW(".")))
		host.len--;
	str_reserve(&out, host.len);
	for (size_t i = 0; i < host.len && host.len <= 255; i++)
		str_char(&out, char_lower(host.ptr[i]));
	return out;
}

static bool host_matches(struct view written, struct view host)
{
	if (view_eq(written, VIEW("*")))
		return true;
	bool wild = view_starts(written, VIEW("*."));
	struct str want = naive_host(wild ? view_skip(written, 2) : written);
	struct view w = str_as_view(&want);
	bool yes = w.len && view_eq(w, host);
	if (wild)
		yes = w.len && host.len > w.len + 1 && view_ends(host, w) &&
		      host.ptr[host.len - w.len - 1] == '.';
	str_fini(&want);
	return yes;
}

static bool prefix_matches(struct view written, struct view path)
{
	if (!view_starts(written, VIEW("/")) || !view_starts(path, VIEW("/")))
		return false;
	struct str want = naive_path(written);
	struct view w = str_as_view(&want);
	bool yes = view_starts(path, w) &&
		   (view_ends(w, VIEW("/")) || path.len == w.len || path.ptr[w.len] == '/');
	str_fini(&want);
	return yes;
}

static bool exact_matches(struct view written, struct view path)
{
	if (!view_starts(written, VIEW("/")))
		return false;
	struct str want = naive_path(written);
	bool yes = view_eq(str_as_view(&want), path);
	str_fini(&want);
	return yes;
}

static bool regex_matches_path(struct view pattern, struct view path)
{
	int number;
	PCRE2_SIZE offset;
	/* a newline is a byte like others: '$' does not match before it */
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, PCRE2_DOLLAR_ENDONLY,
					 &number, &offset, NULL);
	check(code);
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
	int rc = pcre2_match(code, (PCRE2_SPTR)path.ptr, path.len, 0, PCRE2_NO_JIT, data, NULL);
	pcre2_match_data_free(data);
	pcre2_code_free(code);
	return rc >= 0;
}

/* What was sent: there a '+' is a space. */
static struct str decode_sent(struct view v)
{
	struct str spaced = STR_INIT;
	for (size_t i = 0; i < v.len; i++)
		str_char(&spaced, v.ptr[i] == '+' ? ' ' : v.ptr[i]);
	struct str out = decode(str_as_view(&spaced), is_any);
	str_fini(&spaced);
	return out;
}

static bool text_matches(struct view want, struct view value)
{
	if (view_eq(want, VIEW("*")))
		return true;
	struct str a = decode(want, is_any), b = decode_sent(value);
	bool yes = view_eq(str_as_view(&a), str_as_view(&b));
	str_fini(&a);
	str_fini(&b);
	return yes;
}

static bool query_has(const struct conf_pair *want, struct view query)
{
	while (query.len) {
		size_t n = 0, eq;
		while (n < query.len && query.ptr[n] != '&')
			n++;
		for (eq = 0; eq < n && query.ptr[eq] != '=';)
			eq++;
		struct view value = eq < n ? view_of(query.ptr + eq + 1, n - eq - 1) : VIEW("");
		struct str name = decode_sent(view_head(query, eq));
		struct str asked = decode(want->name, is_any);
		bool same = n && view_eq(str_as_view(&name), str_as_view(&asked));
		str_fini(&name);
		str_fini(&asked);
		if (same && text_matches(want->value, value))
			return true;
		query = view_skip(query, n + 1);
	}
	return false;
}

static bool headers_have(const struct conf_pair *want, const struct message *msg)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (view_ieq(msg->headers[i].name, want->name) && !msg->headers[i].drop &&
		    (view_eq(want->value, VIEW("*")) ||
		     view_eq(want->value, msg->headers[i].value)))
			return true;
	return false;
}

static bool rest_matches(const struct conf_route *route, const struct route_request *req,
			 struct view query)
{
	bool method = route->match.method.n == 0;
	for (size_t i = 0; i < route->match.method.n; i++)
		method = method || view_eq(route->match.method.rows[i], req->method);
	for (size_t i = 0; i < route->match.header.n; i++)
		method = method && headers_have(&route->match.header.rows[i], req->msg);
	for (size_t i = 0; i < route->match.query.n; i++)
		method = method && query_has(&route->match.query.rows[i], query);
	return method && (route->match.client.n == 0 ||
			  cidr_any(route->match.client.rows, route->match.client.n, req->client));
}

static bool route_matches(const struct conf_route *route, const struct route_request *req,
			  struct view host, struct view path, struct view query)
{
	bool yes = route->match.host.n == 0;
	for (size_t i = 0; i < route->match.host.n; i++)
		yes = yes || host_matches(route->match.host.rows[i], host);
	if (yes && route->match.path.ptr)
		yes = prefix_matches(route->match.path, path);
	if (yes && route->match.path_exact.ptr)
		yes = exact_matches(route->match.path_exact, path);
	if (yes && route->match.path_regex.ptr)
		yes = regex_matches_path(route->match.path_regex, path);
	return yes && rest_matches(route, req, query);
}

const struct conf_route *naive_find(const struct conf *conf, const struct route_request *req)
{
	const struct conf_route *found = NULL;
	size_t mark = 0;
	while (mark < req->path.len && req->path.ptr[mark] != '?')
		mark++;
	struct view raw = view_head(req->path, mark), query = view_skip(req->path, mark + 1);
	struct str path = STR_INIT, host = naive_host(req->host);
	if (raw.len && raw.ptr[0] == '/')
		path = naive_path(raw);
	else
		str_view(&path, raw);
	for (size_t i = 0; i < conf->n_routes && !found; i++)
		if (route_matches(&conf->routes[i], req, str_as_view(&host), str_as_view(&path),
				  query))
			found = &conf->routes[i];
	str_fini(&path);
	str_fini(&host);
	return found;
}
