/* SPDX-License-Identifier: MIT */
/* The filters of a route, asked for an exchange. */
#include "filters.h"

#include "reply.h"

static const enum outcome outcomes[] = {
#define FILTER(symbol, where, outcome, sentence) [FILTER_##symbol] = OUTCOME_##outcome,
#include "weir/tbl/filters.def"
#undef FILTER
};

bool filters_pass(struct exchange *ex, const struct exchange_request *req)
{
	const struct filter_set *set = &ex->gl->gen->filters;
	struct filter_call call;
	call.route = ex->route;
	call.msg = &ex->worker->req;
	call.client = req->peer;
	call.worker = ex->worker->pool.id;
	call.now_us = ex->worker->loop.now_us;
	call.mark = 0;
	for (int id = 0; id < N_FILTERS; id++) {
		if (!(ex->route->filters >> id & 1))
			continue;
		call.state = set->state[id][ex->route->index];
		if (filter_at((enum filter_id)id)->request(&call) == FILTER_GO_ON)
			continue;
		exchange_answered(ex, reply_filter(ex, outcomes[id], &call.answer), outcomes[id]);
		return false;
	}
	if (ex->route->filters & 1u << FILTER_compress)
		filtered_begin(ex, call.mark);
	return true;
}
