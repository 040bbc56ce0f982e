/* SPDX-License-Identifier: MIT */
/* What a route asks for, beside host and path in the tree. */
#include "condition.h"

#include "normalise.h"

#include "weir/base/hex.h"
#include "weir/http/cookie.h"

static bool method_holds(const struct conf_views *methods, struct view method)
{
	for (size_t i = 0; i < methods->n; i++)
		if (view_eq(methods->rows[i], method)) /* methods have case, RFC 9110 9.1 */
			return true;
	return methods->n == 0;
}

/* A value of those that are asked for: exact, any, or found by the regex. */
static enum regex_result value_holds(const struct conf_pair *want, const pcre2_code *regex,
				     struct view value, struct route_scratch *scratch)
{
	if (regex)
		return regex_match(regex, &scratch->regex, value);
	return view_eq(want->value, VIEW("*")) || view_eq(want->value, value) ? REGEX_YES
									      : REGEX_NO;
}

static const pcre2_code *row_regex(const pcre2_code *const *regexes, size_t row)
{
	return regexes ? regexes[row] : NULL;
}

static enum regex_result header_holds(const struct conf_pair *want, const pcre2_code *regex,
				      const struct lookup *l)
{
	const struct message *msg = l->req->msg;
	for (uint32_t i = 0; msg && i < msg->n_headers; i++) {
		const struct header *h = &msg->headers[i];
		if (h->drop || !view_ieq(h->name, want->name))
			continue;
		enum regex_result result = value_holds(want, regex, h->value, l->scratch);
		if (result != REGEX_NO)
			return result;
	}
	return REGEX_NO;
}

static enum regex_result cookie_holds(const struct conf_pair *want, const pcre2_code *regex,
				      const struct lookup *l)
{
	const struct message *msg = l->req->msg;
	struct cookie cookie;
	for (uint32_t i = 0; msg && i < msg->n_headers; i++) {
		struct view rest = msg->headers[i].value;
		if (msg->headers[i].id != HDR_COOKIE || msg->headers[i].drop)
			continue;
		while (cookie_next(&rest, &cookie)) {
			if (!view_eq(cookie.name, want->name))
				continue;
			enum regex_result result =
			    value_holds(want, regex, cookie.value, l->scratch);
			if (result != REGEX_NO)
				return result;
		}
	}
	return REGEX_NO;
}

/* The value decoded, for a regex; without memory nobody knows. */
static enum regex_result decoded_match(const pcre2_code *regex, struct view value,
				       struct route_scratch *scratch)
{
	char *room = scratch_value(scratch, value.len);
	if (!room)
		return REGEX_GAVE_UP;
	return regex_match(regex, &scratch->regex, argument_decode(value, room));
}

/* Any argument of that name; "a" without '=' has the empty value. */
static enum regex_result argument_holds(const struct conf_pair *want, const pcre2_code *regex,
					const struct lookup *l)
{
	bool any = !regex && view_eq(want->value, VIEW("*"));
	struct view query = l->query;
	enum regex_result result = REGEX_NO;
	while (query.len && result == REGEX_NO) {
		ptrdiff_t end = view_chr(query, '&');
		struct view pair = end < 0 ? query : view_head(query, (size_t)end);
		query = view_skip(query, pair.len + 1);
		ptrdiff_t eq = view_chr(pair, '=');
		struct view name = eq < 0 ? pair : view_head(pair, (size_t)eq);
		struct view value = view_skip(pair, eq < 0 ? pair.len : (size_t)eq + 1);
		if (!pair.len || !argument_eq(name, want->name))
			continue;
		if (regex)
			result = decoded_match(regex, value, l->scratch);
		else if (any || argument_eq(value, want->value))
			result = REGEX_YES;
	}
	return result;
}

/* All rows. */
static enum regex_result pairs_hold(
    const struct conf_pairs *pairs, const pcre2_code *const *regexes, const struct lookup *l,
    enum regex_result (*holds)(const struct conf_pair *, const pcre2_code *, const struct lookup *))
{
	for (size_t i = 0; i < pairs->n; i++) {
		enum regex_result result = holds(&pairs->rows[i], row_regex(regexes, i), l);
		if (result != REGEX_YES)
			return result;
	}
	return REGEX_YES;
}

static bool listener_holds(const struct conf_views *names, const struct route_request *req)
{
	for (size_t i = 0; i < names->n; i++)
		if (view_eq(names->rows[i], req->listener))
			return true;
	return names->n == 0;
}

static bool client_holds(const struct conf_cidrs *nets, const struct route_request *req)
{
	return nets->n == 0 || (req->client && cidr_any(nets->rows, nets->n, req->client));
}

static bool scheme_holds(struct view scheme, const struct route_request *req)
{
	return !scheme.ptr || view_ieq(scheme, req->scheme);
}

static enum regex_result regex_holds(const pcre2_code *regex, struct view subject,
				     struct route_scratch *scratch)
{
	return regex ? regex_match(regex, &scratch->regex, subject) : REGEX_YES;
}

/* ---- candidates ---- */

enum regex_result conditions_hold(const struct compiled *route, const struct lookup *l)
{
	const struct compiled_match *m = &route->match;
	const struct conf_match *conf = &route->conf->match;
	enum regex_result result;
	if (!method_holds(&conf->method, l->req->method) || !scheme_holds(conf->scheme, l->req) ||
	    !listener_holds(&conf->listener, l->req))
		return REGEX_NO;
	if ((result = pairs_hold(&conf->header, m->header, l, header_holds)) != REGEX_YES ||
	    (result = pairs_hold(&conf->cookie, m->cookie, l, cookie_holds)) != REGEX_YES ||
	    (result = pairs_hold(&conf->query, m->query, l, argument_holds)) != REGEX_YES)
		return result;
	if (!client_holds(&conf->client, l->req))
		return REGEX_NO;
	if ((result = regex_holds(m->host_regex, l->host, l->scratch)) != REGEX_YES ||
	    (result = regex_holds(m->path_regex, l->path, l->scratch)) != REGEX_YES)
		return result;
	if (likely(!route->conf->has_not))
		return REGEX_YES;
	result = match_holds(&route->match_not, l);
	return result == REGEX_YES ? REGEX_NO : result == REGEX_NO ? REGEX_YES : result;
}

/* ---- key by key ---- */

static bool host_holds(const struct compiled_match *m, struct view host)
{
	for (size_t i = 0; i < m->conf->host.n; i++) {
		struct view want = m->hosts[i];
		bool wild = view_starts(m->conf->host.rows[i], VIEW("*."));
		if (view_eq(m->conf->host.rows[i], VIEW("*")) ||
		    (want.len && !wild && view_eq(host, want)) ||
		    (want.len && wild && host.len > want.len + 1 && view_ends(host, want) &&
		     host.ptr[host.len - want.len - 1] == '.'))
			return true;
	}
	return m->conf->host.n == 0;
}

/* Prefixes end at segments: "/v1" is /v1 and /v1/x; "/v1/" is what is below. */
static bool path_holds(struct view want, struct view path)
{
	return view_starts(path, want) &&
	       (path.len == want.len || view_ends(want, VIEW("/")) || path.ptr[want.len] == '/');
}

const char *match_key_name(enum match_key key)
{
	static const char *const names[] = {
	    [MATCH_SCHEME] = "scheme",
	    [MATCH_LISTENER] = "listener",
	    [MATCH_HOST] = "host",
	    [MATCH_HOST_REGEX] = "host_regex",
	    [MATCH_PATH] = "path",
	    [MATCH_PATH_EXACT] = "path_exact",
	    [MATCH_PATH_REGEX] = "path_regex",
	    [MATCH_METHOD] = "method",
	    [MATCH_HEADER] = "header",
	    [MATCH_COOKIE] = "cookie",
	    [MATCH_QUERY] = "query",
	    [MATCH_CLIENT] = "client",
	};
	return names[key];
}

bool match_key_given(const struct conf_match *match, enum match_key key)
{
	const bool given[] = {
	    [MATCH_SCHEME] = match->scheme.ptr,
	    [MATCH_LISTENER] = match->listener.n,
	    [MATCH_HOST] = match->host.n,
	    [MATCH_HOST_REGEX] = match->host_regex.ptr,
	    [MATCH_PATH] = match->path.ptr,
	    [MATCH_PATH_EXACT] = match->path_exact.ptr,
	    [MATCH_PATH_REGEX] = match->path_regex.ptr,
	    [MATCH_METHOD] = match->method.n,
	    [MATCH_HEADER] = match->header.n,
	    [MATCH_COOKIE] = match->cookie.n,
	    [MATCH_QUERY] = match->query.n,
	    [MATCH_CLIENT] = match->client.n,
	};
	return given[key];
}

static enum regex_result truth(bool holds)
{
	return holds ? REGEX_YES : REGEX_NO;
}

enum regex_result match_key_holds(const struct compiled_match *m, enum match_key key,
				  const struct lookup *l)
{
	const struct conf_match *conf = m->conf;
	if (!match_key_given(conf, key))
		return REGEX_YES;
	switch (key) {
	case MATCH_SCHEME:
		return truth(scheme_holds(conf->scheme, l->req));
	case MATCH_LISTENER:
		return truth(listener_holds(&conf->listener, l->req));
	case MATCH_HOST:
		return truth(host_holds(m, l->host));
	case MATCH_HOST_REGEX:
		return regex_holds(m->host_regex, l->host, l->scratch);
	case MATCH_PATH:
		return truth(path_holds(m->path, l->path));
	case MATCH_PATH_EXACT:
		return truth(view_eq(m->path_exact, l->path));
	case MATCH_PATH_REGEX:
		return regex_holds(m->path_regex, l->path, l->scratch);
	case MATCH_METHOD:
		return truth(method_holds(&conf->method, l->req->method));
	case MATCH_HEADER:
		return pairs_hold(&conf->header, m->header, l, header_holds);
	case MATCH_COOKIE:
		return pairs_hold(&conf->cookie, m->cookie, l, cookie_holds);
	case MATCH_QUERY:
		return pairs_hold(&conf->query, m->query, l, argument_holds);
	default:
		return truth(client_holds(&conf->client, l->req));
	}
}

enum regex_result match_holds(const struct compiled_match *match, const struct lookup *l)
{
	for (enum match_key key = 0; key < N_MATCH_KEYS; key++) {
		enum regex_result result = match_key_holds(match, key, l);
		if (result != REGEX_YES)
			return result;
	}
	return REGEX_YES;
}
