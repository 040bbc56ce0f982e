/* SPDX-License-Identifier: MIT */
/* Responses that weir refuses, and the limit or rule that they broke. */
#include "refused.h"

#include "exchange.h"

#include "weir/base/log.h"

static enum outcome outcome_of(enum reject why)
{
	switch (why) {
	case REJECT_HEAD_TOO_LARGE:
	case REJECT_LINE_TOO_LONG:
	case REJECT_TRAILER_TOO_LARGE:
		return OUTCOME_response_header_bytes;
	case REJECT_TOO_MANY_HEADERS:
		return OUTCOME_response_header_count;
	case REJECT_TOO_MANY_INTERIM:
		return OUTCOME_interim_responses;
	default:
		return reject_is_of_field(why) ? OUTCOME_bad_response_field : OUTCOME_bad_response;
	}
}

/* Outcomes of limits have the name of their key. */
static uint32_t limit_of(const struct conf_pool *conf, enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_response_header_bytes:
		return conf->limits.response_header_bytes;
	case OUTCOME_response_header_count:
		return conf->limits.response_header_count;
	case OUTCOME_interim_responses:
		return conf->limits.interim_responses;
	default:
		return 0;
	}
}

/* Which limit of which pool, for whoever has to raise it. */
static void log_limit(struct attempt *at, enum outcome outcome)
{
	const struct backend *b = at->lease.backend;
	uint32_t limit = limit_of(at->ex->view->pool->conf, outcome);
	if (!limit || !log_due(&at->local->limit_logged_us, at->ex->worker->loop.now_us))
		return;
	log_warn("backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT
		 "): a response passes pools." VIEW_FMT ".limits.%s (%u); %s",
		 VIEW_ARG(b->pool_name), VIEW_ARG(b->name), VIEW_ARG(b->address_text),
		 VIEW_ARG(b->pool_name), outcome_row(outcome)->name, limit,
		 at->ex->is_copy ? "it was to a copy of a request" : "the client got 502");
}

void response_refused(struct attempt *at, enum reject why)
{
	struct exchange *ex = at->ex;
	enum outcome outcome = outcome_of(why);
	counter_add(&ex->worker->counters.rejects[why], 1);
	log_limit(at, outcome);
	if (ex->head_relayed && outcome == OUTCOME_bad_response)
		outcome = OUTCOME_backend_bad_body;
	attempt_over(at, outcome);
}
