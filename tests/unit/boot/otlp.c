/* SPDX-License-Identifier: MIT */
/* Accounts of exchanges as spans, whole: golden_otlp.txt has every attribute. */
#include "boot/otlp.h"
#include "../golden.h"

#include <criterion/criterion.h>
#include <string.h>

#include "weir/proxy/outcome.h"
#include "weir/proxy/trace_record.h"

/* An account as a worker packs it; attempts and texts follow. */
static void begin(struct str *out, const struct trace_record *r)
{
	str_reset(out);
	str_put(out, (const char *)r, sizeof(*r));
}

static void put(struct str *out, const char *text)
{
	uint16_t len = (uint16_t)strlen(text);
	str_put(out, (const char *)&len, sizeof(len));
	str_put(out, text, len);
}

static void put_all(struct str *out, const char *const *texts)
{
	for (; *texts; texts++)
		put(out, *texts);
}

static const struct trace_record record = {
    .n_lost = 2,
    .has_parent = true,
    .h2 = true,
    .backend_tls = true,
    .context = {.trace_id = {1, 2, 3}, .span_id = {4, 5}, .flags = 1},
    .parent_id = {6, 7},
    .status = 502,
    .outcome = OUTCOME_backend_cut,
    .retries = 3,
    .start_us = 1000,
    .end_us = 2000,
    .queue_us = 11,
    .connect_us = 12,
    .client_us = 13,
};

/* In the order of enum trace_text. */
static const char *const texts[] = {"GET",
				    "/a?x=1&sig=secret&y",
				    "shop.test:8443",
				    "https",
				    "192.0.2.7",
				    "10.0.0.9",
				    "curl/8",
				    "vendor=1",
				    "/in?Signature=s",
				    "web",
				    "api",
				    "/a",
				    "app",
				    "r-1",
				    NULL};

static void attempts(struct str *account)
{
	static const struct trace_attempt rows[] = {
	    {.span_id = {1},
	     .reused = true,
	     .replaced = true,
	     .outcome = OUTCOME_backend_reset,
	     .from_us = 1100,
	     .connected_us = 1150,
	     .sent_us = 1200,
	     .end_us = 1300},
	    {.span_id = {2},
	     .h2 = true,
	     .hedge = true,
	     .outcome = N_OUTCOMES,
	     .from_us = 1300,
	     .end_us = 1400},
	    {.span_id = {3},
	     .status = 404,
	     .outcome = N_OUTCOMES,
	     .from_us = 1400,
	     .first_us = 1450,
	     .end_us = 1500},
	};
	static const char *const places[] = {"b1", "10.0.0.1:80",   "b2", "[::1]:8000",
					     "b3", "unix:/run/app", NULL};
	struct trace_record r = record;
	r.n_attempts = 3;
	begin(account, &r);
	str_put(account, (const char *)rows, sizeof(rows));
	put_all(account, texts);
	put_all(account, places);
}

/* A request of an odd method that no route takes, by a client that was not traced. */
static void refusal(struct str *account)
{
	static const char *const few[] = {"BREW",      "/pot", "", "http", "192.0.2.8",
					  "192.0.2.8", "",     "", "",     "web",
					  "",          "",     "", "r-2",  NULL};
	struct trace_record r = record;
	r.has_parent = r.h2 = false;
	r.n_lost = 0;
	r.status = 404;
	r.outcome = OUTCOME_no_route;
	begin(account, &r);
	put_all(account, few);
}

/* The app itself says 503, over HTTP/1.0 and by a port that is not written. */
static void own_error(struct str *account)
{
	const char *other[sizeof(texts) / sizeof(*texts)];
	struct trace_record r = record;
	r.h2 = false;
	r.status = 503;
	r.outcome = OUTCOME_ok;
	memcpy(other, texts, sizeof(texts));
	other[TRACE_HOST] = "shop.test";
	begin(account, &r);
	put_all(account, other);
}

Test(otlp, every_attribute_of_every_span)
{
	static void (*const accounts[])(struct str *account) = {attempts, refusal, own_error};
	static const unsigned n_spans[] = {4, 1, 1};
	static const char *const any[] = {NULL};
	struct str account = STR_INIT, json = STR_INIT, text = STR_INIT;
	struct otlp o;
	otlp_begin(&o, &json, VIEW("weir"));
	for (size_t i = 0; i < ARRAY_LEN(accounts); i++) {
		accounts[i](&account);
		cr_expect_eq(otlp_add(&o, account.ptr, 1700000000000000), n_spans[i]);
	}
	otlp_end(&o);
	/* without what is of the machine and the process */
	const char *spans = strstr(json.ptr, "\"spans\":");
	cr_assert(spans);
	struct view rows = view_skip(str_as_view(&json), (size_t)(spans - json.ptr) + 8);
	cr_assert(view_ends(rows, VIEW("]}]}]}")));
	golden_json(&text, view_head(rows, rows.len - 5), any);
	golden_check("boot/golden_otlp.txt", &text);
	str_fini(&account);
	str_fini(&json);
	str_fini(&text);
}
