/* SPDX-License-Identifier: MIT */
/* One check of a backend that the test plays: what is made of what it answers, or does not. */
#include "health/check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "health/settings.h"
#include "weir/net/socket.h"

#define SECOND UINT64_C(1000000)

static struct loop loop;
static struct prober prober;
static struct health_settings *settings;
static struct addr address;
static struct check *running;
static int listener, peer;
static struct {
	unsigned n;
	bool ok;
	unsigned status;
	char reason[300];
} got;

static void on_done(struct health_target *target, const struct check_result *result)
{
	(void)target;
	got.n++;
	got.ok = result->ok;
	got.status = result->status;
	snprintf(got.reason, sizeof(got.reason), "%s", result->reason);
}

static void begin(void)
{
	memset(&got, 0, sizeof(got));
	peer = -1;
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	prober_init(&prober, &loop, on_done);
	cr_assert(addr_parse(VIEW("127.0.0.1:0"), &address));
	cr_assert_eq(socket_listen(&address, false, 0, &listener), ERR_OK);
	cr_assert(socket_local_addr(listener, &address));
}

static void end(void)
{
	cr_expect_null(running);
	prober_fini(&prober);
	health_settings_free(settings);
	socket_close(listener);
	socket_close(peer);
	loop_fini(&loop);
}

TestSuite(check, .init = begin, .fini = end);

static void turn(void)
{
	ev_run(loop.ev, EVRUN_NOWAIT);
	usleep(1000);
}

static void start(struct conf_health conf)
{
	static struct conf_status_range good[] = {{200, 299}};
	struct str why = STR_INIT;
	conf.path = VIEW("/up?x");
	conf.expect = (struct conf_statuses){.rows = good, .n = 1};
	conf.timeout_us = conf.timeout_us ? conf.timeout_us : 60 * SECOND;
	settings = health_settings_new(&conf, &why);
	cr_assert_not_null(settings, "%s", why.ptr);
	cr_assert(check_start(&prober, &(struct check_job){.settings = settings,
							   .address = &address,
							   .address_text = VIEW("it:80"),
							   .running = &running}));
}

static void accept_it(void)
{
	struct addr from;
	for (unsigned i = 0; i < 5000 && peer < 0; i++) {
		turn();
		cr_assert_eq(socket_accept(listener, &from, &peer), ERR_OK);
	}
	cr_assert_geq(peer, 0);
}

/* The whole head of the request. */
static const char *hear(void)
{
	static char text[2048];
	size_t len = 0;
	accept_it();
	for (unsigned i = 0; i < 5000 && !strstr(text, "\r\n\r\n"); i++) {
		turn();
		ssize_t n = recv(peer, text + len, sizeof(text) - 1 - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
		text[len] = '\0';
	}
	return text;
}

static void say(const char *text)
{
	cr_assert_eq(send(peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void hang_up(void)
{
	socket_close(peer);
	peer = -1;
}

static void is_over(bool ok, const char *reason)
{
	for (unsigned i = 0; i < 5000 && !got.n; i++)
		turn();
	cr_assert_eq(got.n, 1);
	cr_expect_str_eq(got.reason, reason);
	cr_expect_eq(got.ok, ok);
}

/* The deadline has come, however soon or late it is. */
static void is_late(void)
{
	cr_assert_not_null(running);
	cr_assert(timer_is_set(&running->timer));
	timer_clear(&running->timer);
	running->timer.fn(&running->timer);
}

Test(check, what_is_asked)
{
	static struct conf_pair pairs[] = {{.name = VIEW("X-Probe"), .value = VIEW("yes")}};
	start((struct conf_health){.host = VIEW("a.test"), .headers = {.rows = pairs, .n = 1}});
	const char *text = hear();
	cr_expect_eq(strstr(text, "GET /up?x HTTP/1.1\r\nHost: a.test\r\n"), text, "%s", text);
	cr_expect(strstr(text, "\r\nUser-Agent: weir/"));
	cr_expect(strstr(text, "\r\nX-Probe: yes\r\n"));
	say("HTTP/1.1 204 No Content\r\n\r\n");
	is_over(true, "status 204");
	cr_expect_eq(got.status, 204);
}

Test(check, an_answer_in_pieces_counts_when_its_head_is_whole)
{
	start((struct conf_health){.on = true});
	hear();
	say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 20");
	for (unsigned i = 0; i < 20; i++)
		turn();
	cr_assert_eq(got.n, 0);
	say("0 OK\r\n\r\n");
	is_over(true, "status 200");
}

Test(check, a_status_that_is_not_expected)
{
	start((struct conf_health){.on = true});
	hear();
	say("HTTP/1.1 503 Busy\r\n\r\n");
	is_over(false, "status 503, expected 200-299");
	cr_expect_eq(got.status, 503);
}

Test(check, who_closes_has_not_answered)
{
	start((struct conf_health){.on = true});
	hear();
	hang_up();
	is_over(false, "the backend closed the connection before it answered");
}

Test(check, a_body_that_comes_in_pieces)
{
	start((struct conf_health){.body = VIEW("^all well$")});
	hear();
	say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall");
	for (unsigned i = 0; i < 20; i++)
		turn();
	cr_assert_eq(got.n, 0);
	say(" well");
	is_over(true, "status 200, the body matches");
}

Test(check, a_body_that_is_cut)
{
	start((struct conf_health){.body = VIEW("well")});
	hear();
	say("HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\nall well");
	for (unsigned i = 0; i < 20; i++)
		turn();
	hang_up();
	is_over(false, "the backend broke off its response");
}

Test(check, a_body_that_ends_with_the_connection)
{
	start((struct conf_health){.body = VIEW("well")});
	hear();
	say("HTTP/1.1 200 OK\r\n\r\nall sick");
	hang_up();
	is_over(false, "status 200, but the body does not match health.body");
}

Test(check, a_timeout_is_told_in_seconds_where_they_are_whole)
{
	start((struct conf_health){.timeout_us = 60 * SECOND});
	hear();
	is_late();
	is_over(false, "timed out after 60 s waiting for headers");
}

Test(check, a_timeout_is_told_in_milliseconds_else)
{
	start((struct conf_health){.timeout_us = 61500000});
	hear();
	is_late();
	is_over(false, "timed out after 61500 ms waiting for headers");
}

/* Whoever looked late has no case against the backend. */
Test(check, an_answer_that_is_there_counts_however_late_it_is_read)
{
	start((struct conf_health){.on = true});
	hear();
	say("HTTP/1.1 200 OK\r\n\r\n");
	is_late();
	is_over(true, "status 200");
}

Test(check, nobody_listens)
{
	socket_close(listener);
	listener = -1;
	start((struct conf_health){.on = true});
	is_over(false, "connect refused");
}

static uint8_t type_of(const struct check_kind *kind)
{
	uint8_t type = 0;
	while (check_kinds[type] != kind)
		type++;
	return type;
}

Test(check, tcp_asks_for_a_connection_only)
{
	start((struct conf_health){.type = type_of(&check_tcp)});
	is_over(true, "connected");
}

Test(check, another_port_than_that_of_the_traffic)
{
	uint16_t port = addr_port(&address);
	address.in4.sin_port = 0;
	start((struct conf_health){.port = port});
	hear();
	say("HTTP/1.1 200 OK\r\n\r\n");
	is_over(true, "status 200");
}

Test(check, who_is_cancelled_says_nothing)
{
	start((struct conf_health){.on = true});
	hear();
	check_cancel(running);
	for (unsigned i = 0; i < 20; i++)
		turn();
	cr_expect_eq(got.n, 0);
}
