/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/mirror, and the counters as metrics.
 *
 *   {"mirrors": [
 *     {"route": "api", "pools": ["app"], "mirror": "next", "share": 0.1, "in_flight": 2,
 *      "limit": 64, "counters": {"drawn": N, "answered": N, "failed": N, ..., "dropped_full": N},
 *      "since": "2026-11-24T01:02:03.456Z",
 *      "status": {"compared": N, "differ": n, "share": 0.12, "low": 0.10, "high": 0.14},
 *      "body": the same, of answers with the same status,
 *      "latency": {"pairs": N, "equal": n, "needed": 150, "verdict": "slower",
 *        "sentence": "...",
 *        "ratio": {"value": 1.8, "low": 1.6, "high": 2.1},
 *        "original": {"p50_us": {"value": .., "low": .., "high": ..}, "p95_us": ..},
 *        "copy": the same},
 *      "examples": [{"request_id": "..", "target": "/a?b", "at": "..", "differs": ["status"],
 *        "status": [200, 500], "bytes": [512, 21]}]}]}
 *
 * What is not compared is null.  Intervals are of 99 %.  latency: of pairs with the same status
 * that met the same level; ratio, original and copy are null while there are fewer than `needed`.
 * In pairs of numbers the original's is the first.  since: the last mark of one of the pools.
 */
#include "mirror.h"

#include "api.h"

#include "weir/base/clock.h"
#include "weir/filter/mirror.h"

static const struct row {
	const char *name, *sentence;
} rows[] = {
#define COUNTER(name, sentence) {#name, sentence},
#include "weir/tbl/mirror_counters.def"
#undef COUNTER
};

static const struct conf *conf_of(const struct admin_host *host)
{
	return host->conf(host->ctx);
}

/* ---- what is compared ---- */

static void put_share(struct json *j, const char *key, const struct mirror_share *share, bool on)
{
	json_key(j, key);
	if (!on) {
		json_null(j);
		return;
	}
	json_object_begin(j);
	json_member_u64(j, "compared", share->n);
	json_member_u64(j, "differ", share->differ);
	json_member_double(j, "share", share->n ? (double)share->differ / (double)share->n : 0);
	json_member_double(j, "low", share->low);
	json_member_double(j, "high", share->high);
	json_object_end(j);
}

static void put_quantile(struct json *j, const char *key, const struct mirror_quantile *q)
{
	json_key(j, key);
	json_object_begin(j);
	json_member_double(j, "value", q->value);
	json_member_double(j, "low", q->low);
	json_member_double(j, "high", q->high);
	json_object_end(j);
}

static void put_side(struct json *j, const char *key, const struct mirror_latency *l, unsigned side)
{
	json_key(j, key);
	if (l->verdict == MIRROR_NOT_ENOUGH) {
		json_null(j);
		return;
	}
	json_object_begin(j);
	put_quantile(j, "p50_us", &l->p50_us[side]);
	put_quantile(j, "p95_us", &l->p95_us[side]);
	json_object_end(j);
}

static void put_sentence(struct json *j, const struct mirror_latency *l)
{
	static const char *const words[] = {
	    [MIRROR_UNCLEAR] = "may be slower or faster",
	    [MIRROR_ALIKE] = "takes as long",
	    [MIRROR_SLOWER] = "is slower",
	    [MIRROR_FASTER] = "is faster",
	};
	json_key(j, "sentence");
	if (l->verdict == MIRROR_NOT_ENOUGH)
		json_textf(j,
			   "not said yet: %llu of %llu pairs met as many others at their backends, "
			   "and it takes %d",
			   (unsigned long long)l->equal, (unsigned long long)l->pairs,
			   MIRROR_PAIRS_MIN);
	else
		json_textf(j, "the copy %s: %.2f times the original (%.2f to %.2f)",
			   words[l->verdict], l->ratio.value, l->ratio.low, l->ratio.high);
}

static void put_latency(struct json *j, const struct mirror_latency *l, bool on)
{
	static const char *const verdicts[] = {"not_enough_data", "unclear", "alike", "slower",
					       "faster"};
	json_key(j, "latency");
	if (!on) {
		json_null(j);
		return;
	}
	json_object_begin(j);
	json_member_u64(j, "pairs", l->pairs);
	json_member_u64(j, "equal", l->equal);
	json_member_u64(j, "needed", MIRROR_PAIRS_MIN);
	json_member_text(j, "verdict", verdicts[l->verdict]);
	put_sentence(j, l);
	if (l->verdict == MIRROR_NOT_ENOUGH)
		json_member_text(j, "ratio", NULL);
	else
		put_quantile(j, "ratio", &l->ratio);
	put_side(j, "original", l, MIRROR_ORIGINAL);
	put_side(j, "copy", l, MIRROR_COPY);
	json_object_end(j);
}

static void put_example(struct json *j, const struct mirror_example *e)
{
	json_object_begin(j);
	json_member_view(j, "request_id", view_of(e->request_id, e->request_id_len));
	json_member_view(j, "target", view_of(e->target, e->target_len));
	json_member_time(j, "at", e->at_us + clock_wall_us() - clock_us());
	json_key(j, "differs");
	json_array_begin(j);
	json_text(j, e->differs & CONF_COMPARE_STATUS ? "status" : "body");
	json_array_end(j);
	json_key(j, "status");
	json_array_begin(j);
	for (size_t i = 0; i < MIRROR_SIDES; i++)
		json_u64(j, e->status[i]);
	json_array_end(j);
	json_key(j, "bytes");
	json_array_begin(j);
	for (size_t i = 0; i < MIRROR_SIDES; i++)
		json_u64(j, e->len[i]);
	json_array_end(j);
	json_object_end(j);
}

/* ---- GET /v1/mirror ---- */

static void put_pools(struct json *j, const struct conf *conf, const struct conf_route *route)
{
	json_key(j, "pools");
	json_array_begin(j);
	for (size_t i = 0; i < route->n_split; i++)
		json_view(j, conf->pools[route->split[i].pool].name);
	if (!route->n_split)
		json_view(j, conf->pools[route->pool].name);
	json_array_end(j);
}

static void put_counters_of(struct json *j, const struct mirror_view *view)
{
	json_key(j, "counters");
	json_object_begin(j);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		json_member_u64(j, rows[i].name, view->counts.counters[i]);
	json_object_end(j);
}

static void put_mirror(struct json *j, const struct conf *conf, const struct conf_route *route,
		       const struct mirror_view *view)
{
	unsigned compared = route->mirror.compare;
	json_object_begin(j);
	json_member_view(j, "route", route->name);
	put_pools(j, conf, route);
	json_member_view(j, "mirror", conf->pools[route->mirror.pool].name);
	json_member_double(j, "share", route->mirror.share);
	json_member_u64(j, "in_flight", view->counts.in_flight);
	json_member_u64(j, "limit", route->mirror.in_flight);
	put_counters_of(j, view);
	json_member_time(j, "since", view->since_us + clock_wall_us() - clock_us());
	put_share(j, "status", &view->status, compared & CONF_COMPARE_STATUS);
	put_share(j, "body", &view->body, compared & CONF_COMPARE_BODY);
	put_latency(j, &view->latency, compared & CONF_COMPARE_LATENCY);
	json_key(j, "examples");
	json_array_begin(j);
	for (size_t i = 0; i < view->n_examples; i++)
		put_example(j, &view->examples[i]);
	json_array_end(j);
	json_object_end(j);
}

void api_mirror(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	const struct conf *conf = conf_of(host);
	struct mirror_view view;
	struct json j;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_key(&j, "mirrors");
	json_array_begin(&j);
	for (size_t i = 0; i < conf->n_routes; i++)
		if (mirror_read(host->filters(host->ctx), &conf->routes[i], &view))
			put_mirror(&j, conf, &conf->routes[i], &view);
	json_array_end(&j);
	json_object_end(&j);
}

/* ---- marks ---- */

static bool concerns(const struct conf *conf, const struct conf_route *route, struct view pool)
{
	if (view_eq(conf->pools[route->mirror.pool].name, pool))
		return true;
	for (size_t i = 0; i < route->n_split; i++)
		if (view_eq(conf->pools[route->split[i].pool].name, pool))
			return true;
	return !route->n_split && view_eq(conf->pools[route->pool].name, pool);
}

void mirrors_begin_epoch(const struct admin_host *host, struct view pool)
{
	const struct conf *conf = conf_of(host);
	for (size_t i = 0; i < conf->n_routes; i++)
		if (conf->routes[i].mirror.on &&
		    (!pool.len || concerns(conf, &conf->routes[i], pool)))
			mirror_begin_epoch(host->filters(host->ctx), &conf->routes[i]);
}

/* ---- metrics ---- */

struct scene {
	struct metric *m;
	const struct conf *conf;
	const struct filter_set *filters;
};

static bool any(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_routes; i++)
		if (conf->routes[i].mirror.on)
			return true;
	return false;
}

/* One family: get(counts, arg) of each mirror. */
static void put_family(const struct scene *s, const struct row *row, const char *type,
		       uint64_t (*get)(const struct mirror_counts *counts, size_t i), size_t arg)
{
	struct mirror_counts counts;
	metric_family(s->m, row->name, type, row->sentence);
	for (size_t i = 0; i < s->conf->n_routes; i++) {
		const struct conf_route *route = &s->conf->routes[i];
		if (!mirror_count(s->filters, route, &counts))
			continue;
		metric_begin(s->m, row->name);
		metric_label(s->m, "route", route->name);
		metric_label(s->m, "pool", s->conf->pools[route->mirror.pool].name);
		metric_u64(s->m, get(&counts, arg));
	}
}

static uint64_t counter_of(const struct mirror_counts *counts, size_t i)
{
	return counts->counters[i];
}

static uint64_t in_flight_of(const struct mirror_counts *counts, size_t i)
{
	(void)i;
	return counts->in_flight;
}

void put_mirror_metrics(struct metric *m, const struct admin_host *host)
{
	const struct scene s = {m, conf_of(host), host->filters(host->ctx)};
	const struct row in_flight = {"weir_mirror_in_flight", "Copies under way."};
	struct metric_counter c;
	if (!any(s.conf))
		return;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		metric_counter_name(&c, "weir_mirror", rows[i].name);
		const struct row row = {c.name, rows[i].sentence};
		put_family(&s, &row, "counter", counter_of, i);
	}
	put_family(&s, &in_flight, "gauge", in_flight_of, 0);
}
