/* SPDX-License-Identifier: MIT */
/* The filters of a route, asked for an exchange. */
#include "filters.h"

#include "asking.h"
#include "reply.h"

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
	call.mark = 0;
	return call;
}

static void answer(struct exchange *ex, unsigned id, const struct filter_call *call)
{
	const struct filter_answer *answer = &call->answer;
	enum outcome outcome = answer->reason == FILTER_BUSY ? OUTCOME_auth_busy : outcomes[id];
	exchange_answered(ex, reply_filter(ex, outcome, answer), outcome);
}

/* Apart from the usual way: the head has to be copied. */
static __attribute__((noinline)) void wait_for(struct exchange *ex,
					       const struct exchange_request *req, unsigned id,
					       struct filter_call *call, struct span body)
{
	enum err err = asking_hold(ex, req, body);
	if (err)
		exchange_end(ex, err == ERR_RANGE ? OUTCOME_head_too_large : OUTCOME_no_memory);
	else if (filter_at((enum filter_id)id)->begin(call, &ex->held->wait) == FILTER_WAIT)
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
		if (verdict == FILTER_GO_ON)
			continue;
		if (verdict == FILTER_WAIT)
			wait_for(ex, req, id, call, body);
		else
			answer(ex, id, call);
		return false;
	}
	if (ex->route->filters & 1u << FILTER_compress)
		filtered_begin(ex, call->mark);
	return true;
}

bool filters_pass(struct exchange *ex, const struct exchange_request *req, struct span body)
{
	struct filter_call call = call_of(ex, req);
	return pass(ex, req, 0, &call, body);
}

bool filters_again(struct exchange *ex, struct asking *asking, struct span body, bool late)
{
	const struct filter *filter = filter_at((enum filter_id)asking->id);
	struct filter_call call = call_of(ex, &asking->req);
	call.state = ex->gl->gen->filters.state[asking->id][ex->route->index];
	if (filter->again(&call, &asking->wait, late) == FILTER_GO_ON)
		return pass(ex, &asking->req, asking->id + 1u, &call, body);
	answer(ex, asking->id, &call);
	return false;
}
