/* SPDX-License-Identifier: MIT */
/* GET /metrics: names, values, escaping, and what promtool says. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"

#include "admin/metric.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f, NULL);
}

static void teardown(void)
{
	fixture_fini(&f);
}

TestSuite(admin_metrics, .init = setup, .fini = teardown);

static void has(const struct reply *r, const char *line)
{
	cr_assert(strstr(r->body.ptr, line), "%s is not in\n%s", line, r->body.ptr);
}

static void make_traffic(void)
{
	struct backend_local *local = f.pools[0].backends[0]->local[0];
	counter_add(&local->counters.requests, 11);
	counter_add(&local->counters.responses_5xx, 4);
	counter_add(&local->counters.bytes_out, 77);
	static const uint64_t samples[] = {0, 255, 256, 511, 512, 16777215, 16777216, 100000000};
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		hist_set_record(&local->ok, PHASE_total, samples[i]);
	pool_registry_tick(&f.reg, clock_us());
}

Test(admin_metrics, values)
{
	make_traffic();
	event_add(EVENT_RELOAD, VIEW_NONE, VIEW_NONE, "generation 2");
	struct reply r = ask(&f, "GET", "/metrics", NULL);
	cr_assert_eq(r.status, 200);
	cr_assert(strstr(r.head.ptr, "Content-Type: text/plain; version=0.0.4"));
	has(&r, "weir_build_info{version=\"" WEIR_VERSION "\"} 1\n");
	has(&r, "\nweir_config_last_reload_successful 1\n");
	has(&r, "\nweir_config_last_reload_success_timestamp_seconds ");
	has(&r, "\nweir_connections{listener=\"we\\\"b\",bind=\"127.0.0.1:8080\"} 5\n");
	has(&r, "\nweir_accepted_total 7\n");
	has(&r, "\nweir_requests_total 42\n");
	has(&r, "\nweir_received_bytes_total 1000\n");
	has(&r, "\nweir_responses_total{code_class=\"2xx\"} 40\n");
	has(&r, "\nweir_responses_total{code_class=\"5xx\"} 2\n");
	has(&r, "\nweir_exchanges_total{outcome=\"no_route\"} 0\n");
	has(&r, "\nweir_rejected_requests_total{reason=\"bad_chunk\"} 2\n");
	has(&r, "\nweir_worker_loop_lag_seconds{worker=\"1\"} 0.150000\n");
	has(&r, "\nweir_backend_up{pool=\"app\",backend=\"a\"} 1\n");
	has(&r, "\nweir_backend_requests_total{pool=\"app\",backend=\"a\"} 11\n");
	has(&r, "\nweir_backend_sent_bytes_total{pool=\"app\",backend=\"a\"} 77\n");
	has(&r,
	    "\nweir_backend_responses_total{pool=\"app\",backend=\"a\",code_class=\"5xx\"} 4\n");
	has(&r, "\nweir_pool_queue_length{pool=\"spare\"} 0\n");
	has(&r, "\nweir_pool_queue_timeouts_total{pool=\"spare\"} 0\n");
	has(&r, "\nprocess_start_time_seconds 1700000000\n");
	has(&r, "\nprocess_open_fds ");
	has(&r, "\nprocess_resident_memory_bytes ");
	reply_fini(&r);
}

static void has_family(const struct reply *r, const char *prefix, const char *row)
{
	struct metric_counter c;
	char line[200];
	metric_counter_name(&c, prefix, row);
	snprintf(line, sizeof(line), "\n# TYPE %s counter\n", c.name);
	has(r, line);
}

Test(admin_metrics, every_row_of_the_tables)
{
	struct reply r = ask(&f, "GET", "/metrics", NULL);
#define COUNTER(name, sentence) has_family(&r, "weir_backend", #name);
#include "weir/tbl/backend_counters.def"
#undef COUNTER
#define COUNTER(name, sentence) has_family(&r, "weir_pool", #name);
#include "weir/tbl/pool_counters.def"
#undef COUNTER
	reply_fini(&r);
}

#define BUCKET                                                                                     \
	"\nweir_backend_phase_duration_seconds_bucket{pool=\"app\",backend=\"a\",phase=\"total\"," \
	"le="

Test(admin_metrics, buckets_are_exact_at_their_borders)
{
	make_traffic();
	struct reply r = ask(&f, "GET", "/metrics", NULL);
	has(&r, BUCKET "\"0.000256\"} 2\n");
	has(&r, BUCKET "\"0.000512\"} 4\n");
	has(&r, BUCKET "\"0.001024\"} 5\n");
	has(&r, BUCKET "\"8.388608\"} 5\n");
	has(&r, BUCKET "\"16.777216\"} 6\n");
	has(&r, BUCKET "\"+Inf\"} 8\n");
	has(&r, "_count{pool=\"app\",backend=\"a\",phase=\"total\"} 8\n");
	has(&r, "_sum{pool=\"app\",backend=\"a\",phase=\"total\"} 133.555965\n");
	cr_assert(!strstr(r.body.ptr, "phase=\"wait\""), "no samples, no series");
	reply_fini(&r);
}

Test(admin_metrics, phases_of_pools_and_backends)
{
	struct hist_set *a = &f.pools[0].backends[0]->local[0]->ok;
	struct hist_set *b = &f.pools[0].backends[1]->local[0]->ok;
	for (int i = 0; i < 3; i++) {
		hist_set_record(a, PHASE_queue, 0);
		hist_set_record(a, PHASE_wait, 31);
		hist_set_record(b, PHASE_queue, 1000);
	}
	pool_registry_tick(&f.reg, clock_us());
	struct reply r = ask(&f, "GET", "/metrics", NULL);
	has(&r, "\nweir_pool_phase_duration_seconds_bucket{pool=\"app\",phase=\"queue\","
		"le=\"0.000064\"} 3\n");
	has(&r, "\nweir_pool_phase_duration_seconds_bucket{pool=\"app\",phase=\"queue\","
		"le=\"0.001024\"} 6\n");
	has(&r, "\nweir_pool_phase_duration_seconds_sum{pool=\"app\",phase=\"queue\"} 0.003000\n");
	has(&r, "\nweir_backend_phase_seconds_total{pool=\"app\",backend=\"a\",phase=\"wait\"} "
		"0.000093\n");
	has(&r, "\nweir_backend_phase_seconds_total{pool=\"app\",backend=\"a\",phase=\"queue\"} "
		"0\n");
	cr_assert(!strstr(r.body.ptr, "weir_backend_phase_duration_seconds_count{pool=\"app\","
				      "backend=\"a\",phase=\"queue\""));
	reply_fini(&r);
}

Test(admin_metrics, label_values_are_escaped)
{
	struct str out = STR_INIT;
	struct metric m = {.out = &out};
	metric_begin(&m, "x");
	metric_label(&m, "a", VIEW("q\"b\\n\nl"));
	metric_label(&m, "b", VIEW("{,}"));
	metric_u64(&m, 1);
	cr_assert_str_eq(out.ptr, "x{a=\"q\\\"b\\\\n\\nl\",b=\"{,}\"} 1\n");
	str_fini(&out);
}

/* Each family has one head, and its samples follow it. */
Test(admin_metrics, families_are_whole)
{
	make_traffic();
	struct reply r = ask(&f, "GET", "/metrics", NULL);
	for (char *line = r.body.ptr; (line = strstr(line, "# TYPE "));) {
		char head[200];
		size_t len = strcspn(line + 7, " ");
		snprintf(head, sizeof(head), "\n# TYPE %.*s ", (int)len, line + 7);
		line += 7;
		cr_assert(!strstr(line, head), "%s twice", head);
	}
	reply_fini(&r);
}

Test(admin_metrics, promtool_finds_nothing)
{
	char path[] = "/tmp/weir-metrics-XXXXXX", command[200], line[300] = "";
	if (system("command -v promtool >/dev/null 2>&1") != 0)
		cr_skip_test("promtool is not installed (package prometheus)");
	make_traffic();
	struct reply r = ask(&f, "GET", "/metrics", NULL);
	int fd = mkstemp(path);
	cr_assert(fd >= 0 && write(fd, r.body.ptr, r.body.len) == (ssize_t)r.body.len);
	close(fd);
	snprintf(command, sizeof(command), "promtool check metrics < %s 2>&1", path);
	FILE *pipe = popen(command, "r");
	char *found = fgets(line, sizeof(line), pipe);
	int result = pclose(pipe);
	unlink(path);
	cr_assert(!found && result == 0, "%s", line);
	reply_fini(&r);
}
