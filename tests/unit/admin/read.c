/* SPDX-License-Identifier: MIT */
/* Every endpoint that reads. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "fixture.h"

#include "weir/base/defs.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f, NULL);
}

static void teardown(void)
{
	fixture_fini(&f);
}

TestSuite(admin_read, .init = setup, .fini = teardown);

static bool has_line(const struct str *text, const char *line)
{
	return strstr(text->ptr, line) != NULL;
}

Test(admin_read, status)
{
	struct reply r = ask(&f, "GET", "/v1/status", NULL);
	cr_assert_eq(r.status, 200);
	cr_assert_str_eq(json_at(&r.body, "version"), WEIR_VERSION);
	cr_assert_str_eq(json_at(&r.body, "generation"), "1");
	cr_assert_str_eq(json_at(&r.body, "last_reload"),
			 "{\"ok\":true,\"at\":\"2023-11-14T22:13:21.123Z\",\"error\":null}");
	cr_assert_str_eq(json_at(&r.body, "draining"), "false");
	cr_assert_str_eq(
	    json_at(&r.body, "workers.1"),
	    "{\"id\":1,\"connections\":2,\"exchanges\":4,\"pipes\":0,\"loop_lag_us\":150000}");
	cr_assert_str_eq(json_at(&r.body, "listeners.0.name"), "we\"b");
	cr_assert_str_eq(json_at(&r.body, "totals.connections"), "5");
	cr_assert_str_eq(json_at(&r.body, "totals.in_flight"), "5");
	cr_assert_str_eq(json_at(&r.body, "totals.log_dropped"), "0");
	cr_assert_str_eq(json_at(&r.body, "outcomes"), "{\"ok\":40}");
	cr_assert_str_eq(json_at(&r.body, "rejects"), "{\"bad_chunk\":2}");
	reply_fini(&r);
}

Test(admin_read, problems_are_sentences)
{
	f.reload_result = ERR_SYNTAX;
	f.diagnostics = "weir.yaml:3:1: error: unknown key\n  3 | x\n";
	atomic_store(&f.pools[0].backends[1]->state, BACKEND_down);
	strcpy(f.pools[0].backends[1]->reason, "connect refused");
	atomic_store(&f.pools[1].backends[0]->state, BACKEND_maintenance);
	struct reply r = ask(&f, "GET", "/v1/status", NULL);
	cr_assert_str_eq(json_at(&r.body, "problems.0"),
			 "the last reload failed: weir.yaml:3:1: error: unknown key");
	cr_assert(has_line(&r.body, "accepting stopped 3 times"));
	cr_assert(has_line(&r.body, "worker 1 was busy for 150 ms in one go"));
	cr_assert(has_line(&r.body, "\"backend app/b is down: connect refused\""));
	cr_assert(has_line(&r.body, "\"pool spare has no backend that takes requests\""));
	cr_assert_eq(json_size(&r.body, "problems"), 5);
	reply_fini(&r);
}

static void minute_of(struct history **history, uint32_t requests, uint32_t errors)
{
	if (!*history)
		*history = history_new();
	for (int i = 0; i < HISTORY_BLOCK; i++)
		history_push(*history, &(struct history_row){.at_us = 1 + (uint64_t)i,
							     .requests = i ? 0 : requests,
							     .errors = i ? 0 : errors});
}

static bool is_told(const char *line)
{
	struct reply r = ask(&f, "GET", "/v1/status", NULL);
	bool told = has_line(&r.body, line);
	reply_fini(&r);
	return told;
}

Test(admin_read, who_fails_without_being_left_alone_is_a_problem)
{
	static const char pool[] = "pool app fails: 20 of 40 requests of the last minute";
	static const char backend[] = "backend app/a fails: 5 of 10 requests of the last minute";
	struct history **all = &f.pools[0].state->history, **one = &f.pools[0].backends[0]->history;
	minute_of(one, 10, 5);
	cr_expect(is_told(backend));
	minute_of(all, 41, 20);
	cr_expect(is_told(backend));
	minute_of(all, 40, 20);
	cr_expect(is_told(pool) && !is_told(backend), "it is said once");
	minute_of(all, 4, 4);
	minute_of(one, 4, 4);
	cr_expect(!is_told("of the last minute"), "a few are nothing");
	minute_of(one, 0, 7); /* nobody listens there */
	cr_expect(is_told(
	    "backend app/a fails: 7 attempts of the last minute; only 0 requests got there"));
	minute_of(one, 11, 5);
	cr_expect(!is_told("of the last minute"), "less than half");
	minute_of(one, 10, 5);
	atomic_store(&f.pools[0].backends[0]->state, BACKEND_ejected);
	cr_expect(!is_told(backend), "that is told");
}

Test(admin_read, pools_have_every_counter)
{
	struct backend *b = f.pools[0].backends[1];
	counter_add(&b->local[0]->counters.requests, 12);
	counter_add(&b->local[0]->counters.bytes_in, 3000000000);
	atomic_store(&b->in_flight, 2);
	atomic_store(&b->n_upconns, 5);
	atomic_store(&b->learned_idle_us, 7500000);
	atomic_store(&b->local[0]->n_idle_shown, 3);
	atomic_store(&f.pools[0].state->n_queued, 4);
	counter_add(&f.pools[0].state->local[0]->counters.queued, 9);
	struct reply r = ask(&f, "GET", "/v1/pools", NULL);
	cr_assert_eq(json_size(&r.body, "pools"), 2);
	cr_assert_str_eq(json_at(&r.body, "pools.0.name"), "app");
	cr_assert_str_eq(json_at(&r.body, "pools.0.strategy"), "least-request");
	cr_assert_str_eq(json_at(&r.body, "pools.0.queued"), "4");
	cr_assert_str_eq(json_at(&r.body, "pools.0.queued_total"), "9");
#define COUNTER(name, sentence) \
	cr_assert_str_neq(json_at(&r.body, "pools.0." #name), "<none>", #name);
#include "weir/tbl/pool_counters.def"
#undef COUNTER
#define COUNTER(name, sentence) \
	cr_assert_str_neq(json_at(&r.body, "pools.0.backends.1." #name), "<none>", #name);
#include "weir/tbl/backend_counters.def"
#undef COUNTER
	reply_fini(&r);
	r = ask(&f, "GET", "/v1/pools/app", NULL);
	static const struct {
		const char *key, *value;
	} rows[] = {{"name", "b"},      {"address", "127.0.0.1:2"}, {"state", "up"},
		    {"weight", "2"},    {"priority", "0"},          {"in_flight", "2"},
		    {"queued", "4"},    {"upconns", "5"},           {"idle_upconns", "3"},
		    {"requests", "12"}, {"bytes_in", "3000000000"}, {"checks", "[]"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char path[64];
		snprintf(path, sizeof(path), "backends.1.%s", rows[i].key);
		cr_assert_str_eq(json_at(&r.body, path), rows[i].value, "%s", path);
	}
	cr_assert_str_eq(json_at(&r.body, "backends.1.closes_idle_after_us"), "7500000");
	cr_assert_str_eq(json_at(&r.body, "backends.0.closes_idle_after_us"), "null");
	cr_assert_str_eq(json_at(&r.body, "backends.2.name"), "unix:/tmp/c");
	cr_assert_str_eq(json_at(&r.body, "backends.2.priority"), "1");
	reply_fini(&r);
	atomic_store(&b->in_flight, 0);
}

Test(admin_read, latency_of_every_window_and_phase)
{
	hist_set_record(&f.pools[0].backends[0]->local[0]->ok, PHASE_total, 1000);
	hist_set_record(&f.pools[0].backends[0]->local[0]->ok, PHASE_total, 3000);
	pool_registry_tick(&f.reg, clock_us());
	struct reply r = ask(&f, "GET", "/v1/pools/app", NULL);
	for (int w = 0; w < N_WINDOWS; w++) {
		for (int p = 0; p < N_PHASES; p++) {
			char path[64];
			snprintf(path, sizeof(path), "backends.0.latency.%s.%s.n",
				 window_name((enum window)w), phase_name((enum phase)p));
			cr_assert_str_eq(json_at(&r.body, path), p == PHASE_total ? "2" : "0");
		}
	}
	cr_assert_str_eq(json_at(&r.body, "backends.0.latency.1m.total.mean_us"), "2000");
	cr_assert_str_eq(json_at(&r.body, "backends.0.latency.1m.total.max_us"), "3000");
	reply_fini(&r);
}

/* A quantile of a pool is one of all its requests, not a mean or the worst of its backends'. */
Test(admin_read, latency_of_a_pool_is_that_of_all_its_requests)
{
	static const char *const wanted[][2] = {
	    {"n", "100"},        {"p50_us", "1000"},  {"p90_us", "1000"},
	    {"p99_us", "49664"}, {"max_us", "80000"}, {"mean_us", "2280"},
	};
	struct pool *pool = &f.pools[0];
	for (int i = 0; i < 98; i++)
		hist_set_record(&pool->backends[0]->local[0]->ok, PHASE_total, 1000);
	hist_set_record(&pool->backends[1]->local[0]->ok, PHASE_total, 50000);
	hist_set_record(&pool->backends[1]->local[0]->ok, PHASE_wait, 40000);
	hist_set_record(&pool->backends[2]->local[0]->ok, PHASE_total, 80000);
	pool_registry_tick(&f.reg, clock_us());
	struct reply r = ask(&f, "GET", "/v1/pools/app", NULL);
	for (int w = 0; w < N_WINDOWS; w++) {
		char path[64];
		for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
			snprintf(path, sizeof(path), "latency.%s.total.%s",
				 window_name((enum window)w), wanted[i][0]);
			cr_assert_str_eq(json_at(&r.body, path), wanted[i][1], "%s", path);
		}
		snprintf(path, sizeof(path), "latency.%s.wait.n", window_name((enum window)w));
		cr_assert_str_eq(json_at(&r.body, path), "1");
	}
	reply_fini(&r);
	/* of many pools only the totals */
	expect(&f, "GET", "/v1/pools", NULL, 200, "pools.0.latency.1m.total.p99_us", "49664");
	expect(&f, "GET", "/v1/pools", NULL, 200, "pools.0.latency.1m.wait", "<none>");
	expect(&f, "GET", "/v1/pools", NULL, 200, "pools.1.latency.1m.total.n", "0");
}

Test(admin_read, histograms_merge_exactly)
{
	hist_set_record(&f.pools[0].backends[0]->local[0]->ok, PHASE_wait, 100);
	hist_set_record(&f.pools[0].backends[1]->local[0]->ok, PHASE_wait, 100);
	hist_set_record(&f.pools[0].backends[1]->local[0]->ok, PHASE_wait, 5000);
	pool_registry_tick(&f.reg, clock_us());
	const char *merged = "/v1/pools/app/histogram?phase=wait&window=start";
	expect(&f, "GET", merged, NULL, 200, "buckets", "[[100,2],[4992,1]]");
	expect(&f, "GET", merged, NULL, 200, "backend", "null");
	expect(&f, "GET", merged, NULL, 200, "n", "3");
	const char *one = "/v1/pools/app/histogram?backend=a&phase=wait&window=10s";
	expect(&f, "GET", one, NULL, 200, "buckets", "[[100,1]]");
	expect(&f, "GET", "/v1/pools/app/histogram", NULL, 200, "phase", "total");
	expect(&f, "GET", "/v1/pools/app/histogram", NULL, 200, "window", "1m");
	expect(&f, "GET", "/v1/pools/app/histogram?backend=unix%3A%2Ftmp%2fc", NULL, 200, "backend",
	       "unix:/tmp/c");
}

Test(admin_read, bad_queries_are_refused)
{
	static const struct {
		const char *path;
		unsigned status;
	} rows[] = {
	    {"/v1/pools/app/histogram?phase=lunch", 400},
	    {"/v1/pools/app/histogram?window=2m", 400},
	    {"/v1/pools/app/histogram?backend=nope", 404},
	    {"/v1/pools/app/histogram?backend=a&backend=b", 400},
	    {"/v1/pools/app/histogram?colour=red", 400},
	    {"/v1/pools/app/histogram?backend=%zz", 400},
	    {"/v1/pools/app/histogram?backend=%00", 400},
	    {"/v1/pools/nope/histogram", 404},
	    {"/v1/events?since=yesterday", 400},
	    {"/v1/events?since=-1", 400},
	    {"/v1/events?since=99999999999999999999", 400},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct reply r = ask(&f, "GET", rows[i].path, NULL);
		cr_assert_eq(r.status, rows[i].status, "%s: %u", rows[i].path, r.status);
		cr_assert_str_neq(json_at(&r.body, "error"), "<none>");
		reply_fini(&r);
	}
}

Test(admin_read, events_since)
{
	expect(&f, "GET", "/v1/events", NULL, 200, "events", "[]");
	event_add(EVENT_START, VIEW_NONE, VIEW_NONE, "weir %d", 1);
	event_add(EVENT_STATE, VIEW("app"), VIEW("a"), "down: \"x\"");
	struct reply r = ask(&f, "GET", "/v1/events", NULL);
	cr_assert_str_eq(json_at(&r.body, "events.0.kind"), "start");
	cr_assert_str_eq(json_at(&r.body, "events.0.pool"), "null");
	cr_assert_str_eq(json_at(&r.body, "events.1.backend"), "a");
	cr_assert_str_eq(json_at(&r.body, "events.1.message"), "down: \"x\"");
	cr_assert_str_eq(json_at(&r.body, "last"), "2");
	reply_fini(&r);
	expect(&f, "GET", "/v1/events?since=1", NULL, 200, "events.0.id", "2");
	expect(&f, "GET", "/v1/events?since=2", NULL, 200, "events", "[]");
	expect(&f, "GET", "/v1/events?since=18446744073709551615", NULL, 200, "events", "[]");
}

Test(admin_read, events_keep_the_last_thousand)
{
	for (int i = 0; i < 2500; i++)
		event_add(EVENT_WEIGHT, VIEW("app"), VIEW("a"), "weight %d", i);
	struct reply r = ask(&f, "GET", "/v1/events?since=3", NULL);
	cr_assert_eq(json_size(&r.body, "events"), EVENTS_MAX);
	cr_assert_str_eq(json_at(&r.body, "events.0.id"), "1501");
	cr_assert_str_eq(json_at(&r.body, "events.999.message"), "weight 2499");
	reply_fini(&r);
}

Test(admin_read, connections_at_once)
{
	f.name_of_connection = "/a\x1b\xff";
	struct reply r = ask(&f, "GET", "/v1/connections", NULL);
	cr_assert_str_eq(json_at(&r.body, "connections.0.client"), "192.0.2.7:5555");
	cr_assert_str_eq(json_at(&r.body, "connections.0.age_s"), "2");
	cr_assert_str_eq(json_at(&r.body, "connections.0.pool"), "null");
	cr_assert_str_eq(json_at(&r.body, "connections.0.path"), "/a\x1b\xef\xbf\xbd");
	reply_fini(&r);
}

static struct session later;
static unsigned n_ready;

static void on_ready(struct session *s)
{
	cr_assert_eq(s, &later);
	n_ready++;
}

static void ask_later(void)
{
	f.defer = true;
	session_init(&later, &f.api, true);
	later.ready = on_ready;
	session_put(&later, VIEW("GET /v1/connections HTTP/1.1\r\nHost: w\r\n\r\n"
				 "GET /livez HTTP/1.1\r\nHost: w\r\n\r\n"));
	session_run(&later);
	cr_assert_eq(later.state, SESSION_WAITING);
	cr_assert_eq(session_out(&later).len, 0);
}

Test(admin_read, connections_later)
{
	ask_later();
	fixture_release(&f);
	cr_assert_eq(n_ready, 1);
	cr_assert(strstr(later.out.ptr, "192.0.2.7:5555") != NULL);
	session_sent(&later, session_out(&later).len);
	session_run(&later);
	cr_assert(strstr(later.out.ptr, "\"live\":true") != NULL);
	session_fini(&later);
}

Test(admin_read, connections_when_the_client_has_left)
{
	ask_later();
	session_fini(&later);
	fixture_release(&f);
	cr_assert_eq(n_ready, 0);
}

Test(admin_read, config_is_the_effective_one)
{
	expect(&f, "GET", "/v1/config", NULL, 200, "pools.spare.balance", "p2c");
	expect(&f, "GET", "/v1/config", NULL, 200, "pools.app.backends.1.weight", "2");
}

Test(admin_read, index_lists_every_endpoint)
{
	struct reply r = ask(&f, "GET", "/", NULL);
	long n = 0;
#define API(method, path, handler, access, sentence)           \
	cr_assert(strstr(r.body.ptr, "\"" path "\"") != NULL); \
	n++;
#include "weir/tbl/api.def"
#undef API
	cr_assert_eq(json_size(&r.body, "endpoints"), n);
	reply_fini(&r);
}

Test(admin_read, probes)
{
	expect(&f, "GET", "/livez", NULL, 200, "live", "true");
	expect(&f, "GET", "/readyz", NULL, 200, "ready", "true");
	atomic_store(&f.pools[1].backends[0]->state, BACKEND_ejected);
	expect(&f, "GET", "/readyz", NULL, 503, "error",
	       "pool spare has no backend that takes requests");
	atomic_store(&f.pools[1].backends[0]->state, BACKEND_unknown);
	expect(&f, "GET", "/readyz", NULL, 503, "error",
	       "pool spare has no backend that passed a health check yet");
	atomic_store(&f.pools[1].backends[0]->state, BACKEND_up);
	expect(&f, "GET", "/readyz", NULL, 200, "ready", "true");
	f.draining = true;
	expect(&f, "GET", "/readyz", NULL, 503, "error", "weir is draining");
	expect(&f, "GET", "/livez", NULL, 200, "live", "true");
}

Test(admin_read, an_unused_pool_may_be_down)
{
	fixture_fini(&f);
	fixture_init(
	    &f, "listeners: [{bind: '127.0.0.1:1'}]\n"
		"routes: [{pool: app}]\n"
		"pools: {app: {backends: ['127.0.0.1:2']}, idle: {backends: ['127.0.0.1:3']}}\n");
	atomic_store(&f.pools[1].backends[0]->state, BACKEND_down);
	expect(&f, "GET", "/readyz", NULL, 200, "ready", "true");
	atomic_store(&f.pools[0].backends[0]->state, BACKEND_down);
	expect(&f, "GET", "/readyz", NULL, 503, "error",
	       "pool app has no backend that takes requests");
}

Test(admin_read, unknown_paths_and_wrong_methods)
{
	static const struct {
		const char *method, *path;
		unsigned status;
		const char *allow;
	} rows[] = {
	    {"GET", "/v1/nothing", 404, NULL},
	    {"GET", "/v1/status/", 404, NULL},
	    {"GET", "/v1//status", 404, NULL},
	    {"GET", "/v1/../etc/passwd", 404, NULL},
	    {"GET", "/v1/pools/", 404, NULL},
	    {"GET", "/v1/pools/%", 404, NULL},
	    {"GET", "/v1/pools/%00", 404, NULL},
	    {"GET", "/v1/pools/nope", 404, NULL},
	    {"GET", "/v1/pools/app/backends/a/b", 404, NULL},
	    {"OPTIONS", "*", 404, NULL},
	    {"POST", "/v1/status", 405, "Allow: GET, HEAD\r\n"},
	    {"GET", "/v1/reload", 405, "Allow: POST\r\n"},
	    {"PUT", "/v1/pools/app/backends/a", 405, "Allow: POST, DELETE\r\n"},
	    {"BREW", "/", 405, "Allow: GET, HEAD\r\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct reply r = ask(&f, rows[i].method, rows[i].path, NULL);
		cr_assert_eq(r.status, rows[i].status, "%s %s: %u", rows[i].method, rows[i].path,
			     r.status);
		cr_assert_str_neq(json_at(&r.body, "error"), "<none>");
		if (rows[i].allow)
			cr_assert(strstr(r.head.ptr, rows[i].allow), "%s", r.head.ptr);
		reply_fini(&r);
	}
}

Test(admin_read, head_has_no_body)
{
	struct reply r = ask(&f, "HEAD", "/v1/pools", NULL);
	cr_assert_eq(r.status, 200);
	cr_assert_eq(r.body.len, 0);
	cr_assert(strstr(r.head.ptr, "Content-Length: ") && !strstr(r.head.ptr, "Length: 0\r\n"));
	reply_fini(&r);
}

Test(admin_read, a_thousand_backends)
{
	struct str yaml = STR_INIT;
	str_text(&yaml, "listeners: [{bind: '127.0.0.1:1'}]\npools:\n  app:\n    backends:\n");
	for (int i = 0; i < 1000; i++)
		str_printf(&yaml, "      - 10.0.%d.%d:80\n", i / 250, i % 250);
	fixture_fini(&f);
	fixture_init(&f, yaml.ptr);
	for (int i = 0; i < 1000; i++)
		for (int p = 0; p < N_PHASES; p++)
			hist_set_record(&f.pools[0].backends[i]->local[0]->ok, (enum phase)p, 500);
	pool_registry_tick(&f.reg, clock_us());
	struct reply r = ask(&f, "GET", "/v1/pools/app", NULL);
	cr_assert_eq(r.status, 200);
	cr_assert_eq(json_size(&r.body, "backends"), 1000);
	cr_assert_str_eq(json_at(&r.body, "backends.999.latency.5m.self.n"), "1");
	reply_fini(&r);
	/* what a scrape costs is its bytes: written, sent, read, stored */
	r = ask(&f, "GET", "/metrics", NULL);
	cr_assert(r.body.len < 7500 * 1000, "%zu bytes", r.body.len);
	cr_assert(strstr(r.body.ptr, "\nweir_pool_phase_duration_seconds_count{pool=\"app\","
				     "phase=\"queue\"} 1000\n"));
	reply_fini(&r);
	str_fini(&yaml);
}
