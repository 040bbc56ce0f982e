/* SPDX-License-Identifier: MIT */
/* Consul: what is asked, what an instance is, and when it is asked again. */
#include "fixture.h"

#define BASE "http://c:8500/v1/health/service/"

static void consul(void)
{
	w.pool.discover.consul.address.text = VIEW("http://c:8500//");
	if (!w.pool.discover.consul.service.len)
		w.pool.discover.consul.service = VIEW("web");
	begin(CONF_SOURCE_consul, "web");
}

Test(consul, instances_with_the_address_of_their_own_or_of_the_node, WORLD)
{
	consul();
	cr_expect_str_eq(w.url, BASE "web?passing=1");
	cr_expect(view_eq(w.asked.method, VIEW("GET")) && w.asked.keep && !w.asked.piece);
	cr_expect_eq(w.asked.timeout_us, 10000000);
	cr_expect_eq(w.asked.body_max, 32 << 20);
	cr_expect_str_empty(w.headers);
	answer_with(
	    200, "7",
	    "[{\"Node\":{\"Address\":\"10.0.0.9\"},\"Service\":{\"ID\":\"a\",\"Address\":\"\","
	    "\"Port\":80}},"
	    "{\"Node\":{\"Address\":\"10.0.0.9\"},\"Service\":{\"ID\":\"b\",\"Address\":"
	    "\"10.0.0.1\",\"Port\":65535,\"Weights\":{\"Passing\":5}}},"
	    "{\"Service\":{\"ID\":\"c\",\"Address\":\"2001:db8::1\",\"Port\":1,"
	    "\"Weights\":{\"Passing\":65535}}},"
	    "{\"Service\":{\"ID\":\"d\",\"Address\":\"10.0.0.2\",\"Port\":2,"
	    "\"Weights\":{\"Passing\":65536}}}]");
	expect_members("10.0.0.1:65535 w5 (b), 10.0.0.2:2 w1 (d), 10.0.0.9:80 w1 (a), "
		       "[2001:db8::1]:1 w65535 (c)");
	expect_error("");
	cr_expect_eq(w.n_changed, 1);
	cr_expect_str_eq(w.news, "p consul web: 4, 4 new, 0 gone, one: ");
}

Test(consul, what_has_no_address_or_port_is_said_and_the_rest_counts, WORLD)
{
	consul();
	answer_with(200, "7",
		    "[{\"Service\":{\"Address\":\"10.0.0.1\",\"Port\":0}},"
		    "{\"Service\":{\"Address\":\"10.0.0.1\",\"Port\":65536}},"
		    "{\"Service\":{\"Address\":\"a.name\",\"Port\":80}},"
		    "{\"Service\":{\"Address\":\"0.0.0.0\",\"Port\":80}},"
		    "{\"Service\":{\"ID\":\"x\",\"Address\":\"10.0.0.1\",\"Port\":80}}]");
	expect_members("10.0.0.1:80 w1 (x)");
	expect_error("4 instances have no IP address and port");
	cr_expect_eq(source_of(0)->n_failures, 0);
}

Test(consul, the_next_question_waits_at_the_server, WORLD)
{
	consul();
	answer_with(200, "7", "[]");
	expect_due(50);
	fire();
	cr_expect_str_eq(w.url, BASE "web?passing=1&index=7&wait=60s");
	cr_expect_eq(w.asked.timeout_us, 73000000);
	answer_with(200, "7", "[]"); /* nothing new */
	fire();
	cr_expect_str_eq(w.url, BASE "web?passing=1&index=7&wait=60s");
	answer_with(200, "6", "[]"); /* its state is another one */
	expect_due(1000);
	fire();
	cr_expect_str_eq(w.url, BASE "web?passing=1");
	answer_with(200, "x", "[]");
	fire();
	cr_expect_str_eq(w.url, BASE "web?passing=1");
	answer_with(200, NULL, "[]");
	expect_due(1000);
	cr_expect_eq(w.n_changed, 0);
	cr_expect_eq(source_of(0)->n_answers, 5);
}

Test(consul, a_failure_changes_nothing_and_begins_anew, WORLD)
{
	consul();
	answer_with(200, "7",
		    "[{\"Service\":{\"ID\":\"a\",\"Address\":\"10.0.0.1\",\"Port\":80}}]");
	fire();
	answer_with(500, "8", "broken");
	expect_error("health of the service: status 500: broken");
	expect_members("10.0.0.1:80 w1 (a)");
	expect_due(500);
	fire();
	cr_expect_str_eq(w.url, BASE "web?passing=1", "it does not wait");
	answer_failed(FETCH_FAILED, 0, "connection refused");
	expect_error("health of the service: connection refused");
	expect_due(1000);
	fire();
	answer_with(200, "9", "{}");
	expect_error("health of the service: status 200: {}");
	expect_due(2000);
	cr_expect_eq(source_of(0)->n_failures, 3);
	fire();
	answer_with(200, "9", "[]");
	expect_error("");
	expect_members("gone 10.0.0.1:80 w1 (a)");
}

Test(consul, only_a_whole_answer_of_status_200_counts, WORLD)
{
	consul();
	answer_cut("[]");
	expect_error("health of the service: cut");
	fire();
	answer_with(404, "7", "[]");
	expect_error("health of the service: status 404: []");
	cr_expect_eq(source_of(0)->n_answers, 0);
}

Test(consul, parameters_are_escaped, WORLD)
{
	w.pool.discover.consul.service = VIEW("a/b c");
	w.pool.discover.consul.tag = VIEW("Az09-_.&");
	w.pool.discover.consul.datacenter = VIEW("d\xc3");
	consul();
	cr_expect_str_eq(w.url, BASE "a%2Fb%20c?passing=1&tag=Az09-_.%26&dc=d%C3");
}

Test(consul, the_token_is_read_for_every_question, WORLD)
{
	write_file("token", "s3cret\r\n\n");
	w.pool.discover.consul.token_file = view_str(w.file);
	consul();
	cr_expect_str_eq(w.headers, "X-Consul-Token: s3cret\r\n");
	answer_with(200, "1", "[]");
	write_file("token", "two\nlines");
	fire();
	cr_expect(!w.open);
	cr_expect(strstr(source_of(0)->error, "/token: is no single line"));
	write_file("token", "a\x7f");
	fire();
	cr_expect(!w.open && strstr(source_of(0)->error, "/token: is no single line"));
	unlink(w.file);
	fire();
	cr_expect(!w.open && strstr(source_of(0)->error, "/token: cannot be read: "));
	write_file("token", "next");
	fire();
	cr_expect_str_eq(w.headers, "X-Consul-Token: next\r\n");
}

Test(consul, without_its_certificates_nothing_is_asked, WORLD)
{
	w.pool.discover.consul.address.tls = true;
	w.pool.discover.consul.ca = VIEW("/nowhere/ca.pem");
	consul();
	cr_expect(!w.open);
	cr_expect(strstr(source_of(0)->error, "/nowhere/ca.pem"), "%s", source_of(0)->error);
	expect_due(500);
	w.pool.discover.consul.ca = VIEW_NONE;
	fire();
	cr_expect(w.open && w.asked.tls);
	const struct tls_client *tls = w.asked.tls;
	answer_with(200, "1", "[]");
	fire();
	cr_expect_eq(w.asked.tls, tls);
}
