/* SPDX-License-Identifier: MIT */
/*
 * One order, step by step: the account, the order itself, and which step an answer belongs to.
 * Its names are in order_names.c, the certificate in order_cert.c.
 */
#include "order_step.h"

#include <string.h>

#include "disk.h"
#include "jose.h"
#include "payload.h"
#include "x509.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/file.h"

static void on_key(void *arg, const struct disk_result *r)
{
	struct order *o = arg;
	o->work = NULL;
	o->account_is_there |= r->account;
	if (r->error) {
		order_fail(o, NULL, "%s/%s cannot be written: %s", o->task->folder, r->what,
			   strerror(r->error));
	} else if (!r->pem.len) {
		order_fail(o, NULL, "the TLS library makes no key");
	} else {
		order_take(&o->key_pem, r->pem);
		order_take(&o->url, r->order);
		order_set_step(o, ORDER_DIRECTORY);
		ca_get(&o->ca, o->task->conf->directory.text);
	}
}

static void make_key(struct order *o)
{
	order_set_step(o, ORDER_KEY);
	o->work = disk_make_key(o->loop,
				&(struct disk_key){.folder = o->task->folder,
						   .file = o->task->file,
						   .account_file = o->task->account_file,
						   .account_pem = o->task->account_pem,
						   .type = o->task->conf->key_type,
						   .directory = o->task->conf->directory.text},
				on_key, o);
	if (!o->work)
		order_fail(o, NULL, "no thread can be had");
}

/* Our key, signed by the one that the authority gave us elsewhere. */
static bool bind_account(struct order *o, struct str *binding, struct str *why)
{
	const struct conf_acme *conf = o->task->conf;
	struct str text = STR_INIT, key = STR_INIT, jwk = STR_INIT;
	struct jose_header header = {.kid = conf->eab.kid, .url = str_as_view(&o->new_account)};
	bool ok = file_read_secret(conf->eab.key_file.ptr, &text, why) == ERR_OK;
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
	order_set_step(o, ORDER_ACCOUNT);
	if (conf->eab.on && !bind_account(o, &binding, &why)) {
		order_fail(o, NULL, "acme.eab.key_file " VIEW_FMT ": " VIEW_FMT,
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
	order_set_step(o, ORDER_PLACING);
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
	order_set_step(o, ORDER_RESUMING);
	order_read(o, &o->url);
}

/* What is wrong is told to whoever may look; a query may hold a key. */
static struct view without_query(struct view url)
{
	ptrdiff_t query = view_chr(url, '?');
	return query < 0 ? url : view_head(url, (size_t)query);
}

static void on_directory(struct order *o, const struct ca_answer *a)
{
	struct str account = STR_INIT;
	bool ok = a->root && order_take_url(&o->ca.nonce_url, ca_text(a->root, "newNonce")) &&
		  order_take_url(&account, ca_text(a->root, "newAccount")) &&
		  order_take_url(&o->new_order, ca_text(a->root, "newOrder"));
	bool same = ok && view_eq(str_as_view(&account), str_as_view(&o->new_account));
	order_take(&o->new_account, str_as_view(&account));
	o->knows_replaces = *ca_text(a->root, "renewalInfo") != '\0';
	str_fini(&account);
	if (!ok)
		order_fail(o, a, "there is no ACME directory at " VIEW_FMT,
			   VIEW_ARG(without_query(o->task->conf->directory.text)));
	else if (same && o->ca.kid.len)
		resume(o);
	else
		open_account(o);
}

static void on_account(struct order *o, const struct ca_answer *a)
{
	order_take(&o->ca.kid, a->location);
	if (o->ca.kid.len)
		resume(o);
	else
		order_fail(o, a, "the authority names no account");
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

/* One of an earlier process, from where that was; what is of no use any more is placed anew. */
static void on_resumed(struct order *o, const struct ca_answer *a)
{
	bool usable = is_for(a->root, o->task->names) && order_read_names(o, a);
	if (usable && order_is(a->root, "pending"))
		order_next_name(o);
	else if (usable && order_is(a->root, "ready"))
		order_finalize(o);
	else if (usable && (order_is(a->root, "processing") || order_is(a->root, "valid")))
		order_on_issuing(o, a);
	else
		place(o);
}

/* ---- answers ---- */

typedef void step_fn(struct order *o, const struct ca_answer *a);

/* A challenge that was announced is looked at by way of its authorization. */
static void on_challenge(struct order *o, const struct ca_answer *a)
{
	order_read_name(o, ORDER_VALIDATION);
	(void)a;
}

static step_fn *const on_step[] = {
    [ORDER_DIRECTORY] = on_directory,
    [ORDER_ACCOUNT] = on_account,
    [ORDER_RESUMING] = on_resumed,
    [ORDER_PLACING] = order_on_placed,
    [ORDER_AUTHORIZATION] = order_on_name,
    [ORDER_CHALLENGE] = on_challenge,
    [ORDER_VALIDATION] = order_on_validation,
    [ORDER_FINALIZING] = order_on_issuing,
    [ORDER_ISSUING] = order_on_issuing,
    [ORDER_DOWNLOAD] = order_on_download,
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
		order_fail(o, a, VIEW_FMT ": %s", VIEW_ARG(str_as_view(&words)),
			   a->ok ? "the answer is no JSON" : a->why);
	}
	str_fini(&words);
}

static void on_timer(struct timer *timer)
{
	struct order *o = container_of(timer, struct order, timer);
	if (o->step == ORDER_PUBLISHING)
		order_fail(o, NULL, "the workers do not answer");
	else if (o->step == ORDER_VALIDATION)
		ca_post(&o->ca, view_str(order_name_url(o)), VIEW_NONE);
	else
		order_read(o, &o->url);
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
