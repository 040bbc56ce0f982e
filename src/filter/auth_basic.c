/* SPDX-License-Identifier: MIT */
/*
 * auth.basic: a name and a password of a file of users (RFC 7617).  A password that was
 * right within the last minute costs a look into a table; any other one is checked by a
 * thread of its own, and the request waits for that, without a backend.
 *
 * Fails closed: who cannot be checked is not let through.
 */
#include <stdlib.h>

#include "filters.h"

#include "weir/base/check.h"
#include "weir/filter/passwords.h"

/* As long as half a line of usual hashes takes. */
#define WAIT_US UINT64_C(10000000)

static bool applies(const struct conf_route *route)
{
	return route->auth.basic.on;
}

static void *build(const struct conf *conf, const struct conf_route *route, unsigned n_workers,
		   struct str *why)
{
	(void)conf;
	return passwords_start(n_workers, why) ? users_get(route->auth.basic.file, why) : NULL;
}

static void release(void *state)
{
	users_put(state);
}

/* ---- answers ---- */

static enum filter_verdict refuse(struct filter_call *call)
{
	filter_answer_begin(call, 401, NULL);
	filter_answer_field(call, HDR_WWW_AUTHENTICATE, "WWW-Authenticate",
			    "Basic realm=\"" VIEW_FMT "\", charset=\"UTF-8\"",
			    VIEW_ARG(call->route->auth.basic.realm));
	return FILTER_ANSWER;
}

static enum filter_verdict too_busy(struct filter_call *call)
{
	filter_answer_begin(call, 503, NULL);
	call->answer.reason = FILTER_BUSY;
	filter_answer_field(call, HDR_RETRY_AFTER, "Retry-After", "1");
	return FILTER_ANSWER;
}

/* The password was for weir, unless the backend is to have it, too. */
static enum filter_verdict let_through(struct filter_call *call)
{
	struct header *h;
	while (!call->route->auth.basic.pass_on &&
	       (h = message_find(call->msg, HDR_AUTHORIZATION)) != NULL)
		h->drop = HEADER_DROPPED;
	return FILTER_GO_ON;
}

static enum filter_verdict follow(struct filter_call *call, enum password_verdict verdict)
{
	switch (verdict) {
	case PASSWORD_RIGHT:
		return let_through(call);
	case PASSWORD_WRONG:
		return refuse(call);
	case PASSWORD_ASK:
		return FILTER_WAIT;
	default:
		return too_busy(call);
	}
}

/* ---- workers ---- */

static enum filter_verdict request(struct filter_call *call)
{
	struct credentials credentials;
	if (!credentials_of(call->msg, &credentials))
		return refuse(call);
	return follow(call, passwords_look(call->state, &credentials, call->now_us));
}

static void on_done(struct password_wait *answer, bool right)
{
	struct filter_wait *wait = container_of(answer, struct filter_wait, room.password);
	wait->result = right;
	wait->ready(wait);
}

static enum filter_verdict begin(struct filter_call *call, struct filter_wait *wait)
{
	struct credentials credentials;
	struct password_wait *answer = &wait->room.password;
	check(credentials_of(call->msg, &credentials));
	answer->done = on_done;
	answer->client = addr_pack_client(call->client);
	wait->until_us = call->now_us + WAIT_US;
	return follow(call,
		      passwords_ask(call->state, &credentials, call->worker, call->loop, answer));
}

static enum filter_verdict again(struct filter_call *call, struct filter_wait *wait, bool late)
{
	if (late)
		return too_busy(call);
	return follow(call, wait->result ? PASSWORD_RIGHT : PASSWORD_WRONG);
}

static void cancel(struct filter_wait *wait)
{
	passwords_cancel(&wait->room.password);
}

const struct filter filter_auth_basic = {
    FILTER_ROW(auth_basic), .applies = applies, .build = build, .release = release,
    .request = request,     .begin = begin,     .again = again, .cancel = cancel,
};
