/* SPDX-License-Identifier: MIT */
/* Spans, from what a client sends to what a collector gets; the collector is the test. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"
#include "weir/base/defs.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static int collector;
static unsigned port;

static void begin(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	process_begin();
	collector = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(collector, (struct sockaddr *)&addr, len) == 0 &&
		  listen(collector, 10) == 0);
	cr_assert_eq(getsockname(collector, (struct sockaddr *)&addr, &len), 0);
	port = ntohs(addr.sin_port);
}

static void end(void)
{
	close(collector);
	process_end();
}

TestSuite(tracing, .init = begin, .fini = end, .timeout = 300);

static void start_with(const char *settings)
{
	char more[1000];
	snprintf(more, sizeof(more),
		 "tracing: {endpoint: 'http://127.0.0.1:%u/v1/traces', interval: 100ms%s}\n"
		 "routes: [{name: all, pool: app}]\n",
		 port, settings);
	write_conf(more);
	start_weir();
}

/* One request with these lines; what the backend heard. */
static const char *ask_with(const char *lines)
{
	char request[1000];
	int fd = connect_to("web");
	snprintf(request, sizeof(request),
		 "GET /a?b=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: tester\r\n%s"
		 "Connection: close\r\n\r\n",
		 lines);
	put(fd, request);
	const char *head = backend_answers("/a?b=1");
	cr_assert_not_null(strstr(take(fd), "\r\n\r\nhi"));
	return head;
}

/* The next spans that are told; they are taken. */
static json_t *told(const char *field)
{
	static char text[1 << 16];
	size_t len = 0, want = SIZE_MAX;
	int fd = accept(collector, NULL, NULL);
	cr_assert_geq(fd, 0);
	while (len < want) {
		ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		cr_assert_gt(n, 0, "%s", text);
		len += (size_t)n;
		text[len] = '\0';
		const char *body = strstr(text, "\r\n\r\n"),
			   *length = strcasestr(text, "content-length: ");
		if (body && length)
			want = (size_t)(body + 4 - text) + strtoul(length + 16, NULL, 10);
	}
	cr_expect(strncmp(text, "POST /v1/traces HTTP/1.1\r\n", 26) == 0, "%s", text);
	cr_expect(!field || strstr(text, field), "%s", text);
	put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
	close(fd);
	json_t *root = json_loads(strstr(text, "\r\n\r\n") + 4, 0, NULL), *spans = root;
	static const char *const path[] = {"resourceSpans", "scopeSpans", "spans"};
	for (size_t i = 0; i < ARRAY_LEN(path); i++) {
		spans = json_object_get(spans, path[i]);
		spans = i < 2 ? json_array_get(spans, 0) : spans;
	}
	cr_assert_not_null(spans, "%s", text);
	json_incref(spans);
	json_decref(root);
	return spans;
}

static const char *text_of(const json_t *span, const char *key)
{
	const char *text = json_string_value(json_object_get(span, key));
	return text ? text : "";
}

static const json_t *attribute(const json_t *span, const char *key)
{
	size_t i;
	json_t *row;
	json_array_foreach(json_object_get(span, "attributes"), i, row)
	{
		if (strcmp(text_of(row, "key"), key) == 0)
			return json_object_get(row, "value");
	}
	return NULL;
}

static void expect_text(const json_t *span, const char *key, const char *want)
{
	cr_expect_str_eq(text_of(attribute(span, key), "stringValue"), want, "%s", key);
}

/* SERVER 2, CLIENT 3 */
static json_t *span_of(json_t *spans, int kind)
{
	size_t i;
	json_t *span;
	json_array_foreach(spans, i, span)
	{
		if (json_integer_value(json_object_get(span, "kind")) == kind)
			return span;
	}
	char *text = json_dumps(spans, 0);
	cr_assert(false, "no span of kind %d: %s", kind, text);
	return NULL;
}

Test(tracing, a_request_is_a_span_of_its_callers_and_each_attempt_is_one_of_it)
{
	start_with("");
	const char *head = ask_with("traceparent: 00-" TRACE "-" PARENT "-01\r\n"
				    "tracestate: a=1\r\ntracestate: b=2\r\n");
	const char *sent = strcasestr(head, "traceparent: 00-" TRACE "-");
	cr_assert(sent && strcasestr(head, "tracestate: a=1"), "%s", head);
	char id[17];
	snprintf(id, sizeof(id), "%.16s", sent + strlen("traceparent: 00-" TRACE "-"));
	cr_expect(strncmp(sent + strlen("traceparent: 00-" TRACE "-") + 16, "-01", 3) == 0, "%s",
		  head);
	json_t *spans = told(NULL), *server = span_of(spans, 2), *client = span_of(spans, 3);
	cr_expect_str_eq(text_of(server, "traceId"), TRACE);
	cr_expect_str_eq(text_of(server, "parentSpanId"), PARENT);
	cr_expect_str_eq(text_of(server, "traceState"), "a=1,b=2");
	cr_expect_str_eq(text_of(client, "traceId"), TRACE);
	cr_expect_str_eq(text_of(client, "parentSpanId"), text_of(server, "spanId"));
	cr_expect_str_eq(text_of(client, "spanId"), id);
	expect_text(server, "http.request.method", "GET");
	expect_text(server, "url.path", "/a");
	expect_text(server, "url.query", "b=1");
	expect_text(server, "url.scheme", "http");
	expect_text(server, "server.address", "a.test");
	expect_text(server, "user_agent.original", "tester");
	json_decref(spans);
	stop_weir();
}

Test(tracing, who_is_not_sampled_by_a_caller_or_by_chance_is_not_told)
{
	start_with(", sample: 0");
	const char *head = ask_with("");
	cr_expect(!strcasestr(head, "traceparent: ") || strcasestr(head, "-00\r\n"), "%s", head);
	head = ask_with("traceparent: 00-" TRACE "-" PARENT "-00\r\n");
	cr_expect(strcasestr(head, "traceparent: 00-" TRACE "-"), "%s", head);
	/* a caller that samples decides: only this one is told */
	ask_with("traceparent: 00-11111111111111111111111111111111-" PARENT "-01\r\n");
	json_t *spans = told(NULL);
	cr_expect_eq(json_array_size(spans), 2);
	cr_expect_str_eq(text_of(span_of(spans, 2), "traceId"), "11111111111111111111111111111111");
	json_decref(spans);
	stop_weir();
}

Test(tracing, what_is_no_parent_begins_a_trace)
{
	static const char *const lines[] = {"", "traceparent: 00-" TRACE "-" PARENT "\r\n",
					    "traceparent: nonsense\r\ntracestate: a=1\r\n",
					    "traceparent: 00-" TRACE "-" PARENT
					    "-01\r\ntraceparent: 00-" TRACE "-" PARENT "-01\r\n"};
	start_with(", sample: 1");
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		const char *head = ask_with(lines[i]);
		cr_expect(strcasestr(head, "traceparent: 00-") && !strstr(head, TRACE), "%s", head);
		cr_expect_null(strcasestr(head, "tracestate"), "%s", head);
		json_t *spans = told(NULL);
		cr_expect_str_eq(text_of(span_of(spans, 2), "parentSpanId"), "");
		cr_expect_str_eq(text_of(span_of(spans, 2), "traceState"), "");
		json_decref(spans);
	}
	stop_weir();
}

Test(tracing, fields_of_a_file_go_along)
{
	char more[200], path[80];
	snprintf(path, sizeof(path), "%s/fields", folder);
	FILE *out = fopen(path, "w");
	cr_assert(out && fputs("X-Key: one\n\nX-Other: two\n", out) >= 0 && fclose(out) == 0);
	snprintf(more, sizeof(more), ", sample: 1, headers_file: %s, service: shop", path);
	start_with(more);
	ask_with("");
	json_decref(told("X-Key: one\r\n"));
	ask_with("");
	json_decref(told("X-Other: two\r\n"));
	ask_with("");
	json_decref(told("\"shop\""));
	stop_weir();
}
