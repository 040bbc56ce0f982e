/* SPDX-License-Identifier: MIT */
/* Who may ask anything over status.bind. */
#include "entry.h"

#include <string.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"

static const struct conf_status *conf_of(const struct call *call)
{
	const struct admin_host *host = &call->api->host;
	return &host->conf(host->ctx)->status;
}

static enum entry refuse(struct call *call)
{
	call_error(call, 401, "status.auth asks for a name and a password, or the token");
	call->answer.realm = conf_of(call)->auth.basic.realm;
	return ENTRY_REFUSED;
}

static enum entry too_busy(struct call *call, const char *why)
{
	call_error(call, 503, "%s", why);
	call->answer.retry = true;
	return ENTRY_REFUSED;
}

/* ---- a password ---- */

static void on_password(struct password_wait *password, bool right)
{
	struct entry_wait *wait = container_of(password, struct entry_wait, password);
	list_del(&wait->link);
	wait->api = NULL;
	wait->known = right ? PASSWORD_GRANTED : PASSWORD_DENIED;
	wait->ready(wait);
}

static bool has_place(const struct api *api, const struct addr_packed *peer)
{
	unsigned n = 0, own = 0;
	list_each (it, &api->passwords) {
		const struct entry_wait *other = list_entry(it, struct entry_wait, link);
		own += memcmp(&other->peer, peer, sizeof(*peer)) == 0;
		n++;
	}
	return n < PASSWORDS_ASKING && own < PASSWORDS_ASKING / 4;
}

/* In a place that is for probes nobody waits: what is remembered is enough there, or not. */
static enum entry look_up(struct call *call, const struct credentials *credentials,
			  struct entry_wait *wait)
{
	const struct admin_host *host = &call->api->host;
	const struct users *users = host->users(host->ctx);
	if (users && passwords_look(users, credentials, clock_us()) == PASSWORD_RIGHT)
		return ENTRY_OPEN;
	wait->password.done = on_password;
	wait->password.client = wait->peer;
	if (!users || call->only_probes || !has_place(call->api, &wait->peer) ||
	    passwords_ask(users, credentials, PASSWORDS_CONTROL, call->api->loop,
			  &wait->password) == PASSWORD_BUSY)
		return too_busy(call, "too many passwords wait to be checked");
	wait->api = call->api;
	list_push_back(&wait->api->passwords, &wait->link);
	return ENTRY_ASKING;
}

static enum entry ask_password(struct call *call, struct entry_wait *wait)
{
	struct credentials credentials;
	if (wait->known == PASSWORD_GRANTED)
		return ENTRY_OPEN;
	if (wait->known == PASSWORD_DENIED || !credentials_of(call->msg, &credentials))
		return refuse(call);
	enum entry entry = look_up(call, &credentials, wait);
	explicit_bzero(&credentials, sizeof(credentials));
	return entry;
}

/* ---- an auth service ---- */

static void on_forward(struct forward *forward)
{
	struct entry_wait *wait = container_of(forward, struct entry_wait, forward);
	wait->api->n_forwards--;
	wait->api = NULL;
	wait->ready(wait);
}

static enum entry ask_service(struct call *call, struct entry_wait *wait)
{
	if (wait->forward.answered)
		return forward_follow(call, &wait->forward) ? ENTRY_OPEN : ENTRY_REFUSED;
	if (call->only_probes || call->api->n_forwards >= FORWARDS_ASKING)
		return too_busy(call, "too many wait for the service of status.auth.forward");
	wait->forward.done = on_forward;
	if (!forward_ask(call, &wait->peer, &wait->forward))
		return too_busy(call,
				"the service of status.auth.forward: no backend takes requests");
	wait->api = call->api;
	wait->api->n_forwards++;
	return ENTRY_ASKING;
}

/* ---- both ---- */

static enum entry ask(struct call *call, struct entry_wait *wait)
{
	const struct conf_status *conf = conf_of(call);
	bool asks = conf->auth.basic.on || conf->auth.forward.on;
	enum entry entry = ENTRY_OPEN;
	if (call->trusted || !asks || api_is_open(call) || call_may_change(call))
		return ENTRY_OPEN;
	if (!api_knows_host(call)) /* no browser asks for a password in a foreign page's name */
		return ENTRY_REFUSED;
	if (conf->auth.basic.on)
		entry = ask_password(call, wait);
	if (entry == ENTRY_OPEN && conf->auth.forward.on)
		entry = ask_service(call, wait);
	return entry;
}

enum entry entry_ask(struct call *call, struct entry_wait *wait)
{
	enum entry entry = ask(call, wait);
	if (entry != ENTRY_ASKING)
		entry_cancel(wait);
	return entry;
}

void entry_cancel(struct entry_wait *wait)
{
	if (wait->api && wait->password.job)
		list_del(&wait->link);
	else if (wait->api)
		wait->api->n_forwards--;
	wait->api = NULL;
	wait->known = PASSWORD_UNKNOWN;
	passwords_cancel(&wait->password);
	forward_fini(&wait->forward);
}
