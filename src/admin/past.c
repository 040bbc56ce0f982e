/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/history?since=-2d&step=1h[&until=T][&pool=P][&backend=B]: the stored history, by
 * minute, hour or any number of minutes, oldest first; of all pools without `pool`.
 *
 *   {"since_s": 1795308000, "until_s": 1795480923, "step_s": 3600, "pool": null, "backend": null,
 *    "stored": true, "why": null,
 *    "pools": [{"pool": "app", "rows": [
 *      {"at_s": 1795308000, "seconds": 3600, "requests": 2923200, "rate": 812, "errors": 0,
 *       "in_flight": 8.1, "queued": 0, "p50_us": 9984, "p90_us": 20224, "p95_us": 24320,
 *       "p99_us": 30208, "p999_us": 48128}]}],
 *    "markers": [{"at": "...", "kind": "weight", "pool": "app", "backend": "app1",
 *      "message": "weight 2, set by an operator"}]}
 *
 * With `pool` there is "rows" in place of "pools".  Steps are in UTC, and begin where a
 * whole number of them has passed since 1970.  seconds is how many of the step weir was
 * there for; a step without any is left out; steps that are no hours reach back two days.
 * Percentiles are exact to a bucket, over all requests of the step that succeeded; null without
 * any.  What is not stored yet counts.
 */
#include "api.h"

#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/base/parse.h"

/* The step is chosen so that there are not many more rows than this. */
#define ROWS_WANTED 200
#define ROWS_MAX 3000
#define MINUTE_S 60
#define HOUR_S 3600
#define MINUTES_KEPT_S (2 * 86400) /* as state/ does */

struct past {
	struct later *later;
	struct admin_past asked;
	struct str pool, backend; /* own */
};

/* -2d is two days before now; else seconds since 1970. */
static bool parse_instant(struct view text, uint64_t now_s, uint64_t *out)
{
	uint64_t us;
	if (!view_starts(text, VIEW("-")))
		return parse_u64(text, out) && *out <= now_s;
	if (!parse_duration_us(view_skip(text, 1), &us) || us / 1000000 > now_s)
		return false;
	*out = now_s - us / 1000000;
	return true;
}

static uint64_t usual_step(uint64_t span_s)
{
	static const uint64_t steps[] = {60, 300, 900, 3600, 6 * 3600, 86400};
	size_t i = 0;
	while (i + 1 < ARRAY_LEN(steps) && span_s / steps[i] > ROWS_WANTED)
		i++;
	return steps[i];
}

static bool read_step(struct call *call, struct view text, uint64_t now_s, struct admin_past *past)
{
	uint64_t us;
	bool by_hour = past->since_s + MINUTES_KEPT_S < now_s; /* nobody asked for minutes */
	past->step_s = usual_step(past->until_s - past->since_s);
	if (by_hour && past->step_s < HOUR_S)
		past->step_s = HOUR_S;
	if (text.ptr) {
		if (!parse_duration_us(text, &us) || us < MINUTE_S * 1000000 ||
		    us % (MINUTE_S * 1000000) || us > UINT64_C(366) * 86400000000) {
			call_error(call, 400, "step must be a whole number of minutes, as in 1h");
			return false;
		}
		past->step_s = us / 1000000;
	}
	past->since_s -= past->since_s % past->step_s;
	if (past->step_s % HOUR_S && past->since_s + MINUTES_KEPT_S + HOUR_S < now_s) {
		call_error(
		    call, 400,
		    "minutes are kept for two days, and what is older by the hour: ask for a "
		    "step of hours");
		return false;
	}
	if ((past->until_s - past->since_s) / past->step_s < ROWS_MAX)
		return true;
	call_error(call, 400, "more than %d rows: ask for a longer step", ROWS_MAX);
	return false;
}

static bool read_past(struct call *call, const struct history_query *q, struct admin_past *past)
{
	uint64_t now_s = clock_wall_us() / 1000000;
	past->until_s = now_s + 1;
	past->pool = q->pool;
	past->backend = q->backend;
	if (!parse_instant(q->since, now_s, &past->since_s) ||
	    (q->until.ptr && !parse_instant(q->until, now_s, &past->until_s)) ||
	    past->until_s <= past->since_s) {
		call_error(
		    call, 400,
		    "since and until are times before now, as in -2d or 1795308000, and since "
		    "comes first");
		return false;
	}
	if (past->backend.len && !past->pool.len) {
		call_error(call, 400, "say of which pool: &pool=NAME");
		return false;
	}
	return read_step(call, q->step, now_s, past);
}

static void answer(void *arg, struct view json, const char *why)
{
	struct past *p = arg;
	struct answer a = {.status = 200, .type = "application/json", .body = STR_INIT};
	struct json j;
	json_init(&j, &a.body, false);
	json_object_begin(&j);
	json_member_u64(&j, "since_s", p->asked.since_s);
	json_member_u64(&j, "until_s", p->asked.until_s);
	json_member_u64(&j, "step_s", p->asked.step_s);
	json_member_optional(&j, "pool", str_as_view(&p->pool));
	json_member_optional(&j, "backend", str_as_view(&p->backend));
	json_member_bool(&j, "stored", !why);
	json_member_text(&j, "why", why);
	str_char(&a.body, ',');
	str_view(&a.body, view_skip(json, 1)); /* the members of an object, and its end */
	later_answer(p->later, &a);
	str_fini(&p->pool);
	str_fini(&p->backend);
	free(p);
}

void put_past(struct call *call, const struct history_query *q)
{
	const struct admin_host *host = &call->api->host;
	struct past *p = calloc(1, sizeof(*p));
	struct str why = STR_INIT;
	if (!p || !read_past(call, q, &p->asked)) {
		free(p);
		return;
	}
	p->asked.done = answer;
	p->asked.arg = p;
	str_view(&p->pool, q->pool);
	str_view(&p->backend, q->backend);
	p->later = call_later(call);
	if (p->later && host->past(host->ctx, &p->asked, &why))
		return;
	struct answer a = {.body = STR_INIT};
	answer_error(&a, why.len ? 409 : 503, "%s", why.len ? why.ptr : "out of memory");
	if (p->later)
		later_answer(p->later, &a);
	else
		call->answer = a;
	str_fini(&why);
	str_fini(&p->pool);
	str_fini(&p->backend);
	free(p);
}
