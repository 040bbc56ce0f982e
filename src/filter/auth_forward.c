/* SPDX-License-Identifier: MIT */
/*
 * auth.forward: a service of a pool is asked about each request.  2xx lets it through, with
 * the fields that are to be copied; any other answer is for the client.  What clients send
 * under the names of these fields goes first of all.
 *
 * Fails closed, unless the route says `fail: open`.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "filters.h"

#include "weir/base/check.h"
#include "weir/base/log.h"
#include "weir/http/field.h"

/* A service that does not answer says so at most this often. */
#define LOG_US 10000000

struct state {
	struct conf_route route; /* of the question */
	_Atomic uint64_t logged_us;
};

static bool applies(const struct conf_route *route)
{
	return route->auth.forward.on;
}

static void *build(const struct conf *conf, const struct conf_route *route, unsigned n_workers,
		   struct str *why)
{
	struct state *state = calloc(1, sizeof(*state));
	(void)conf;
	(void)n_workers;
	(void)why;
	check(state != NULL);
	state->route.name = route->name;
	state->route.index = route->index;
	state->route.priority = route->priority;
	state->route.pool = route->auth.forward.pool;
	state->route.timeouts.total_us = route->auth.forward.timeout_us;
	state->route.timeouts.total_set = true;
	return state;
}

static void release(void *state)
{
	free(state);
}

static enum filter_verdict request(struct filter_call *call)
{
	const struct conf_auth_forward *conf = &call->route->auth.forward;
	const struct state *state = call->state;
	for (size_t i = 0; i < conf->copy.n; i++)
		field_drop(call->msg, conf->copy.rows[i]);
	call->changed = conf->copy.n > 0;
	call->question = (struct filter_question){.route = &state->route, .path = conf->path};
	return FILTER_ASK;
}

/* ---- what was answered ---- */

static void complain(struct filter_call *call, const char *why)
{
	struct state *state = call->state;
	uint64_t last = atomic_load_explicit(&state->logged_us, memory_order_relaxed);
	if ((last && call->now_us - last < LOG_US) ||
	    !atomic_compare_exchange_strong(&state->logged_us, &last, call->now_us))
		return;
	log_warn("route " VIEW_FMT ": the auth service does not answer: %s; %s",
		 VIEW_ARG(call->route->name), why,
		 call->route->auth.forward.fail == CONF_FAIL_OPEN ? "requests go on without it"
								  : "requests are refused");
}

static enum filter_verdict fail(struct filter_call *call)
{
	const struct filter_heard *heard = call->heard;
	unsigned status = heard ? heard->status : 504;
	complain(call, heard ? heard->why : "auth.forward.timeout is over");
	if (call->route->auth.forward.fail == CONF_FAIL_OPEN)
		return FILTER_GO_ON;
	filter_answer_begin(call, status, NULL);
	call->answer.reason = status == 504 ? FILTER_LATE : FILTER_FAILED;
	if (status == 503)
		filter_answer_field(call, HDR_RETRY_AFTER, "Retry-After", "1");
	return FILTER_ANSWER;
}

static void copy(struct filter_call *call, struct view name)
{
	const struct message *head = call->heard->head;
	struct message *msg = call->msg;
	for (uint32_t i = 0; i < head->n_headers && msg->n_headers < HEADERS_ROOM; i++) {
		const struct header *h = &head->headers[i];
		if (!h->drop && view_ieq(h->name, name))
			msg->headers[msg->n_headers++] = (struct header){
			    .name = name, .value = h->value, .id = (uint8_t)hdr_lookup(name)};
	}
}

static enum filter_verdict again(struct filter_call *call, struct filter_wait *wait, bool late)
{
	const struct conf_auth_forward *conf = &call->route->auth.forward;
	(void)wait;
	if (late || !call->heard->head)
		return fail(call);
	if (call->heard->head->status / 100 != 2)
		return FILTER_RELAY;
	for (size_t i = 0; i < conf->copy.n; i++)
		copy(call, conf->copy.rows[i]);
	call->changed = conf->copy.n > 0;
	return FILTER_GO_ON;
}

const struct filter filter_auth_forward = {
    FILTER_ROW(auth_forward), .applies = applies, .build = build,
    .release = release,       .request = request, .again = again,
};
