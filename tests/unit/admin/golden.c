/* SPDX-License-Identifier: MIT */
/* Every path of the API that reads, the metrics, and what HAProxy's dialect shows, with a number of
 * its own in each counter: golden.txt has what they say at the same moment. */
#include "../golden.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

#include "weir/base/defs.h"
#include "weir/discover/discover.h"
#include "weir/filter/mirror.h"
#include "weir/stats/meter.h"

static struct fixture f;
static struct str text;
static struct meter *of_route, *of_listener;

/* The C library's, but that it stands still: the executable's symbols come first. */
static bool stopped;
__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (!stopped || (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC))
		return (int)syscall(SYS_clock_gettime, id, ts);
	*ts = (struct timespec){.tv_sec = id == CLOCK_REALTIME ? 1700000060 : 1000};
	return 0;
}

__attribute__((visibility("default"))) time_t time(time_t *out)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return out ? *out = ts.tv_sec : ts.tv_sec;
}

/* ---- what there is to be told ---- */

static const char yaml[] =
    "status: {socket: /tmp/weir-admin-unused.sock}\n"
    "shared: {redis: {address: '127.0.0.1:6379'}}\n"
    "listeners: [{name: web, bind: '127.0.0.1:8080'}]\n"
    "routes:\n"
    "  - name: api\n"
    "    match: {path: /v1}\n"
    "    pool: app\n"
    "    rate_limit:\n"
    "      - {key: client-ip, rate: 100/s, burst: 200, shared: true}\n"
    "      - {key: 'header:X-Key', rate: 5/m, burst: 3, status: 503, dry_run: true}\n"
    "    mirror: {pool: spare, share: 10%, compare: [status, latency]}\n"
    "  - name: both\n"
    "    split: {app: 95, spare: 5}\n"
    "    mirror: {pool: spare, compare: [body]}\n"
    "pools:\n"
    "  app:\n"
    "    balance: least-request\n"
    "    queue: {length: 9}\n"
    "    backends:\n"
    "      - {address: '127.0.0.1:1', name: a, max_requests: 2}\n"
    "      - {address: '127.0.0.1:2', name: 'b,\"', weight: 3}\n"
    "      - {address: 'unix:/tmp/c', priority: 1}\n"
    "  spare: {balance: p2c, backends: [{address: '127.0.0.1:3', name: s}]}\n";

static const struct discover_source *sources(void *ctx, struct arena *arena, size_t *n)
{
	static const struct discover_member members[] = {
	    {VIEW("m1"), VIEW("10.0.0.1:80"), VIEW("in the answer"), 7, 1, CONF_MEMBER_HERE,
	     1000000},
	    {VIEW("m2"), VIEW("10.0.0.2:80"), VIEW("not ready"), 1, 0, CONF_MEMBER_DRAINING,
	     2000000},
	    {VIEW("m3"), VIEW("10.0.0.3:80"), VIEW("gone"), 1, 0, CONF_MEMBER_GONE, 3000000}};
	static const struct discover_source rows[] = {
	    {VIEW("app"), VIEW("app.internal"), "dns", VIEW("SERVFAIL"), 4000000, 5000000, 6, 7, 8,
	     members, ARRAY_LEN(members)},
	    {VIEW("spare"), VIEW("members.yaml"), "file", VIEW(""), UINT64_MAX, UINT64_MAX, 9, 10,
	     11, NULL, 0}};
	(void)ctx;
	(void)arena;
	*n = ARRAY_LEN(rows);
	return rows;
}

static void (*plain_status)(void *ctx, struct arena *arena, struct admin_status *out);

static void status(void *ctx, struct arena *arena, struct admin_status *out)
{
	static const struct admin_counter memory[] = {{"buffers", "of bytes that wait", 201},
						      {"heap", "the rest", 202}};
	static const struct admin_counter spans[] = {{"exported", "spans", 203}};
	static struct admin_node nodes[] = {
	    {VIEW("n2"), VIEW("1.0"), VIEW("http://10.0.0.2:8404"), 1500000, 2.5, 3.5},
	    {.name = VIEW("n3"), .version = VIEW("1.1")}};
	plain_status(ctx, arena, out);
	out->started_us = 900000000;
	out->before.pid = 77;
	out->before.connections = 78;
	out->before.exchanges = 79;
	out->sandbox = VIEW("seccomp");
	out->handover_error = VIEW("no answer");
	out->tls_error = VIEW("site.pem: no key");
	out->memory = memory;
	out->n_memory = ARRAY_LEN(memory);
	out->tracing.on = true;
	out->tracing.endpoint = VIEW("http://collector");
	out->tracing.why = VIEW("refused");
	out->tracing.counters = spans;
	out->tracing.n_counters = ARRAY_LEN(spans);
	out->tracing.waiting_bytes = 204;
	out->shared.on = out->shared.connected = true;
	out->shared.node = VIEW("n1");
	out->shared.address = VIEW("127.0.0.1:6379");
	out->shared.published = 205;
	out->shared.failed = 206;
	out->shared.n_limits = 207;
	out->shared.limits_alone = true;
	out->shared.n_parts = 3;
	out->shared.pins_told = 208;
	out->shared.pins_heard = 209;
	out->shared.pins_lost = 210;
	out->shared.pins_unread = 211;
	out->shared.nodes = nodes;
	out->shared.n_nodes = ARRAY_LEN(nodes);
	out->logs[ADMIN_LOG_ACCESS].dropped = 212;
	out->logs[ADMIN_LOG_ACCESS].waiting_bytes = 213;
	out->logs[ADMIN_LOG_ACCESS].trouble = VIEW("no space left");
	out->logs[ADMIN_LOG_MESSAGES].reopen_failures = 214;
	out->logs[ADMIN_LOG_MESSAGES].reopen_error = VIEW("permission denied");
	out->keeping.on = true;
	out->keeping.directory = VIEW("/var/lib/weir");
	out->keeping.rows = 215;
	out->keeping.lost = 216;
	out->keeping.bytes = 217;
}

/* Another number in each. */
static void count(void *counters, size_t size, uint64_t from)
{
	struct counter *each = counters;
	for (size_t i = 0; i < size / sizeof(*each); i++)
		counter_add(&each[i], from + i);
}

static void make_traffic(void)
{
	static const uint64_t samples[] = {0, 255, 256, 511, 512, 16777215, 16777216, 100000000};
	struct pool *pool = &f.pools[0];
	count(&pool->state->local[0]->counters, sizeof(struct pool_counters), 301);
	atomic_store(&pool->state->n_queued, 4);
	for (uint32_t k = 0; k < pool->n; k++) {
		struct backend *b = pool->backends[k];
		struct backend_local *local = b->local[0];
		count(&local->counters, sizeof(local->counters), 401 + 100 * k);
		for (size_t i = 0; i < ARRAY_LEN(samples); i++)
			hist_set_record(&local->ok, (enum phase)(i % N_PHASES), samples[i]);
		hist_set_record(&local->ok, PHASE_total, 1000 * (k + 1));
		atomic_store(&b->in_flight, k + 2);
		atomic_store(&b->n_upconns, k + 5);
		b->since_us = 1700000000000000;
	}
	atomic_store(&pool->backends[1]->state, BACKEND_draining);
	strcpy(pool->backends[1]->reason, "by a test");
	pool_registry_tick(&f.reg, clock_us());
}

static void note_slow(struct backend *b)
{
	struct slow_record row = {.ended_us = clock_us() - 1000000,
				  .at_us = 1700000059000000,
				  .outcome = "backend_cut",
				  .in_flight = 11,
				  .queue_length = 12,
				  .status = 502,
				  .retries = 13,
				  .has_trace = true,
				  .trace_id = {0xab, 0xcd},
				  .request_id_len = 3,
				  .request_id = "r-1",
				  .method_len = 4,
				  .method = "POST",
				  .path_len = 4,
				  .path = "/s\"w"};
	for (int p = 0; p < N_PHASES; p++)
		row.phase_us[p] = 14 + (uint64_t)p;
	atomic_store(&b->slow, slow_ring_new());
	slow_put(atomic_load(&b->slow), &row);
}

/* One request of the first route at a filter, as a worker asks it. */
static struct mirror *filtered(enum filter_id id, const char *client)
{
	struct addr addr;
	struct message msg = {.method_text = VIEW("GET"), .method = METHOD_GET};
	struct filter_call call = {.state = f.filters.state[id][0],
				   .route = &f.conf->routes[0],
				   .msg = &msg,
				   .client = &addr,
				   .now_us = clock_us()};
	cr_assert(addr_parse(view_str(client), &addr));
	filter_at(id)->request(&call);
	return call.mirror;
}

static void make_answers(void)
{
	struct mirror *mirror = NULL;
	for (int i = 0; i < 203; i++)
		filtered(FILTER_rate_limit, "192.0.2.1:1");
	for (int i = 0; i < 40; i++)
		mirror = filtered(FILTER_mirror, "192.0.2.1:1") ?: mirror;
	cr_assert(mirror && mirror_take(mirror, 0, &f.conf->routes[0].mirror));
	count(mirror_counters(mirror, 0), sizeof(struct mirror_counters), 701);
	for (unsigned i = 0; i < 200; i++) {
		const struct mirror_side side[MIRROR_SIDES] = {
		    {.len = 5, .wait_us = 1000 + i, .status = 200},
		    {.len = 6, .wait_us = 1500 + i, .status = i % 50 ? 200 : 500}};
		mirror_note(mirror, 0,
			    &(struct mirror_pair){.conf = &f.conf->routes[0].mirror,
						  .side = side,
						  .request_id = VIEW("r-2"),
						  .target = VIEW("/m"),
						  .began_us = clock_us(),
						  .now_us = clock_us()});
	}
}

static void meters(void *ctx, struct arena *arena, struct admin_meters *out)
{
	static struct admin_meter rows[] = {{.name = VIEW("api")}, {.name = VIEW("web")}};
	(void)ctx;
	(void)arena;
	rows[0].meter = of_route;
	rows[1].meter = of_listener;
	*out = (struct admin_meters){&rows[0], &rows[1], 1, 1};
}

static struct meter *measured(uint64_t us)
{
	struct meter *meter = meter_new(1, clock_us());
	uint64_t phases[N_PHASES];
	for (int p = 0; p < N_PHASES; p++)
		phases[p] = us + (uint64_t)p;
	counter_add(&meter->local[0].exchanges, us);
	struct hist_set *sets[] = {meter_set(meter, 0, false), meter_set(meter, 0, true)};
	hist_sets_record_all(sets, ARRAY_LEN(sets), phases);
	meter_fold(meter, clock_us());
	return meter;
}

static void setup(void)
{
	stopped = true;
	fixture_has_certificates = fixture_has_sites = true;
	fixture_init(&f, yaml);
	f.name_of_connection = "/x";
	plain_status = f.api.host.status;
	f.api.host.status = status;
	f.api.host.sources = sources;
	f.api.host.meters = meters;
	of_route = measured(801);
	of_listener = measured(901);
	make_traffic();
	make_answers();
	note_slow(f.pools[0].backends[0]);
	event_add(EVENT_STATE, VIEW("app"), VIEW("a"), "down");
	event_add(EVENT_RELOAD, VIEW_NONE, VIEW_NONE, "generation 2");
	text = (struct str)STR_INIT;
}

static void teardown(void)
{
	for (uint32_t k = 0; k < f.pools[0].n; k++)
		atomic_store(&f.pools[0].backends[k]->in_flight, 0);
	str_fini(&text);
	meter_free(of_route);
	meter_free(of_listener);
	fixture_fini(&f);
}

TestSuite(golden, .init = setup, .fini = teardown);

/* ---- JSON ---- */

/* Of the build and of the process. */
static const char *const any[] = {"version", "pid", NULL};

static void put_json(const char *path)
{
	struct reply r = ask(&f, "GET", path, NULL);
	str_printf(&text, "== %s %u\n", path, r.status);
	golden_json(&text, str_as_view(&r.body), any);
	reply_fini(&r);
}

Test(golden, every_member_of_every_answer)
{
	static const char *const paths[] = {"/v1/status",         "/v1/pools/app",
					    "/v1/pools",          "/v1/pools/app/scaling",
					    "/v1/pools/app/slow", "/v1/pools/app/histogram",
					    "/v1/latency",        "/v1/history?pool=app&seconds=2",
					    "/v1/events",         "/v1/snapshot",
					    "/v1/connections",    "/v1/certificates",
					    "/v1/limits",         "/v1/mirror",
					    "/v1/nodes",          "/v1/runtime",
					    "/v1/sources",        "/v1/nope"};
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		put_json(paths[i]);
	golden_check("admin/golden.txt", &text);
}

/* ---- text ---- */

/* Lines of the process and of the machine are left out. */
static void put_text(struct view lines, const char *const *not_these)
{
	while (lines.len) {
		ptrdiff_t end = view_chr(lines, '\n');
		struct view line = view_head(lines, end < 0 ? lines.len : (size_t)end);
		lines = view_skip(lines, line.len + (end >= 0));
		const char *const *at = not_these;
		while (*at && !view_starts(line, view_str(*at)))
			at++;
		if (!*at)
			str_printf(&text, VIEW_FMT "\n", VIEW_ARG(line));
	}
}

Test(golden, every_metric)
{
	static const char *const not_these[] = {"process_", "weir_build_info{", NULL};
	struct reply r = ask(&f, "GET", "/metrics", NULL);
	put_text(str_as_view(&r.body), not_these);
	golden_check("admin/golden_metrics.txt", &text);
	reply_fini(&r);
}

Test(golden, every_column_of_the_dialect)
{
	static const char *const lines[] = {"show stat\n", "show stat 2 4 -1\n", "show info\n"};
	static const char *const not_these[] = {
	    "Version: ", "Pid: ", "Ulimit-n: ", "Maxconn: ", "node: ", NULL};
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct session s;
		struct str out = STR_INIT;
		session_init(&s, &f.api, true);
		session_put(&s, view_str(lines[i]));
		session_run(&s);
		session_take(&s, &out);
		str_printf(&text, "== %s", lines[i]);
		put_text(str_as_view(&out), not_these);
		session_fini(&s);
		str_fini(&out);
	}
	golden_check("admin/golden_dialect.txt", &text);
}
