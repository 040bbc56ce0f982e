/* SPDX-License-Identifier: MIT */
/*
 * One order from the key to the request for the certificate, with an authority that the test
 * plays: what is sent to it is noted here in place of ca.c (the linker's --wrap), and what it
 * answers is told as ca.c would.  Files are written in a folder of the test's own.
 */
#include "acme/order.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/base/defs.h"

void __real_ca_get(struct ca *ca, struct view url);
void __real_ca_post(struct ca *ca, struct view url, struct view payload);
void __wrap_ca_get(struct ca *ca, struct view url);
void __wrap_ca_post(struct ca *ca, struct view url, struct view payload);

static struct world {
	struct loop loop;
	struct fetcher fetcher;
	struct order order;
	char folder[64];
	char url[128], payload[4096]; /* of the last question; url "": it was answered */
	bool was_post;
	char why[256]; /* it is over: why; "-": it is not */
	bool goes_on, of_authority;
	unsigned n_published;
	bool cannot_publish;
} w;

static void asked(struct view url, struct view payload, bool post)
{
	cr_assert_str_empty(w.url, "one question at a time: %s", w.url);
	snprintf(w.url, sizeof(w.url), VIEW_FMT, VIEW_ARG(url));
	snprintf(w.payload, sizeof(w.payload), VIEW_FMT, VIEW_ARG(payload));
	w.was_post = post;
}

bool (*acme_asked)(const struct ca *ca, struct view url); /* ari.c is this one's authority */

/* Other tests have authorities that listen. */
void __wrap_ca_get(struct ca *ca, struct view url)
{
	if (ca == &w.order.ca)
		asked(url, VIEW_NONE, false);
	else if (acme_asked && acme_asked(ca, url))
		return;
	else
		__real_ca_get(ca, url);
}

void __wrap_ca_post(struct ca *ca, struct view url, struct view payload)
{
	if (ca == &w.order.ca)
		asked(url, payload, true);
	else
		__real_ca_post(ca, url, payload);
}

static void done(void *arg, const struct order_result *result)
{
	(void)arg;
	snprintf(w.why, sizeof(w.why), "%s", result->why);
	w.goes_on = result->goes_on;
	w.of_authority = result->of_authority;
}

static bool publish(void *arg)
{
	(void)arg;
	w.n_published++;
	return !w.cannot_publish;
}

/* ---- what is ordered ---- */

#define CA "https://ca.test/"

static const struct conf_acme conf = {
    .on = true, .agree = true, .directory = {.text = VIEW(CA "dir")}, .key_type = CONF_ACME_ECDSA};
static struct view names_rows[] = {VIEW("a.test"), VIEW("b.test")};
static const struct conf_views names = {.rows = names_rows, .n = ARRAY_LEN(names_rows)};
static struct order_task task = {.conf = &conf,
				 .names = &names,
				 .folder = w.folder,
				 .file = "a.test.pem",
				 .account_file = "account.pem",
				 .account_pem = VIEW("an account\n"),
				 .thumbprint = VIEW("THUMB"),
				 .challenges = 1u << CONF_ACME_HTTP | 1u << CONF_ACME_TLS};

static void setup(void)
{
	memset(&w, 0, sizeof(w));
	strcpy(w.folder, "/tmp/weir-order-XXXXXX");
	strcpy(w.why, "-");
	cr_assert(mkdtemp(w.folder));
	cr_assert_eq(loop_init(&w.loop, "test"), ERR_OK);
	fetcher_init(&w.fetcher, &w.loop);
	order_init(&w.order, &w.loop, &w.fetcher);
	w.order.done = done;
	w.order.publish = publish;
}

static void teardown(void)
{
	char command[128];
	order_fini(&w.order);
	fetcher_fini(&w.fetcher);
	loop_fini(&w.loop);
	snprintf(command, sizeof(command), "rm -r %s", w.folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(order, .init = setup, .fini = teardown);

/* Until the thread with the files is done. */
static void wait_for_disk(void)
{
	while (w.order.work)
		ev_run(w.loop.ev, EVRUN_ONCE);
}

static void is_asked(const char *url, const char *payload)
{
	cr_assert_str_eq(w.why, "-", "it goes on");
	cr_assert_str_eq(w.url, url);
	cr_expect(strstr(w.payload, payload), "%s: %s", url, w.payload);
	if (!*payload)
		cr_expect_str_empty(w.payload);
	w.url[0] = '\0';
}

static void answer(struct ca_answer a, const char *json)
{
	a.ok = !a.error;
	a.why = a.ok ? "" : "refused";
	a.error = a.ok ? "" : a.error;
	a.root = json ? json_loads(json, 0, NULL) : NULL;
	cr_assert(!json || a.root, "%s", json);
	w.order.ca.done(w.order.ca.arg, &a);
	json_decref((json_t *)a.root);
}

#define CREATED(place) ((struct ca_answer){.status = 201, .location = VIEW(CA place)})
#define FINE ((struct ca_answer){.status = 200})
#define REFUSED(number, type) ((struct ca_answer){.status = number, .error = type})

#define DIRECTORY \
	"{\"newNonce\":\"" CA "nonce\",\"newAccount\":\"" CA "acct\",\"newOrder\":\"" CA "new\"}"
#define PENDING                                                                                 \
	"{\"status\":\"pending\",\"authorizations\":[\"" CA "authz/1\",\"" CA "authz/2\"],"     \
	"\"identifiers\":[{\"type\":\"dns\",\"value\":\"a.test\"},{\"type\":\"dns\",\"value\":" \
	"\"b.test\"}],\"finalize\":\"" CA "fin\"}"

/* An authorization of a name that offers these challenges. */
#define NAME(name, status, challenges)                                                         \
	"{\"status\":\"" status "\",\"identifier\":{\"type\":\"dns\",\"value\":\"" name "\"}," \
	"\"challenges\":[" challenges "]}"
#define OFFER(type) "{\"type\":\"" type "\",\"url\":\"" CA "chall/" type "\",\"token\":\"tok\"}"

static void up_to_the_order(void)
{
	order_begin(&w.order, &task);
	wait_for_disk();
	is_asked(CA "dir", "");
	cr_expect_not(w.was_post);
	answer(FINE, DIRECTORY);
	is_asked(CA "acct", "termsOfServiceAgreed");
	answer(CREATED("acct/7"), "{\"status\":\"valid\"}");
	cr_expect(view_eq(str_as_view(&w.order.ca.kid), VIEW(CA "acct/7")));
	is_asked(CA "new", "b.test");
}

static bool is_there(const char *file)
{
	char path[128];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", w.folder, file);
	return stat(path, &st) == 0;
}

/* Its URL is written down before anything is asked of it. */
static void up_to_the_names(void)
{
	up_to_the_order();
	answer(CREATED("order/9"), PENDING);
	cr_expect_eq(w.order.step, ORDER_NOTING);
	cr_expect_str_empty(w.url);
	wait_for_disk();
	cr_expect(is_there("account.pem"));
	is_asked(CA "authz/1", "");
	cr_expect(w.was_post, "POST-as-GET");
}

Test(order, a_name_after_the_other_and_then_the_request)
{
	up_to_the_names();
	answer(FINE, NAME("a.test", "valid", ""));
	is_asked(CA "authz/2", "");
	answer(FINE, NAME("b.test", "pending", OFFER("dns-01") "," OFFER("http-01")));
	is_asked(CA "chall/http-01", "{}");
	cr_expect_eq(w.n_published, 0, "nobody else answers");
	answer(FINE, "{}");
	is_asked(CA "authz/2", "");
	answer(FINE, NAME("b.test", "pending", OFFER("http-01")));
	cr_expect_str_empty(w.url, "later");
	timer_wheel_run(&w.loop.timers, w.loop.now_us + 20000000);
	is_asked(CA "authz/2", "");
	answer(FINE, NAME("b.test", "valid", ""));
	is_asked(CA "fin", "\"csr\":\"");
	answer(FINE, "{\"status\":\"processing\"}");
	timer_wheel_run(&w.loop.timers, w.loop.now_us + 40000000);
	is_asked(CA "order/9", "");
	answer(FINE, "{\"status\":\"valid\",\"certificate\":\"" CA "cert\"}");
	is_asked(CA "cert", "");
	answer(FINE, "{}");
	cr_expect(strstr(w.why, "what the authority gave cannot be used"), "%s", w.why);
	cr_expect_not(w.of_authority || w.goes_on);
	cr_expect_eq(w.order.step, ORDER_IDLE);
}

Test(order, what_others_show_is_published_first)
{
	task.others = true;
	up_to_the_names();
	answer(FINE, NAME("a.test", "pending", OFFER("http-01")));
	cr_expect_eq(w.n_published, 1);
	cr_expect_str_empty(w.url, "not yet");
	cr_expect(view_eq(str_as_view(&w.order.authorization), VIEW("tok.THUMB")));
	cr_expect_eq(w.order.proof.len, 0);
	order_published(&w.order);
	is_asked(CA "chall/http-01", "{}");
	order_published(&w.order);
	cr_expect_str_empty(w.url, "once");
}

Test(order, a_proof_in_a_handshake_is_a_certificate)
{
	task.first = CONF_ACME_TLS;
	up_to_the_names();
	answer(FINE, NAME("a.test", "pending", OFFER("http-01") "," OFFER("tls-alpn-01")));
	cr_expect_eq(w.n_published, 1);
	cr_expect(strstr(w.order.proof.ptr, "BEGIN CERTIFICATE"));
	order_published(&w.order);
	is_asked(CA "chall/tls-alpn-01", "{}");
}

Test(order, nobody_can_show_it)
{
	w.cannot_publish = task.others = true;
	up_to_the_names();
	answer(FINE, NAME("a.test", "pending", OFFER("http-01")));
	cr_expect_str_eq(w.why, "http-01 for a.test: the proof cannot be shown");
}

Test(order, workers_that_do_not_answer)
{
	task.others = true;
	up_to_the_names();
	answer(FINE, NAME("a.test", "pending", OFFER("http-01")));
	timer_wheel_run(&w.loop.timers, w.loop.now_us + UINT64_C(3600000000));
	cr_expect_str_eq(w.why, "the workers do not answer");
}

/* What is answered to each question in turn, and why it fails then. */
Test(order, what_the_authority_says_wrong)
{
	static const struct {
		struct ca_answer a;
		const char *json, *why;
	} rows[] = {
	    {{.status = 201}, PENDING, "the authority's answer is no order"},
	    {{.status = 201, .location = VIEW("http://ca.test/order")},
	     PENDING,
	     "the authority's answer is no order"},
	    {{.status = 201, .location = VIEW(CA "o")},
	     "{\"authorizations\":[]}",
	     "the authority's answer is no order"},
	    {{.status = 201, .location = VIEW(CA "o")},
	     "{\"authorizations\":[\"" CA "1\",\"" CA "2\",\"" CA "3\"],\"finalize\":\"" CA "f\"}",
	     "the authority's answer is no order"},
	    {{.status = 200}, NULL, "placing the order: the answer is no JSON"},
	    {{.status = 429, .error = "rateLimited"}, NULL, "placing the order: refused"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		up_to_the_order();
		answer(rows[i].a, rows[i].json);
		cr_expect(view_starts(view_str(w.why), view_str(rows[i].why)), "%zu: %s", i, w.why);
		order_forget(&w.order);
		strcpy(w.why, "-");
	}
}

static void name_fails(const char *json, const char *why)
{
	up_to_the_names();
	answer(FINE, json);
	cr_expect_str_eq(w.why, why);
}

Test(order, a_name_that_was_refused_before)
{
	name_fails(NAME("a.test", "deactivated", ""), "a.test: its authorization is deactivated");
}

Test(order, a_name_that_cannot_be_shown_to_be_ours)
{
	name_fails(NAME("a.test", "pending", OFFER("dns-01")),
		   "a.test: the authority offers no challenge that can be answered");
}

/* What has become of an order is asked before there is another. */
Test(order, an_order_under_way_is_gone_on_with)
{
	static const char *const states[] = {"pending", "ready", "valid", "invalid"};
	static const char *const asked_next[] = {CA "authz/1", CA "fin", CA "cert", CA "new"};
	up_to_the_names();
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		char json[1024];
		order_stop(&w.order);
		order_begin(&w.order, &task);
		wait_for_disk();
		is_asked(CA "dir", "");
		answer(FINE, DIRECTORY);
		is_asked(CA "order/9", "");
		snprintf(json, sizeof(json), "{\"status\":\"%s\",\"certificate\":\"" CA "cert\",%s",
			 states[i], strchr(PENDING, ',') + 1);
		answer(FINE, json);
		is_asked(asked_next[i], i % 2 ? "{" : "");
	}
}

Test(order, an_authority_that_is_ill_leaves_the_order_to_be_gone_on_with)
{
	up_to_the_names();
	answer(REFUSED(503, "serverInternal"), NULL);
	cr_expect(w.of_authority && w.goes_on);
}

/* An authority that has forgotten the account has it again, once. */
Test(order, an_account_that_is_unknown_is_opened_again)
{
	up_to_the_order();
	answer(REFUSED(400, "accountDoesNotExist"), NULL);
	is_asked(CA "acct", "termsOfServiceAgreed");
	answer(CREATED("acct/8"), "{}");
	is_asked(CA "new", "a.test");
	answer(REFUSED(400, "accountDoesNotExist"), NULL);
	cr_expect_str_eq(w.why, "placing the order: refused");
}
