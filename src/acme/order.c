/* SPDX-License-Identifier: MIT */
#include "order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "jose.h"
#include "notes.h"
#include "payload.h"
#include "x509.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/file.h"

/* How long an authority may take to look at a name, or to sign. */
#define STEP_MAX_US UINT64_C(600000000)
/* From one look at what it does to the next. */
#define POLL_US UINT64_C(300000)
#define POLL_MAX_US UINT64_C(10000000)
/* Workers that are busy for so long are stuck. */
#define PUBLISH_MAX_US UINT64_C(30000000)
#define BINDING_KEY_MAX 4096

static const char *const types[] = {[CONF_ACME_HTTP] = "http-01", [CONF_ACME_TLS] = "tls-alpn-01"};

static void set_step(struct order *o, enum order_step step)
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
		str_printf(out, "%s for " VIEW_FMT ": ", types[o->type],
			   VIEW_ARG(str_as_view(&o->name)));
	str_text(out, words[o->step]);
}

/* ---- the end ---- */

static void stop(struct order *o)
{
	ca_stop(&o->ca);
	work_cancel(o->work);
	o->work = NULL;
	timer_clear(&o->timer);
	set_step(o, ORDER_IDLE);
	x509_forget(&o->key_pem);
	x509_forget(&o->proof);
	json_decref(o->authorizations);
	o->authorizations = NULL;
}

void order_stop(struct order *o)
{
	stop(o);
	x509_forget(&o->pem);
}

void order_forget(struct order *o)
{
	str_reset(&o->ca.kid);
	str_reset(&o->ca.nonce);
	str_reset(&o->new_account);
}

/* The caller may begin the next one. */
static void finish(struct order *o, struct order_result *result)
{
	struct str pem = o->pem;
	o->pem = STR_INIT;
	result->pem = str_as_view(&pem);
	result->account_is_there = o->account_is_there;
	result->goes_on = *result->why && result->of_authority && o->url.len > 0;
	stop(o);
	o->done(o->arg, result);
	x509_forget(&pem);
}

static void fail(struct order *o, const struct ca_answer *a, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void fail(struct order *o, const struct ca_answer *a, const char *fmt, ...)
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
	finish(o, &result);
	str_fini(&why);
}

/* ---- reading ---- */

static void take(struct str *to, struct view text)
{
	str_reset(to);
	str_view(to, text);
}

/* An https URL out of an answer; what an authority names goes nowhere else. */
static bool take_url(struct str *to, const char *text)
{
	take(to, view_str(text));
	return view_istarts(str_as_view(to), VIEW("https://"));
}

static bool is(const json_t *object, const char *status)
{
	return strcmp(ca_text(object, "status"), status) == 0;
}

/* The same request again, later each time, or when the authority says. */
static void again(struct order *o, const struct ca_answer *a, const char *what)
{
	uint64_t after = POLL_US << (o->n_asked < 6 ? o->n_asked : 6);
	if (after > POLL_MAX_US)
		after = POLL_MAX_US;
	if (a->retry_after_s)
		after = a->retry_after_s * 1000000;
	o->n_asked++;
	if (clock_us() + after > o->since_us + STEP_MAX_US)
		fail(o, NULL, "%s, for too long", what);
	else
		timer_set(&o->loop->timers, &o->timer, clock_us() + after);
}

/* ---- steps ---- */

static void read_url(struct order *o, const struct str *url)
{
	ca_post(&o->ca, str_as_view(url), VIEW_NONE);
}

static void on_key(void *arg, const struct disk_result *r)
{
	struct order *o = arg;
	o->work = NULL;
	o->account_is_there |= r->account;
	if (r->error) {
		fail(o, NULL, "%s/%s cannot be written: %s", o->task->folder, r->what,
		     strerror(r->error));
	} else if (!r->pem.len) {
		fail(o, NULL, "the TLS library makes no key");
	} else {
		take(&o->key_pem, r->pem);
		take(&o->url, r->order);
		set_step(o, ORDER_DIRECTORY);
		ca_get(&o->ca, o->task->conf->directory.text);
	}
}

static void make_key(struct order *o)
{
	set_step(o, ORDER_KEY);
	o->work = disk_make_key(o->loop,
				&(struct disk_key){.folder = o->task->folder,
						   .file = o->task->file,
						   .account_file = o->task->account_file,
						   .account_pem = o->task->account_pem,
						   .type = o->task->conf->key_type,
						   .directory = o->task->conf->directory.text},
				on_key, o);
	if (!o->work)
		fail(o, NULL, "no thread can be had");
}

/* Our key, signed by the one that the authority gave us elsewhere. */
static bool bind_account(struct order *o, struct str *binding, struct str *why)
{
	const struct conf_acme *conf = o->task->conf;
	struct str text = STR_INIT, key = STR_INIT, jwk = STR_INIT;
	struct jose_header header = {.kid = conf->eab.kid, .url = str_as_view(&o->new_account)};
	bool ok = file_read_secret(conf->eab.key_file.ptr, BINDING_KEY_MAX, &text, why) == ERR_OK;
	if (ok && (!jose_base64_read(str_as_view(&text), &key) || !key.len)) {
		str_text(why, "it is not in base64");
		ok = false;
	}
	jose_jwk(o->ca.key, &jwk);
	ok = ok && jose_sign_shared(str_as_view(&key), &header, str_as_view(&jwk), binding);
	x509_forget(&text);
	x509_forget(&key);
	str_fini(&jwk);
	return ok;
}

/* Its answer is the account of this key, also if it has been there for long. */
static void open_account(struct order *o)
{
	const struct conf_acme *conf = o->task->conf;
	struct str payload = STR_INIT, binding = STR_INIT, why = STR_INIT;
	str_reset(&o->ca.kid);
	set_step(o, ORDER_ACCOUNT);
	if (conf->eab.on && !bind_account(o, &binding, &why)) {
		fail(o, NULL, "acme.eab.key_file " VIEW_FMT ": " VIEW_FMT,
		     VIEW_ARG(conf->eab.key_file), VIEW_ARG(str_as_view(&why)));
	} else {
		payload_account(conf, str_as_view(&binding), &payload);
		ca_post(&o->ca, str_as_view(&o->new_account), str_as_view(&payload));
	}
	str_fini(&payload);
	str_fini(&binding);
	str_fini(&why);
}

static void place(struct order *o)
{
	struct str payload = STR_INIT;
	payload_order(o->task->names, o->knows_replaces ? o->task->replaces : VIEW_NONE, &payload);
	set_step(o, ORDER_PLACING);
	ca_post(&o->ca, str_as_view(&o->new_order), str_as_view(&payload));
	str_fini(&payload);
}

/* That of an earlier process, if there is one. */
static void resume(struct order *o)
{
	if (!o->url.len) {
		place(o);
		return;
	}
	set_step(o, ORDER_RESUMING);
	read_url(o, &o->url);
}

static void on_directory(struct order *o, const struct ca_answer *a)
{
	struct str account = STR_INIT;
	bool ok = a->root && take_url(&o->ca.nonce_url, ca_text(a->root, "newNonce")) &&
		  take_url(&account, ca_text(a->root, "newAccount")) &&
		  take_url(&o->new_order, ca_text(a->root, "newOrder"));
	bool same = ok && view_eq(str_as_view(&account), str_as_view(&o->new_account));
	take(&o->new_account, str_as_view(&account));
	o->knows_replaces = *ca_text(a->root, "renewalInfo") != '\0';
	str_fini(&account);
	if (!ok)
		fail(o, a, "there is no ACME directory at " VIEW_FMT,
		     VIEW_ARG(o->task->conf->directory.text));
	else if (same && o->ca.kid.len)
		resume(o);
	else
		open_account(o);
}

static void on_account(struct order *o, const struct ca_answer *a)
{
	take(&o->ca.kid, a->location);
	if (o->ca.kid.len)
		resume(o);
	else
		fail(o, a, "the authority names no account");
}

/* ---- authorizations ---- */

static void finalize(struct order *o)
{
	struct str csr = STR_INIT, payload = STR_INIT;
	bool ok = x509_request(str_as_view(&o->key_pem), o->task->names, &csr);
	payload_finalize(str_as_view(&csr), &payload);
	set_step(o, ORDER_FINALIZING);
	if (ok)
		ca_post(&o->ca, str_as_view(&o->finalize), str_as_view(&payload));
	else
		fail(o, NULL, "the request for the certificate cannot be made");
	str_fini(&csr);
	str_fini(&payload);
}

static const char *authorization_at(const struct order *o)
{
	const char *url = json_string_value(json_array_get(o->authorizations, o->at));
	return url ? url : "";
}

static void read_authorization(struct order *o, enum order_step step)
{
	set_step(o, step);
	ca_post(&o->ca, view_str(authorization_at(o)), VIEW_NONE);
}

static void next_authorization(struct order *o)
{
	if (o->at < json_array_size(o->authorizations))
		read_authorization(o, ORDER_AUTHORIZATION);
	else
		finalize(o);
}

/* False: the answer is no order. */
static bool read_order(struct order *o, const struct ca_answer *a)
{
	o->at = 0;
	json_decref(o->authorizations);
	o->authorizations = json_incref(json_object_get(a->root, "authorizations"));
	size_t n = json_array_size(o->authorizations);
	return n > 0 && n <= o->task->names->n &&
	       take_url(&o->finalize, ca_text(a->root, "finalize"));
}

/* Without it a new one is placed after a restart, so that it is not there is no fault. */
static void on_noted(void *arg, const struct disk_result *r)
{
	struct order *o = arg;
	o->work = NULL;
	next_authorization(o);
	(void)r;
}

static void on_order(struct order *o, const struct ca_answer *a)
{
	take(&o->url, a->location);
	if (!view_istarts(a->location, VIEW("https://")) || !read_order(o, a)) {
		fail(o, a, "the authority's answer is no order");
		return;
	}
	set_step(o, ORDER_NOTING);
	o->work = disk_write_note(o->loop,
				  &(struct disk_note){.folder = o->task->folder,
						      .file = o->task->file,
						      .directory = o->task->conf->directory.text,
						      .keeps_failures = true,
						      .order = str_as_view(&o->url)},
				  on_noted, o);
	if (!o->work)
		next_authorization(o);
}

static bool is_for(const json_t *order, const struct conf_views *names)
{
	const json_t *rows = json_object_get(order, "identifiers"), *row;
	size_t i, n_found = 0;
	json_array_foreach(rows, i, row)
	{
		struct view name = view_str(ca_text(row, "value"));
		for (size_t k = 0; k < names->n; k++)
			n_found += view_ieq(name, names->rows[k]);
	}
	return n_found == names->n && json_array_size(rows) == names->n;
}

static const json_t *challenge_of(const json_t *authorization, const char *type)
{
	const json_t *rows = json_object_get(authorization, "challenges"), *row;
	size_t i;
	json_array_foreach(rows, i, row) if (strcmp(ca_text(row, "type"), type) == 0) return row;
	return NULL;
}

/* The one that is to be tried, or else another that can be answered. */
static const json_t *choose_challenge(struct order *o, const json_t *authorization)
{
	o->type = o->task->first;
	const json_t *challenge = challenge_of(authorization, types[o->type]);
	for (unsigned t = 0; !challenge && t < CONF_ACME_CHALLENGES; t++) {
		o->type = (enum conf_acme_challenge)t;
		if (o->task->challenges & 1u << t)
			challenge = challenge_of(authorization, types[t]);
	}
	return challenge;
}

static void announce(struct order *o)
{
	set_step(o, ORDER_CHALLENGE);
	ca_post(&o->ca, str_as_view(&o->challenge), VIEW("{}"));
}

/* What follows from the token is shown in a handshake, or by other nodes. */
static void publish(struct order *o, const char *token)
{
	struct view name = str_as_view(&o->name);
	str_reset(&o->authorization);
	str_printf(&o->authorization, "%s." VIEW_FMT, token, VIEW_ARG(o->task->thumbprint));
	x509_forget(&o->proof);
	set_step(o, ORDER_PUBLISHING);
	timer_set(&o->loop->timers, &o->timer, clock_us() + PUBLISH_MAX_US);
	bool ok = o->type != CONF_ACME_TLS ||
		  x509_challenge(name, str_as_view(&o->authorization), &o->proof);
	if (!ok || !o->publish(o->arg))
		fail(o, NULL, "%s for " VIEW_FMT ": the proof cannot be shown", types[o->type],
		     VIEW_ARG(name));
}

void order_published(struct order *o)
{
	if (o->step != ORDER_PUBLISHING)
		return;
	timer_clear(&o->timer);
	announce(o);
}

static void on_authorization(struct order *o, const struct ca_answer *a)
{
	const json_t *challenge = choose_challenge(o, a->root);
	take(&o->name, view_str(ca_text(json_object_get(a->root, "identifier"), "value")));
	if (is(a->root, "valid")) {
		o->at++;
		next_authorization(o);
	} else if (!is(a->root, "pending")) {
		fail(o, NULL, VIEW_FMT ": its authorization is %.40s",
		     VIEW_ARG(str_as_view(&o->name)), ca_text(a->root, "status"));
	} else if (!challenge || !take_url(&o->challenge, ca_text(challenge, "url"))) {
		fail(o, NULL, VIEW_FMT ": the authority offers no challenge that can be answered",
		     VIEW_ARG(str_as_view(&o->name)));
	} else if (o->type == CONF_ACME_TLS || o->task->others) {
		publish(o, ca_text(challenge, "token"));
	} else {
		announce(o);
	}
}

/* The challenge that was looked at says why. */
static void fail_validation(struct order *o, const struct ca_answer *a)
{
	struct str why = STR_INIT;
	const json_t *challenge = challenge_of(a->root, types[o->type]);
	ca_problem(json_object_get(challenge, "error"), &why);
	fail(o, NULL, "%s for " VIEW_FMT ": " VIEW_FMT, types[o->type],
	     VIEW_ARG(str_as_view(&o->name)), VIEW_ARG(str_as_view(&why)));
	str_fini(&why);
}

static void on_validation(struct order *o, const struct ca_answer *a)
{
	if (is(a->root, "valid")) {
		o->at++;
		next_authorization(o);
	} else if (is(a->root, "pending") || is(a->root, "processing")) {
		again(o, a, "the authority does not come to look");
	} else {
		fail_validation(o, a);
	}
}

/* ---- the certificate ---- */

static void on_issuing(struct order *o, const struct ca_answer *a)
{
	if (o->step != ORDER_ISSUING)
		set_step(o, ORDER_ISSUING);
	if (is(a->root, "valid") && take_url(&o->challenge, ca_text(a->root, "certificate"))) {
		set_step(o, ORDER_DOWNLOAD);
		read_url(o, &o->challenge);
	} else if (is(a->root, "processing") || is(a->root, "ready")) {
		again(o, a, "the authority does not sign");
	} else {
		struct str why = STR_INIT;
		ca_problem(json_object_get(a->root, "error"), &why);
		fail(o, NULL, "the order is %.40s: " VIEW_FMT, ca_text(a->root, "status"),
		     VIEW_ARG(str_as_view(&why)));
		str_fini(&why);
	}
}

/* One of an earlier process, from where that was; what is of no use any more is placed anew. */
static void on_resumed(struct order *o, const struct ca_answer *a)
{
	bool usable = is_for(a->root, o->task->names) && read_order(o, a);
	if (usable && is(a->root, "pending"))
		next_authorization(o);
	else if (usable && is(a->root, "ready"))
		finalize(o);
	else if (usable && (is(a->root, "processing") || is(a->root, "valid")))
		on_issuing(o, a);
	else
		place(o);
}

static void on_saved(void *arg, const struct disk_result *r)
{
	struct order *o = arg;
	o->work = NULL;
	finish(o, &(struct order_result){.why = "", .save_error = r->error});
}

static void on_download(struct order *o, const struct ca_answer *a)
{
	struct x509_facts facts;
	struct str why = STR_INIT;
	x509_forget(&o->pem);
	notes_put_origin(o->task->conf->directory.text, &o->pem);
	str_view(&o->pem, str_as_view(&o->key_pem));
	str_view(&o->pem, a->body);
	if (!x509_facts(str_as_view(&o->pem), o->task->names, &facts, &why)) {
		x509_forget(&o->pem);
		fail(o, a, "what the authority gave cannot be used: " VIEW_FMT,
		     VIEW_ARG(str_as_view(&why)));
	} else {
		set_step(o, ORDER_SAVING);
		o->work = disk_write_pair(o->loop, o->task->folder, o->task->file,
					  str_as_view(&o->pem), on_saved, o);
		if (!o->work)
			finish(o, &(struct order_result){.why = "", .save_error = EAGAIN});
	}
	str_fini(&why);
}

/* ---- answers ---- */

typedef void step_fn(struct order *o, const struct ca_answer *a);

/* A challenge that was announced is looked at by way of its authorization. */
static void on_challenge(struct order *o, const struct ca_answer *a)
{
	read_authorization(o, ORDER_VALIDATION);
	(void)a;
}

static step_fn *const on_step[] = {
    [ORDER_DIRECTORY] = on_directory,
    [ORDER_ACCOUNT] = on_account,
    [ORDER_RESUMING] = on_resumed,
    [ORDER_PLACING] = on_order,
    [ORDER_AUTHORIZATION] = on_authorization,
    [ORDER_CHALLENGE] = on_challenge,
    [ORDER_VALIDATION] = on_validation,
    [ORDER_FINALIZING] = on_issuing,
    [ORDER_ISSUING] = on_issuing,
    [ORDER_DOWNLOAD] = on_download,
};

/* An authority that has forgotten the account: it is opened again, once. */
static bool is_unknown_account(const struct order *o, const struct ca_answer *a)
{
	return !o->account_anew && (o->step == ORDER_PLACING || o->step == ORDER_RESUMING) &&
	       (strcmp(a->error, "accountDoesNotExist") == 0 || a->status == 401 ||
		a->status == 403);
}

static void on_answer(void *arg, const struct ca_answer *a)
{
	struct order *o = arg;
	struct str words = STR_INIT;
	if (a->ok && (a->root || o->step == ORDER_DOWNLOAD)) {
		on_step[o->step](o, a);
	} else if (is_unknown_account(o, a)) {
		o->account_anew = true;
		open_account(o);
	} else if (o->step == ORDER_RESUMING && a->status / 100 == 4 && a->status != 429) {
		place(o); /* the authority has forgotten it */
	} else {
		order_words(o, &words);
		fail(o, a, VIEW_FMT ": %s", VIEW_ARG(str_as_view(&words)),
		     a->ok ? "the answer is no JSON" : a->why);
	}
	str_fini(&words);
}

static void on_timer(struct timer *timer)
{
	struct order *o = container_of(timer, struct order, timer);
	if (o->step == ORDER_PUBLISHING)
		fail(o, NULL, "the workers do not answer");
	else if (o->step == ORDER_VALIDATION)
		ca_post(&o->ca, view_str(authorization_at(o)), VIEW_NONE);
	else
		read_url(o, &o->url);
}

/* ---- life ---- */

void order_init(struct order *o, struct loop *loop, struct fetcher *fetcher)
{
	*o = (struct order){.loop = loop, .timer.fn = on_timer};
	struct str *const texts[] = {&o->key_pem,   &o->pem,  &o->new_account,
				     &o->new_order, &o->url,  &o->finalize,
				     &o->challenge, &o->name, &o->authorization};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		*texts[i] = STR_INIT;
	ca_init(&o->ca, fetcher);
	o->ca.done = on_answer;
	o->ca.arg = o;
}

void order_fini(struct order *o)
{
	struct str *const texts[] = {&o->new_account, &o->new_order, &o->url,          &o->finalize,
				     &o->challenge,   &o->name,      &o->authorization};
	order_stop(o);
	timer_del(&o->timer);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		str_fini(texts[i]);
	ca_fini(&o->ca);
}

void order_begin(struct order *o, const struct order_task *task)
{
	check(o->step == ORDER_IDLE);
	o->task = task;
	o->account_is_there = o->account_anew = false;
	make_key(o);
}
