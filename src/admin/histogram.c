/* SPDX-License-Identifier: MIT */
/* GET /v1/pools/P/histogram: the buckets of one phase in one window. */
#include "api.h"

enum { Q_BACKEND, Q_PHASE, Q_WINDOW, N_Q };
static const char *const names[] = {"backend", "phase", "window", NULL};

void api_histogram(struct call *call)
{
	struct view q[N_Q];
	struct hist_total total = {0};
	struct json j;
	enum phase phase = PHASE_total;
	enum window window = WINDOW_1M;
	const struct pool *pool = call_pool(call);
	int32_t only = -1;
	if (!pool || !call_query(call, names, q))
		return;
	if (q[Q_BACKEND].ptr && (only = call_backend(call, pool, q[Q_BACKEND])) < 0)
		return;
	if (q[Q_PHASE].ptr && !phase_parse(q[Q_PHASE], &phase)) {
		call_error(call, 400, "unknown phase '" VIEW_FMT "'", VIEW_ARG(q[Q_PHASE]));
		return;
	}
	if (q[Q_WINDOW].ptr && !window_parse(q[Q_WINDOW], &window)) {
		call_error(call, 400, "unknown window '" VIEW_FMT "': 10s, 1m, 5m or start",
			   VIEW_ARG(q[Q_WINDOW]));
		return;
	}
	const struct windows *windows =
	    only < 0 ? pool->state->windows : pool->backends[only]->windows;
	if (windows)
		windows_read(windows, phase, window, &total);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_view(&j, "pool", pool->conf->name);
	json_member_optional(&j, "backend", q[Q_BACKEND]);
	json_member_text(&j, "phase", phase_name(phase));
	json_member_text(&j, "window", window_name(window));
	json_member_double(&j, "span_s", (double)total.span_us / 1e6);
	json_member_u64(&j, "n", total.n);
	json_key(&j, "buckets");
	put_buckets(&j, &total);
	json_object_end(&j);
}
