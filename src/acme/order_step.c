/* SPDX-License-Identifier: MIT */
/* What all steps of an order have in common: which it is, how it ends, what is read out of answers.
 */
#include "order_step.h"

#include <string.h>

#include "x509.h"

#include "weir/base/clock.h"

/* How long an authority may take to look at a name, or to sign. */
#define STEP_MAX_US UINT64_C(600000000)
/* From one look at what it does to the next. */
#define POLL_US UINT64_C(300000)
#define POLL_MAX_US UINT64_C(10000000)

const char *const order_types[] = {[CONF_ACME_HTTP] = "http-01", [CONF_ACME_TLS] = "tls-alpn-01"};

void order_set_step(struct order *o, enum order_step step)
{
	o->step = step;
	o->since_us = clock_us();
	o->n_asked = 0;
}

void order_words(const struct order *o, struct str *out)
{
	static const char *const words[] = {
#define ORDER_STEP(symbol, words) words,
#include "weir/tbl/acme_steps.def"
#undef ORDER_STEP
	};
	bool named = o->step >= ORDER_PUBLISHING && o->step <= ORDER_VALIDATION;
	if (named)
		str_printf(out, "%s for " VIEW_FMT ": ", order_types[o->type],
			   VIEW_ARG(str_as_view(&o->name)));
	str_text(out, words[o->step]);
}

/* ---- the end ---- */

static void order_end(struct order *o)
{
	ca_stop(&o->ca);
	work_cancel(o->work);
	o->work = NULL;
	timer_clear(&o->timer);
	order_set_step(o, ORDER_IDLE);
	x509_forget(&o->key_pem);
	x509_forget(&o->proof);
	json_decref(o->authorizations);
	o->authorizations = NULL;
}

void order_stop(struct order *o)
{
	order_end(o);
	x509_forget(&o->pem);
}

void order_forget(struct order *o)
{
	str_reset(&o->ca.kid);
	str_reset(&o->ca.nonce);
	str_reset(&o->new_account);
}

void order_finish(struct order *o, struct order_result *result)
{
	struct str pem = o->pem;
	o->pem = STR_INIT;
	result->pem = str_as_view(&pem);
	result->account_is_there = o->account_is_there;
	result->goes_on = *result->why && result->of_authority && o->url.len > 0;
	order_end(o);
	o->done(o->arg, result);
	x509_forget(&pem);
}

void order_fail(struct order *o, const struct ca_answer *a, const char *fmt, ...)
{
	struct str why = STR_INIT;
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&why, fmt, ap);
	va_end(ap);
	struct order_result result = {.why = why.ptr ? why.ptr : "no memory"};
	if (a) {
		result.retry_after_s = a->retry_after_s;
		result.of_authority =
		    !a->ok && (!a->status || a->status >= 500 || a->status == 429 ||
			       strcmp(a->error, "rateLimited") == 0);
	}
	order_finish(o, &result);
	str_fini(&why);
}

/* ---- reading ---- */

void order_take(struct str *to, struct view text)
{
	str_reset(to);
	str_view(to, text);
}

bool order_take_url(struct str *to, const char *text)
{
	order_take(to, view_str(text));
	return view_istarts(str_as_view(to), VIEW("https://"));
}

bool order_is(const json_t *object, const char *status)
{
	return strcmp(ca_text(object, "status"), status) == 0;
}

void order_again(struct order *o, const struct ca_answer *a, const char *what)
{
	uint64_t after = POLL_US << (o->n_asked < 6 ? o->n_asked : 6);
	if (after > POLL_MAX_US)
		after = POLL_MAX_US;
	if (a->retry_after_s)
		after = a->retry_after_s * 1000000;
	o->n_asked++;
	if (clock_us() + after > o->since_us + STEP_MAX_US)
		order_fail(o, NULL, "%s, for too long", what);
	else
		timer_set(&o->loop->timers, &o->timer, clock_us() + after);
}

void order_read(struct order *o, const struct str *url)
{
	ca_post(&o->ca, str_as_view(url), VIEW_NONE);
}
