/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/history?pool=P&backend=B&seconds=N: the flight recorder, one row a
 * second, oldest first; of the whole pool without `backend`.  At most 960
 * seconds are kept, 60 are shown unless asked for.
 *
 *   {"pool": "app", "backend": null, "rows": [
 *     {"at_s": 1795480923.12, "rate": 812, "errors": 0, "in_flight": 8.1, "queued": 0,
 *      "p50_us": 9984, "p99_us": 30208, "state": "up"}],
 *    "markers": [{"id": 7, "at": "...", "kind": "weight", "pool": "app", "backend": "app1",
 *      "message": "weight 2, set by an operator"}]}
 *
 * rate is requests per second, in_flight the mean over the second, queued who
 * waits in the pool's queue at its end, p50 and p99 those of the successes that
 * ended in it (0 without any).  With ?since=-2d: what is stored, see past.c.  state only with
 * `backend`.  markers are the events in that time: reloads, changes of weight and state.
 */
#include "api.h"

#include <stdio.h>

#include "weir/base/clock.h"
#include "weir/base/parse.h"

enum { Q_POOL, Q_BACKEND, Q_SECONDS, Q_SINCE, Q_UNTIL, Q_STEP, N_Q };
static const char *const names[] = {"pool", "backend", "seconds", "since", "until", "step", NULL};

struct request {
	const struct pool *pool;
	const struct backend *backend; /* NULL: the pool */
	const struct history *history;
	uint64_t seconds;
};

static const struct pool *find_pool(struct call *call, struct view name)
{
	uint32_t n;
	const struct pool *pools = call->api->host.pools(call->api->host.ctx, &n);
	for (uint32_t i = 0; i < n; i++)
		if (view_eq(pools[i].conf->name, name))
			return &pools[i];
	call_error(call, 404, "there is no pool '" VIEW_FMT "'", VIEW_ARG(name));
	return NULL;
}

static bool read_query(struct call *call, const struct view q[N_Q], struct request *out)
{
	*out = (struct request){.seconds = 60};
	if (!q[Q_POOL].ptr) {
		call_error(call, 400, "say which pool: ?pool=NAME");
		return false;
	}
	if (!(out->pool = find_pool(call, q[Q_POOL])))
		return false;
	out->history = out->pool->state->history;
	if (q[Q_BACKEND].ptr) {
		int32_t i = call_backend(call, out->pool, q[Q_BACKEND]);
		if (i < 0)
			return false;
		out->backend = out->pool->backends[i];
		out->history = out->backend->history;
	}
	if (q[Q_SECONDS].ptr && !parse_u64(q[Q_SECONDS], &out->seconds)) {
		call_error(call, 400, "seconds must be a number");
		return false;
	}
	return true;
}

static void put_row(struct json *j, const struct history_row *row, const struct history_row *before,
		    bool with_state, uint64_t wall_minus_mono)
{
	double span_s = before ? (double)(row->at_us - before->at_us) / 1e6 : 1;
	uint64_t wall_us = row->at_us + wall_minus_mono;
	json_object_begin(j);
	json_key(j, "at_s");
	char text[32]; /* json_double keeps six digits only */
	int n = snprintf(text, sizeof(text), "%llu.%02u", (unsigned long long)(wall_us / 1000000),
			 (unsigned)(wall_us % 1000000 / 10000));
	json_raw(j, view_of(text, (size_t)n));
	json_member_double(j, "rate", span_s > 0 ? row->requests / span_s : 0);
	json_member_u64(j, "errors", row->errors);
	json_member_double(j, "in_flight", (double)row->in_flight);
	json_member_u64(j, "queued", row->queue);
	json_member_u64(j, "p50_us", row->p50_us);
	json_member_u64(j, "p99_us", row->p99_us);
	if (with_state)
		json_member_text(j, "state", backend_state_name((enum backend_state)row->state));
	json_object_end(j);
}

void api_history(struct call *call)
{
	struct request r;
	struct json j;
	uint64_t now = clock_us(), wall_minus_mono = clock_wall_us() - now, from_us = now;
	struct view q[N_Q];
	if (!call_query(call, names, q))
		return;
	if (q[Q_SINCE].ptr) {
		put_past(call, &(struct history_query){q[Q_POOL], q[Q_BACKEND], q[Q_SECONDS],
						       q[Q_SINCE], q[Q_UNTIL], q[Q_STEP]});
		return;
	}
	if (!read_query(call, q, &r))
		return;
	struct history_row row, before;
	uint32_t n = 0;
	while (r.history && n < r.seconds && history_at(r.history, n, &row))
		n++;
	bool follows = n && history_at(r.history, n, &before);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_view(&j, "pool", r.pool->conf->name);
	json_member_optional(&j, "backend", r.backend ? r.backend->name : VIEW_NONE);
	json_key(&j, "rows");
	json_array_begin(&j);
	for (uint32_t age = n; age-- > 0;) {
		history_at(r.history, age, &row);
		if (age == n - 1)
			from_us = follows ? before.at_us : row.at_us - 1000000;
		put_row(&j, &row, follows ? &before : NULL, r.backend != NULL, wall_minus_mono);
		before = row;
		follows = true;
	}
	json_array_end(&j);
	json_key(&j, "markers");
	put_events_since(&j, from_us + wall_minus_mono, r.pool->conf->name,
			 r.backend ? r.backend->name : VIEW_NONE);
	json_object_end(&j);
}
