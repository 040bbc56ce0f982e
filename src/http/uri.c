/* SPDX-License-Identifier: MIT */
/*
 * The parts of a request target (RFC 3986).  Stricter than its grammar where
 * two programs in a row might read a host differently: no user information, no
 * percent-encoding (a route for "a.example" would not match "%61.example", a
 * backend that decodes would), no comma (X-Forwarded-Host is a list), no zone
 * identifier.  An empty port is the standard one.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "chars.h"
#include "weir/base/parse.h"
#include "weir/http/message.h"

void target_split(struct view path, struct view *path_only, struct view *query)
{
	ptrdiff_t mark = view_chr(path, '?');
	size_t n = mark < 0 ? path.len : (size_t)mark;
	*path_only = view_head(path, n);
	*query = mark < 0 ? VIEW_NONE : view_skip(path, n + 1);
}

/* Bytes of "[...]" at the start of v, 0 when that is no IPv6 address. */
static size_t ipv6_len(struct view v)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr ip;
	ptrdiff_t close = view_chr(v, ']');
	if (close < 2 || (size_t)close - 1 >= sizeof(text))
		return 0;
	memcpy(text, v.ptr + 1, (size_t)close - 1);
	text[close - 1] = '\0';
	/* a NUL would cut the text short for inet_pton */
	if (memchr(text, '\0', (size_t)close - 1) || inet_pton(AF_INET6, text, &ip) != 1)
		return 0;
	return (size_t)close + 1;
}

static size_t reg_name_len(struct view v)
{
	size_t n = scan_host(v.ptr, v.len);
	while (n < v.len && char_is(v.ptr[n], CHAR_HOST))
		n++;
	return n;
}

bool authority_split(struct view authority, struct view *host, uint16_t *port)
{
	if (view_is_empty(authority))
		return false;
	size_t n = authority.ptr[0] == '[' ? ipv6_len(authority) : reg_name_len(authority);
	if (n == 0)
		return false;
	*host = view_head(authority, n);
	*port = 0;
	if (n == authority.len)
		return true;
	struct view digits = view_skip(authority, n + 1);
	uint64_t number;
	if (authority.ptr[n] == ':' && digits.len == 0)
		return true;
	if (authority.ptr[n] != ':' || digits.len > 5 || !parse_u64(digits, &number) ||
	    number == 0 || number > UINT16_MAX)
		return false;
	*port = (uint16_t)number;
	return true;
}

static struct view without_dot(struct view host)
{
	return host.len > 1 && host.ptr[host.len - 1] == '.' ? view_head(host, host.len - 1) : host;
}

bool host_is_same(struct view a, struct view b)
{
	return view_ieq(without_dot(a), without_dot(b));
}

bool authority_is_same(struct view a, struct view b, struct view scheme)
{
	struct view a_host, b_host;
	uint16_t a_port, b_port, standard = view_ieq(scheme, VIEW("https")) ? 443 : 80;
	if (!authority_split(a, &a_host, &a_port) || !authority_split(b, &b_host, &b_port))
		return false;
	return host_is_same(a_host, b_host) &&
	       (a_port ? a_port : standard) == (b_port ? b_port : standard);
}

struct view authority_plain(struct view authority)
{
	bool bare = authority.len && authority.ptr[authority.len - 1] == ':';
	return view_head(authority, authority.len - bare);
}
