/* SPDX-License-Identifier: MIT */
/* Kubernetes: lists and watches of EndpointSlices, which endpoints are members, and when a watch
 * begins anew. */
#include "fixture.h"

#define SLICES                                                   \
	"/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices" \
	"?labelSelector=kubernetes.io%2Fservice-name%3Dweb"
#define LIST "http://k8s" SLICES "&limit=500"
#define WATCH(version)                                                              \
	"http://k8s" SLICES "&watch=1&allowWatchBookmarks=true&timeoutSeconds=300&" \
	"resourceVersion=" version
#define META(name, version) \
	"\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}"
#define POD(ip) "{\"addresses\":[\"" ip "\"],\"targetRef\":{\"name\":\"pod-" ip "\"}}"
#define IS(ip, conditions) "{\"addresses\":[\"" ip "\"],\"conditions\":{" conditions "}}"
#define SLICE(name, version, pods) \
	"{" META(name, version) ",\"ports\":[{\"port\":80}],\"endpoints\":[" pods "]}"
#define LISTED(version, slices) \
	"{\"metadata\":{\"resourceVersion\":\"" version "\"},\"items\":[" slices "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"

static void kubernetes(void)
{
	if (!w.pool.discover.kubernetes.api.text.ptr)
		w.pool.discover.kubernetes.api.text = VIEW("http://k8s/");
	w.pool.discover.kubernetes.namespace = VIEW("ns");
	w.pool.discover.kubernetes.service = VIEW("web");
	begin(CONF_SOURCE_kubernetes, "ns/web");
}

Test(kubernetes, a_list_then_a_watch_from_there, WORLD)
{
	kubernetes();
	cr_expect_str_eq(w.url, LIST);
	cr_expect_str_eq(w.headers, "Accept: application/json\r\n");
	cr_expect(view_eq(w.asked.method, VIEW("GET")) && w.asked.keep && !w.asked.piece);
	cr_expect(w.asked.timeout_us == 10000000 && w.asked.body_max == 32 << 20);
	answer_json(LISTED("7", SLICE("s1", "5", POD("10.0.0.1")) "," SLICE(
				    "s2", "6", POD("10.0.0.2") "," POD("2001:db8::1"))));
	expect_members("10.0.0.1:80 w1 (s1 pod-10.0.0.1), 10.0.0.2:80 w1 (s2 pod-10.0.0.2), "
		       "[2001:db8::1]:80 w1 (s2 pod-2001:db8::1)");
	cr_expect_str_eq(w.url, WATCH("7"));
	cr_expect(w.asked.silence_us == 330000000 && w.asked.piece && !w.asked.keep);
	expect_error("");
	expect_no_timer();
}

Test(kubernetes, which_endpoints_are_members, WORLD)
{
	kubernetes();
	answer_json(LISTED(
	    "7",
	    SLICE(
		"s", "5",
		IS("10.0.0.1", "") "," IS("10.0.0.2", "\"ready\":null") "," IS(
		    "10.0.0.3",
		    "\"ready"
		    "\":"
		    "false") "," IS("10.0.0.4",
				    "\"ready\":false,\"serving\":true") "," IS("10.0.0.5",
									       "\"ready\":false,"
									       "\"serving\":true,"
									       "\"terminating\":"
									       "true") "," IS("10."
											      "0.0."
											      "6",
											      "\"re"
											      "ady"
											      "\":"
											      "fals"
											      "e,"
											      "\"se"
											      "rvin"
											      "g\":"
											      "fals"
											      "e,"
											      "\"te"
											      "rmin"
											      "atin"
											      "g\":"
											      "tru"
											      "e") "," IS("10.0.0.7",
													  "\"ready\":"
													  "true,"
													  "\"terminating"
													  "\":true") "," IS("10.0.0.8",
															    "\"ready\":true,\"serving\":false") "," IS("0.0.0.0",
																				       "") "," IS("a.name",
																						  "") ",{\"addresses\":[]},{\"addresses\":[7]},{}")));
	expect_members("10.0.0.1:80 w1 (s), 10.0.0.2:80 w1 (s), draining 10.0.0.5:80 w1 (s), "
		       "draining 10.0.0.7:80 w1 (s), 10.0.0.8:80 w1 (s)");
}

Test(kubernetes, one_in_two_slices_takes_traffic_if_either_says_so, WORLD)
{
	kubernetes();
	answer_json(LISTED("7", SLICE("s1", "5", IS("10.0.0.1", "\"terminating\":true")) "," SLICE(
				    "s2", "5", POD("10.0.0.1"))));
	expect_members("10.0.0.1:80 w1 (s2 pod-10.0.0.1)");
}

Test(kubernetes, events_change_slices, WORLD)
{
	kubernetes();
	answer_json(LISTED("7", SLICE("s1", "5", POD("10.0.0.1"))));
	piece(EVENT("ADDED", SLICE("s2", "8", POD("10.0.0.2"))));
	expect_members("10.0.0.1:80 w1 (s1 pod-10.0.0.1), 10.0.0.2:80 w1 (s2 pod-10.0.0.2)");
	piece(EVENT("MODIFIED", SLICE("s1", "9", POD("10.0.0.3"))));
	expect_members("gone 10.0.0.1:80 w1 (s1 pod-10.0.0.1), 10.0.0.2:80 w1 (s2 pod-10.0.0.2), "
		       "10.0.0.3:80 w1 (s1 pod-10.0.0.3)");
	piece(EVENT("DELETED", SLICE("s1", "10", "")));
	expect_members("gone 10.0.0.1:80 w1 (s1 pod-10.0.0.1), 10.0.0.2:80 w1 (s2 pod-10.0.0.2), "
		       "gone 10.0.0.3:80 w1 (s1 pod-10.0.0.3)");
	uint64_t n = source_of(0)->n_answers;
	piece(EVENT("DELETED", SLICE("s1", "11", "")) EVENT("BOOKMARK", "{" META("", "12") "}"));
	cr_expect_eq(source_of(0)->n_answers, n);
	cr_expect_eq(w.n_asked, 2);
	/* from the last version that was seen */
	answer_failed(FETCH_FAILED, 200, "cut");
	fire();
	cr_expect_str_eq(w.url, WATCH("12"));
	piece(EVENT("BOOKMARK", "{" META("", "no such") "}")
		  EVENT("BOOKMARK", "{" META("", "") "}"));
	answer_failed(FETCH_FAILED, 200, "cut");
	fire();
	cr_expect_str_eq(w.url, WATCH("12"));
}

Test(kubernetes, the_port_by_name_by_number_or_the_only_one, WORLD)
{
	static const struct {
		const char *wanted, *ports, *members;
	} rows[] = {
	    {"", "{\"port\":80}", "10.0.0.1:80 w1 (s)"},
	    {"", "{\"port\":80},{\"port\":81}", ""},
	    {"", "{\"port\":65536}", ""},
	    {"", "{\"name\":\"x\"}", ""},
	    {"", "", ""},
	    {"http", "{\"port\":80},{\"port\":65535,\"name\":\"http\"}", "10.0.0.1:65535 w1 (s)"},
	    {"http", "{\"port\":80}", ""},
	    {"http", "{\"port\":0,\"name\":\"http\"}", ""},
	    {"81", "{\"port\":80},{\"port\":81}", "10.0.0.1:81 w1 (s)"},
	    {"81", "{\"port\":80,\"name\":\"81\"}", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str text = STR_INIT;
		w.pool.discover.kubernetes.port = view_str(rows[i].wanted);
		str_printf(
		    &text,
		    "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{" META(
			"s", "1") ",\"ports\":[%s],\"endpoints\":[" IS("10.0.0.1", "") "]}]}",
		    rows[i].ports);
		kubernetes();
		answer_json(text.ptr);
		expect_members(rows[i].members);
		expect_error(*rows[i].members ? "" : "slice s has no such port, or several");
		/* said once, and only as long as it is so */
		piece(EVENT("MODIFIED", SLICE("s", "2", "")));
		expect_error("");
		str_fini(&text);
		world_fini();
		world_init();
	}
}

Test(kubernetes, a_list_has_pages, WORLD)
{
	kubernetes();
	answer_json(
	    "{\"metadata\":{\"resourceVersion\":\"3\",\"continue\":\"aZ09-_=+\"},\"items\":[" SLICE(
		"s1", "1", POD("10.0.0.1")) "]}");
	cr_expect_str_eq(w.url, LIST "&continue=aZ09-_%3D%2B");
	expect_members("");
	answer_json(LISTED("4", SLICE("s2", "1", POD("10.0.0.2"))));
	expect_members("10.0.0.1:80 w1 (s1 pod-10.0.0.1), 10.0.0.2:80 w1 (s2 pod-10.0.0.2)");
	cr_expect_str_eq(w.url, WATCH("4"));
	/* the next list begins at its first page; what it has not is no more */
	piece(EVENT("ERROR", "{\"code\":410,\"message\":\"too old\"}"));
	expect_error("");
	fire();
	cr_expect_str_eq(w.url, LIST);
	answer_json(LISTED("9", SLICE("s2", "1", POD("10.0.0.2"))));
	expect_members("gone 10.0.0.1:80 w1 (s1 pod-10.0.0.1), 10.0.0.2:80 w1 (s2 pod-10.0.0.2)");
}

Test(kubernetes, pages_that_took_too_long_begin_anew, WORLD)
{
	kubernetes();
	answer_json("{\"metadata\":{\"continue\":\"a\"},\"items\":[]}");
	answer_with(410, NULL, "{}");
	expect_error("");
	expect_due(500);
	fire();
	cr_expect_str_eq(w.url, LIST);
	answer_with(410, NULL, "{}");
	expect_error("list: status 410: {}");
}

Test(kubernetes, a_page_without_end_is_refused, WORLD)
{
	struct str text = STR_INIT;
	kubernetes();
	str_text(&text, "{\"metadata\":{\"continue\":\"");
	for (int i = 0; i < 1024; i++)
		str_char(&text, 'a');
	str_text(&text, "\"},\"items\":[]}");
	answer_json(text.ptr);
	cr_expect(!w.open && source_of(0)->error[0]);
	fire();
	cr_expect_str_eq(w.url, LIST);
	str_fini(&text);
}

Test(kubernetes, a_list_that_fails_changes_nothing, WORLD)
{
	kubernetes();
	answer_json(LISTED("7", SLICE("s1", "5", POD("10.0.0.1"))));
	answer_with(403, NULL, "forbidden");
	expect_error("watch: status 403: forbidden");
	expect_due(500);
	fire();
	cr_expect_str_eq(w.url, LIST, "a list, as nothing is known of the watch");
	answer_failed(FETCH_FAILED, 0, "refused");
	expect_error("list: refused");
	expect_due(1000);
	fire();
	answer_json("{\"items\":7}");
	expect_error("list: status 200: {\"items\":7}");
	expect_members("10.0.0.1:80 w1 (s1 pod-10.0.0.1)");
	fire();
	answer_json(LISTED("8", ""));
	expect_members("gone 10.0.0.1:80 w1 (s1 pod-10.0.0.1)");
	expect_error("");
}

Test(kubernetes, only_a_whole_list_of_status_200_counts, WORLD)
{
	kubernetes();
	answer_cut(LISTED("7", ""));
	expect_error("list: cut");
	fire();
	answer_with(500, NULL, LISTED("7", ""));
	cr_expect(!w.open);
	cr_expect_eq(source_of(0)->n_answers, 0);
}

/* ---- watches that end ---- */

Test(kubernetes, watches_that_say_nothing_are_later_each_time, WORLD)
{
	static const unsigned ms[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
	kubernetes();
	answer_json(LISTED("7", ""));
	for (size_t i = 0; i < ARRAY_LEN(ms); i++) {
		answer_failed(FETCH_FAILED, 200, "cut");
		expect_due(ms[i]);
		fire();
		cr_expect_str_eq(w.url, WATCH("7"));
	}
	piece(EVENT("BOOKMARK", "{" META("", "8") "}"));
	answer_failed(FETCH_FAILED, 200, "cut");
	expect_due(1000);
	fire();
	answer_failed(FETCH_FAILED, 200, "cut");
	fire();
	clock_ahead_us += 11000000; /* it went on for long: no need to be careful */
	answer_failed(FETCH_FAILED, 200, "cut");
	expect_due(500);
	cr_expect_eq(source_of(0)->n_failures, 0);
}

Test(kubernetes, one_that_is_cut_is_waited_for_no_longer_than_it_lasted, WORLD)
{
	kubernetes();
	answer_json(LISTED("7", ""));
	for (int i = 0; i < 4; i++) {
		answer_failed(FETCH_FAILED, 200, "cut");
		fire();
	}
	clock_ahead_us += 3000000;
	answer_failed(FETCH_FAILED, 200, "cut");
	expect_due(3000);
}

Test(kubernetes, what_is_too_old_is_listed_again, WORLD)
{
	kubernetes();
	answer_json(LISTED("7", ""));
	answer_with(410, NULL, "");
	expect_due(1000);
	expect_error("");
	fire();
	cr_expect_str_eq(w.url, LIST);
	answer_json(LISTED("8", ""));
	clock_ahead_us += 3000000;
	piece(EVENT("ERROR", "{\"code\":500,\"message\":\"broken\"}"));
	cr_expect(!w.open);
	expect_error("watch: broken");
	expect_due(2000);
	fire();
	cr_expect_str_eq(w.url, LIST);
	answer_json(LISTED("8", ""));
	piece("no json\n" EVENT("ADDED", SLICE("s", "9", POD("10.0.0.1"))));
	expect_error("watch: a line is no JSON");
	expect_members("");
	fire();
	cr_expect_str_eq(w.url, LIST);
}

Test(kubernetes, a_line_without_end_is_too_long, WORLD)
{
	char *much = malloc((4 << 20) + 2);
	memset(much, ' ', (4 << 20) + 1);
	much[(4 << 20) + 1] = '\0';
	kubernetes();
	answer_json(LISTED("7", ""));
	piece(much);
	cr_expect(!w.open);
	expect_error("a line of the watch is too long");
	fire();
	cr_expect_str_eq(w.url, LIST);
	answer_json(LISTED("7", ""));
	piece(EVENT("ADDED", SLICE("s", "9", POD("10.0.0.1"))));
	expect_members("10.0.0.1:80 w1 (s pod-10.0.0.1)");
	free(much);
}

Test(kubernetes, slices_are_bounded, WORLD)
{
	struct str text = STR_INIT;
	kubernetes();
	str_text(&text, "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{}");
	for (int i = 0; i <= 1000; i++)
		str_printf(&text,
			   ",{\"metadata\":{\"name\":\"s%d\"},\"ports\":[{\"port\":80}],"
			   "\"endpoints\":[{\"addresses\":[\"10.0.%d.%d\"]}]}",
			   i, i / 250, i % 250 + 1);
	str_text(&text, "]}");
	answer_json(text.ptr);
	cr_expect_eq(source_of(0)->n_members, 1000);
	piece(EVENT("MODIFIED", SLICE("s3", "8", POD("10.9.0.1"))));
	cr_expect_eq(source_of(0)->n_members, 1001, "one that is known is changed");
	str_fini(&text);
}

/* ---- where it is ---- */

Test(kubernetes, the_cluster_that_it_runs_in, WORLD)
{
	w.pool.discover.kubernetes.api.text = VIEW("");
	unsetenv("KUBERNETES_SERVICE_HOST");
	kubernetes();
	expect_error("weir runs in no cluster: 'api' says where one is");
	cr_expect(!w.open);
	setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
	unsetenv("KUBERNETES_SERVICE_PORT");
	fire();
	cr_expect_str_eq(w.url, "https://10.0.0.1:443" SLICES "&limit=500");
	cr_expect(w.asked.tls);
	const struct tls_client *tls = w.asked.tls;
	answer_failed(FETCH_FAILED, 0, "no");
	setenv("KUBERNETES_SERVICE_HOST", "2001:db8::1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "6443", 1);
	fire();
	cr_expect_str_eq(w.url, "https://[2001:db8::1]:6443" SLICES "&limit=500");
	cr_expect_eq(w.asked.tls, tls);
}

Test(kubernetes, without_its_authorities_nothing_is_asked, WORLD)
{
	w.pool.discover.kubernetes.api.text = VIEW("https://k8s");
	w.pool.discover.kubernetes.ca = VIEW("/nowhere/ca.pem");
	kubernetes();
	cr_expect(!w.open && strstr(source_of(0)->error, "/nowhere/ca.pem"));
}

Test(kubernetes, the_token_is_read_for_every_request, WORLD)
{
	write_file("token", "one\n");
	w.pool.discover.kubernetes.token_file = view_str(w.file);
	kubernetes();
	cr_expect_str_eq(w.headers, "Accept: application/json\r\nAuthorization: Bearer one\r\n");
	write_file("token", "two");
	answer_json(LISTED("7", ""));
	cr_expect_str_eq(w.headers, "Accept: application/json\r\nAuthorization: Bearer two\r\n");
	unlink(w.file);
	answer_failed(FETCH_FAILED, 200, "cut");
	fire();
	cr_expect(!w.open && strstr(source_of(0)->error, "/token: cannot be read: "));
	expect_due(500);
}
