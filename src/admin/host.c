/* SPDX-License-Identifier: MIT */
/*
 * DNS rebinding: a foreign page can make a browser ask 127.0.0.1 under the page's
 * own name and read the answer.  The Host field gives it away: nobody who could
 * have a page owns an IP address, localhost, or a name without a dot.
 */
#include "api.h"

static bool is_listed(const struct conf_views *names, struct view host)
{
	for (size_t i = 0; i < names->n; i++) {
		struct view name = names->rows[i];
		if (view_ieq(name, host))
			return true;
		if (!view_starts(name, VIEW("*.")))
			continue;
		struct view suffix = view_skip(name, 1);
		if (host.len > suffix.len &&
		    view_ieq(view_skip(host, host.len - suffix.len), suffix))
			return true;
	}
	return false;
}

bool host_is_ours(const struct conf_views *names, struct view authority)
{
	struct view host;
	struct addr addr;
	uint16_t port;
	if (!authority_split(authority, &host, &port))
		return false;
	return addr_parse_ip(host, &addr) || view_chr(host, '.') < 0 || is_listed(names, host);
}
