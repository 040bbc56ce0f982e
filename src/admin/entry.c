/* SPDX-License-Identifier: MIT */
/* Who may ask anything over status.bind. */
#include "entry.h"

#include <string.h>

#include "weir/base/clock.h"

static const struct conf_auth_basic *basic_of(const struct call *call)
{
	const struct admin_host *host = &call->api->host;
	return &host->conf(host->ctx)->status.auth.basic;
}

void entry_refuse(struct call *call)
{
	call_error(call, 401, "status.auth asks for a name and a password, or the token");
	call->answer.realm = basic_of(call)->realm;
}

static enum entry too_busy(struct call *call)
{
	call_error(call, 503, "too many passwords wait to be checked");
	call->answer.retry = true;
	return ENTRY_REFUSED;
}

/* In a place that is for probes nobody waits: what is remembered is enough there, or not. */
static enum entry check_password(struct call *call, const struct credentials *credentials,
				 struct password_wait *wait)
{
	const struct admin_host *host = &call->api->host;
	const struct users *users = host->users(host->ctx);
	if (!users)
		return too_busy(call);
	if (passwords_look(users, credentials, clock_us()) == PASSWORD_RIGHT)
		return ENTRY_OPEN;
	if (call->only_probes || call->api->n_asking >= ENTRIES_ASKING ||
	    passwords_ask(users, credentials, PASSWORDS_CONTROL, call->api->loop, wait) ==
		PASSWORD_BUSY)
		return too_busy(call);
	return ENTRY_ASKING;
}

enum entry entry_ask(struct call *call, struct password_wait *wait)
{
	struct credentials credentials;
	enum entry entry = ENTRY_REFUSED;
	if (call->trusted || !basic_of(call)->on || api_is_open(call) || call_may_change(call))
		return ENTRY_OPEN;
	if (!api_knows_host(call)) /* no browser asks for a password in a foreign page's name */
		return ENTRY_REFUSED;
	if (credentials_of(call->msg, &credentials))
		entry = check_password(call, &credentials, wait);
	else
		entry_refuse(call);
	explicit_bzero(&credentials, sizeof(credentials));
	return entry;
}
