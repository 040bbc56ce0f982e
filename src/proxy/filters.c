/* SPDX-License-Identifier: MIT */
/* The filters of a route, asked for an exchange. */
#include "filters.h"

#include "aside.h"
#include "copy.h"
#include "reply.h"
#include "values.h"

#include "weir/base/defs.h"
#include "weir/base/log.h"

static const enum outcome outcomes[] = {
#define FILTER(symbol, where, outcome, sentence) [FILTER_##symbol] = OUTCOME_##outcome,
#include "weir/tbl/filters.def"
#undef FILTER
};

static struct filter_call call_of(const struct exchange *ex, const struct exchange_request *req)
{
	struct filter_call call;
	call.route = ex->route;
	call.msg = &ex->worker->req;
	call.client = req->peer;
	call.worker = ex->worker->pool.id;
	call.loop = &ex->worker->loop;
	call.now_us = ex->worker->loop.now_us;
	call.changed = false;
	call.heard = NULL;
	call.mirror = NULL;
	call.mark = 0;
	return call;
}

static const enum outcome reasons[] = {
    [FILTER_BUSY] = OUTCOME_auth_busy,
    [FILTER_FAILED] = OUTCOME_auth_failed,
    [FILTER_LATE] = OUTCOME_auth_timeout,
};

static void answer(struct exchange *ex, unsigned id, const struct filter_call *call)
{
	enum filter_reason reason = call->answer.reason;
	enum outcome outcome = reason == FILTER_REFUSED ? outcomes[id] : reasons[reason];
	exchange_answered(ex, reply_filter(ex, outcome, &call->answer), outcome);
}

/* What was written down of the head is not so any more. */
static void note_again(struct exchange *ex, const struct exchange_request *req,
		       struct filter_call *call)
{
	call->changed = false;
	buf_put(&ex->worker->pool.bufs, ex->values);
	ex->values = NULL;
	ex->n_values = 0;
	if (ex->route->kept.n && !values_keep(ex, &ex->route->kept))
		log_debug("values of a request do not fit once more"); /* they are empty then */
	access_log_note_again(ex, req, call->msg);
}

/* What is to be waited for has begun; FILTER_ANSWER: it could not. */
static enum filter_verdict ask(struct exchange *ex, unsigned id, struct filter_call *call,
			       enum filter_verdict how)
{
	if (how == FILTER_WAIT)
		return filter_at((enum filter_id)id)->begin(call, &ex->held->wait);
	if (aside_ask(ex, &call->question))
		return FILTER_WAIT;
	filter_answer_begin(call, 503, NULL);
	call->answer.reason = FILTER_FAILED;
	return FILTER_ANSWER;
}

/* Apart from the usual way: the head has to be copied. */
static NOINLINE void wait_for(struct exchange *ex, const struct exchange_request *req, unsigned id,
			      struct filter_call *call, struct span body, enum filter_verdict how)
{
	enum err err = asking_hold(ex, req, body);
	if (err)
		exchange_end(ex, err == ERR_RANGE ? OUTCOME_head_too_large : OUTCOME_no_memory);
	else if (ask(ex, id, call, how) == FILTER_WAIT)
		asking_wait_for(ex, (enum filter_id)id);
	else
		answer(ex, id, call);
}

/* From the filter `id` on. */
static bool pass(struct exchange *ex, const struct exchange_request *req, unsigned id,
		 struct filter_call *call, struct span body)
{
	const struct filter_set *set = &ex->gl->gen->filters;
	for (; id < N_FILTERS; id++) {
		if (!(ex->route->filters >> id & 1))
			continue;
		call->state = set->state[id][ex->route->index];
		enum filter_verdict verdict = filter_at((enum filter_id)id)->request(call);
		if (unlikely(call->changed))
			note_again(ex, req, call);
		if (verdict == FILTER_GO_ON)
			continue;
		if (verdict == FILTER_ANSWER)
			answer(ex, id, call);
		else
			wait_for(ex, req, id, call, body, verdict);
		return false;
	}
	if (call->mirror)
		copy_begin(ex, call->mirror, body);
	if ((ex->route->filters & 1u << FILTER_compress) || copy_hears_body(ex))
		filtered_begin(ex, call->mark);
	return true;
}

bool filters_pass(struct exchange *ex, const struct exchange_request *req, struct span body)
{
	struct filter_call call = call_of(ex, req);
	return pass(ex, req, 0, &call, body);
}

static void answer_heard(struct exchange *ex, enum outcome outcome,
			 const struct filter_heard *heard)
{
	enum io io = reply_heard(ex, &outcome, heard);
	exchange_answered(ex, io, outcome);
}

bool filters_again(struct exchange *ex, struct asking *asking, struct span body, bool late)
{
	const struct filter *filter = filter_at((enum filter_id)asking->id);
	struct filter_call call = call_of(ex, &asking->req);
	call.state = ex->gl->gen->filters.state[asking->id][ex->route->index];
	call.heard = asking->aside && !late ? aside_heard(asking) : NULL;
	enum filter_verdict verdict = filter->again(&call, &asking->wait, late);
	if (call.changed)
		note_again(ex, &asking->req, &call);
	if (verdict == FILTER_GO_ON)
		return pass(ex, &asking->req, asking->id + 1u, &call, body);
	if (verdict == FILTER_RELAY)
		answer_heard(ex, outcomes[asking->id], call.heard);
	else
		answer(ex, asking->id, &call);
	return false;
}
