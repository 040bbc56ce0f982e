/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/limits, and the same as metrics.
 *
 *   {"keys": {"limit": 1000000, "bytes": 48000000}, "limits": [
 *     {"route": "api", "key": "client-ip", "rate": "100/s", "burst": 200, "status": 429,
 *      "dry_run": false, "passed": N, "refused": N, "offenders": [
 *        {"key": "192.0.2.7", "refused": N, "last": "2026-11-24T01:02:03.456Z"}]}]}
 *
 * refused: with dry_run, what would have been.  offenders: the keys that were refused most,
 * at most 16, and how often since they are remembered; what may be a secret (fields, cookies,
 * queries) is shown as # and part of its hash.
 */
#include "limits.h"

#include "api.h"

#include "weir/base/clock.h"
#include "weir/filter/compress.h"
#include "weir/filter/rate_limit.h"

static void put_rate(struct json *j, const struct conf_rate *rate)
{
	char unit = rate->per_us == 1000000                    ? 's'
		    : rate->per_us == UINT64_C(60) * 1000000   ? 'm'
		    : rate->per_us == UINT64_C(3600) * 1000000 ? 'h'
							       : 'd';
	json_key(j, "rate");
	json_textf(j, "%llu/%c", (unsigned long long)rate->n, unit);
}

static void put_offenders(struct json *j, const struct rate_limit_view *view)
{
	uint64_t wall_minus_mono = clock_wall_us() - clock_us();
	json_key(j, "offenders");
	json_array_begin(j);
	for (size_t i = 0; i < view->n_offenders; i++) {
		const struct rate_offender *o = &view->offenders[i];
		json_object_begin(j);
		json_member_view(j, "key", view_of(o->text, o->text_len));
		json_member_u64(j, "refused", o->refused);
		json_member_time(j, "last", o->last_us + wall_minus_mono);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_limit(const struct rate_limit_view *view, void *arg)
{
	struct json *j = arg;
	json_object_begin(j);
	json_member_view(j, "route", view->route);
	json_member_view(j, "key", view->conf->key.text);
	put_rate(j, &view->conf->rate);
	json_member_u64(j, "burst", view->conf->burst);
	json_member_u64(j, "status", view->conf->status);
	json_member_bool(j, "dry_run", view->conf->dry_run);
	json_member_bool(j, "shared", view->conf->shared);
	json_member_u64(j, "passed", view->passed);
	json_member_u64(j, "refused", view->refused);
	put_offenders(j, view);
	json_object_end(j);
}

static void each_limit(const struct admin_host *host,
		       void (*each)(const struct rate_limit_view *view, void *arg), void *arg)
{
	const struct conf *conf = host->conf(host->ctx);
	for (size_t i = 0; i < conf->n_routes; i++)
		rate_limits_of(host->filters(host->ctx), &conf->routes[i], each, arg);
}

void api_limits(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct json j;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_key(&j, "keys");
	json_object_begin(&j);
	json_member_u64(&j, "limit", host->conf(host->ctx)->rate_limit_keys);
	json_member_u64(&j, "bytes", rate_limits_bytes());
	json_object_end(&j);
	json_key(&j, "limits");
	json_array_begin(&j);
	each_limit(host, put_limit, &j);
	json_array_end(&j);
	json_object_end(&j);
}

/* ---- metrics ---- */

static const char *const passed = "weir_rate_limit_passed_total";
static const char *const refused = "weir_rate_limit_refused_total";

static void put_labels(struct metric *m, const struct rate_limit_view *view)
{
	metric_label(m, "route", view->route);
	metric_label(m, "key", view->conf->key.text);
	metric_label(m, "dry_run", view->conf->dry_run ? VIEW("true") : VIEW("false"));
}

static void put_passed(const struct rate_limit_view *view, void *arg)
{
	struct metric *m = arg;
	metric_begin(m, passed);
	put_labels(m, view);
	metric_u64(m, view->passed);
}

static void put_refused(const struct rate_limit_view *view, void *arg)
{
	struct metric *m = arg;
	metric_begin(m, refused);
	put_labels(m, view);
	metric_u64(m, view->refused);
}

void put_limit_metrics(struct metric *m, const struct admin_host *host)
{
	if (!rate_limits_bytes())
		return;
	metric_family(m, passed, "counter", "Requests that a rate limit let through.");
	each_limit(host, put_passed, m);
	metric_family(m, refused, "counter",
		      "Requests that a rate limit refused, or would have (dry_run).");
	each_limit(host, put_refused, m);
}

static void put_sum(struct metric *m, const char *name, const char *help, uint64_t n)
{
	metric_family(m, name, "counter", help);
	metric_begin(m, name);
	metric_u64(m, n);
}

void put_compress_metrics(struct metric *m)
{
	struct compress_sums sums = compress_sums();
	if (!sums.responses && !sums.no_memory)
		return;
	put_sum(m, "weir_compress_responses_total", "Responses that were compressed.",
		sums.responses);
	put_sum(m, "weir_compress_in_bytes_total", "Their bytes before.", sums.bytes_in);
	put_sum(m, "weir_compress_out_bytes_total", "Their bytes after.", sums.bytes_out);
	put_sum(m, "weir_compress_no_memory_total",
		"Responses that went as they were because compress_bytes was reached.",
		sums.no_memory);
}
