/* SPDX-License-Identifier: MIT */
/* The certificates of a configuration: what there is, what is due, what is under way. */
#include "weir/acme/acme.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ari.h"
#include "disk.h"
#include "jose.h"
#include "order.h"
#include "renew.h"
#include "x509.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/file.h"
#include "weir/base/hash.h"
#include "weir/base/log.h"
#include "weir/base/rng.h"
#include "weir/fetch/fetch.h"

#define PEM_MAX (256 * 1024)
/* What could not be written is tried again so often. */
#define SAVE_AGAIN_US UINT64_C(60000000)
#define DEFAULT_STATE "/var/lib/weir"

/* One certificate. */
struct site {
	struct list link;
	struct arena *arena; /* owns it and its texts */
	struct conf_views names;
	const char *file; /* in the folder */
	struct view path;
	struct str pem; /* owns; what is served */
	struct x509_facts facts;
	bool trusted;   /* it is from an authority ... */
	bool of_this;   /* ... the one of the configuration */
	bool unsaved;   /* the disk does not have it */
	bool now, next; /* named by the configuration in force, by the one that is prepared */
	unsigned failures;
	uint64_t retry_us, save_us; /* monotonic; 0: none */
	int64_t start_s, end_s; /* when the authority wants it to be renewed; 0: it does not say */
	uint64_t ask_us;        /* monotonic; when it is asked for that again */
	uint64_t n_orders, n_failed;
	struct str error; /* owns; of the last order */
};

/* Ours at an authority. */
struct account {
	EVP_PKEY *key; /* owns; NULL: none */
	struct str pem, thumbprint, file;
	bool unsaved;
};

struct acme {
	struct loop *loop;
	struct fetcher fetcher; /* of its own: connections end with an order */
	struct acme_host host;
	struct list sites;
	const struct conf_acme *conf, *next;  /* of configurations that are in use; NULL: none */
	struct account account, next_account; /* next: has a key if it is another one */
	struct tls_client *next_tls;          /* counted */
	char *folder;                         /* owns; NULL: not needed yet */
	struct order order;
	struct order_task task;
	struct site *ordering, *saving, *asking;
	struct ari ari;
	struct work *work;      /* that writes `saving` */
	uint64_t not_before_us; /* monotonic; the authority wants to be left alone */
	struct rng rng;
	bool plain;                     /* some listener answers without TLS */
	bool next_plain;                /* of the configuration that is prepared */
	unsigned n_publishing;          /* barriers under way */
	struct tls_challenge challenge; /* name empty: none is shown */
	bool left;
};

/* ---- the folder ---- */

void acme_folder(const struct conf *conf, struct str *out)
{
	const char *managers = getenv("STATE_DIRECTORY");
	struct view state = conf->state.on ? conf->state.directory : VIEW(DEFAULT_STATE);
	if (!conf->state.on && managers)
		state = view_of(managers, strcspn(managers, ":"));
	if (conf->acme.state.ptr)
		str_view(out, conf->acme.state);
	else
		str_printf(out, VIEW_FMT "/acme", VIEW_ARG(state));
}

/* Not being there is said when something is to be written. */
static void make_folder(const char *folder)
{
	struct str inside = STR_INIT, why = STR_INIT;
	str_printf(&inside, "%s/x", folder);
	if (file_make_directory(folder, &why) || file_make_directory(inside.ptr, &why))
		log_warn("acme.state: %s", why.ptr);
	str_fini(&inside);
	str_fini(&why);
}

static void find_folder(struct acme *acme, const struct conf *conf)
{
	struct str folder = STR_INIT;
	if (acme->folder)
		return;
	acme_folder(conf, &folder);
	make_folder(folder.ptr);
	acme->folder = folder.ptr;
}

/* False: it is not there, or not to be read, which is said. */
static bool read_file(const struct acme *acme, const char *file, struct str *out)
{
	char path[PATH_MAX];
	struct str why = STR_INIT;
	snprintf(path, sizeof(path), "%s/%s", acme->folder, file);
	file_owner_begin();
	bool is_there = file_identify(path).ino != 0;
	bool ok = is_there && file_read(path, PEM_MAX, 0, out, &why) == ERR_OK;
	file_owner_end();
	if (is_there && !ok)
		log_warn("acme: %s cannot be read: %s", path, why.ptr);
	str_fini(&why);
	return ok;
}

/* ---- the account ---- */

static void account_fini(struct account *a)
{
	EVP_PKEY_free(a->key);
	x509_forget(&a->pem);
	str_fini(&a->thumbprint);
	str_fini(&a->file);
	*a = (struct account){.pem = STR_INIT, .thumbprint = STR_INIT, .file = STR_INIT};
}

static enum err load_key(const struct acme *acme, struct account *a, struct str *why)
{
	if (read_file(acme, a->file.ptr, &a->pem))
		a->key = jose_key_read(str_as_view(&a->pem));
	else if (x509_key(CONF_ACME_ECDSA, &a->pem)) {
		a->key = jose_key_read(str_as_view(&a->pem));
		a->unsaved = true;
	}
	if (a->key)
		return ERR_OK;
	str_printf(why, "acme: %s/%s is no private key for P-256\n", acme->folder, a->file.ptr);
	return ERR_SYNTAX;
}

/* Each authority has a key of its own. */
static enum err load_account(struct acme *acme, const struct conf_acme *conf, struct account *a,
			     struct str *why)
{
	struct str jwk = STR_INIT;
	str_printf(&a->file, "account-%08x.key",
		   (unsigned)(hash_view(conf->directory.text, 0) >> 32));
	enum err err = load_key(acme, a, why);
	if (err)
		return err;
	jose_jwk(a->key, &jwk);
	jose_thumbprint(str_as_view(&jwk), &a->thumbprint);
	str_fini(&jwk);
	return ERR_OK;
}

struct view acme_thumbprint(const struct acme *acme)
{
	return str_as_view(acme->next_account.key ? &acme->next_account.thumbprint
						  : &acme->account.thumbprint);
}

/* ---- sites ---- */

static struct site *site_of(const struct acme *acme, const struct conf_views *names)
{
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		if (conf_names_equal(&s->names, names) &&
		    view_ieq(s->names.rows[0], names->rows[0]))
			return s;
	}
	return NULL;
}

static struct site *site_new(struct acme *acme, const struct conf_views *names)
{
	struct arena *arena = arena_new();
	struct site *s = arena_zalloc(arena, sizeof(*s));
	s->arena = arena;
	s->names.rows = arena_array(arena, names->n, sizeof(*s->names.rows));
	s->names.n = names->n;
	for (size_t i = 0; i < names->n; i++) {
		char *text = arena_strdup(arena, names->rows[i].ptr);
		for (char *c = text; *c; c++)
			*c = char_lower(*c);
		s->names.rows[i] = view_str(text);
	}
	s->file = arena_printf(arena, "%.*s.pem", NAME_MAX - 16, s->names.rows[0].ptr);
	s->path = view_str(arena_printf(arena, "%s/%s", acme->folder, s->file));
	s->pem = s->error = STR_INIT;
	list_push_back(&acme->sites, &s->link);
	return s;
}

static void site_free(struct acme *acme, struct site *s)
{
	if (acme->ordering == s) {
		order_stop(&acme->order);
		acme->ordering = NULL;
	}
	if (acme->saving == s) {
		work_cancel(acme->work);
		acme->work = NULL;
		acme->saving = NULL;
	}
	if (acme->asking == s) {
		ari_stop(&acme->ari);
		acme->asking = NULL;
	}
	list_del(&s->link);
	x509_forget(&s->pem);
	str_fini(&s->error);
	arena_free(s->arena);
}

/* False: what is in the file is nothing to serve. */
static bool load_site(const struct acme *acme, struct site *s)
{
	struct str pem = STR_INIT, why = STR_INIT;
	bool ok = read_file(acme, s->file, &pem);
	if (ok && !x509_facts(str_as_view(&pem), &s->names, &s->facts, &why)) {
		log_warn("acme: " VIEW_FMT " is left out: %s", VIEW_ARG(s->path), why.ptr);
		ok = false;
	}
	s->trusted = ok;
	if (ok)
		s->pem = pem;
	else
		x509_forget(&pem);
	str_fini(&why);
	return ok;
}

static enum err add_site(struct acme *acme, const struct conf_views *names, struct str *why)
{
	struct site *s = site_of(acme, names);
	if (!s)
		s = site_new(acme, names);
	s->next = true;
	if (s->pem.len || load_site(acme, s) || x509_self_signed(&s->names, &s->pem))
		return ERR_OK;
	str_printf(why, "acme: no certificate can be made for " VIEW_FMT "\n",
		   VIEW_ARG(names->rows[0]));
	return ERR_NOMEM;
}

struct view acme_pem(const struct acme *acme, const struct conf_views *names, struct view *file)
{
	const struct site *s = site_of(acme, names);
	check(s != NULL);
	*file = s->path;
	return str_as_view(&s->pem);
}

/* ---- a configuration ---- */

static enum err add_sites(struct acme *acme, const struct conf *conf, struct str *why)
{
	enum err err = ERR_OK;
	for (size_t l = 0; l < conf->n_listeners; l++) {
		const struct conf_listener_tls *tls = &conf->listeners[l].tls;
		for (size_t i = 0; tls->on && i < tls->certificates.n && !err; i++)
			if (tls->certificates.rows[i].acme.n)
				err = add_site(acme, &tls->certificates.rows[i].acme, why);
	}
	return err;
}

/* What was tried with the one need not be tried again with the other. */
static bool same_authority(const struct conf_acme *a, const struct conf_acme *b)
{
	return a && b && view_eq(a->directory.text, b->directory.text) &&
	       view_eq(a->email, b->email) && view_eq(a->ca, b->ca) && a->key_type == b->key_type &&
	       a->challenges == b->challenges && view_eq(a->eab.kid, b->eab.kid) &&
	       view_eq(a->eab.key_file, b->eab.key_file);
}

static enum err prepare_client(struct acme *acme, const struct conf_acme *conf, struct str *why)
{
	if (!acme->conf || !view_eq(acme->conf->directory.text, conf->directory.text)) {
		enum err err = load_account(acme, conf, &acme->next_account, why);
		if (err)
			return err;
	}
	acme->next_tls =
	    fetch_tls_new(&acme->fetcher, &(struct fetch_tls_options){.ca = conf->ca}, why);
	return acme->next_tls ? ERR_OK : ERR_IO;
}

enum err acme_prepare(struct acme *acme, const struct conf *conf, struct str *why)
{
	enum err err = ERR_OK;
	if (!conf->acme.on)
		return ERR_OK;
	find_folder(acme, conf);
	acme->next = &conf->acme;
	acme->next_plain = false;
	for (size_t i = 0; i < conf->n_listeners; i++)
		acme->next_plain |= !conf->listeners[i].tls.on;
	err = prepare_client(acme, &conf->acme, why);
	if (!err)
		err = add_sites(acme, conf, why);
	if (err)
		acme_cancel(acme);
	return err;
}

static void sweep(struct acme *acme)
{
	list_each_safe (it, tmp, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		if (!s->now && !s->next)
			site_free(acme, s);
	}
}

void acme_cancel(struct acme *acme)
{
	list_each (it, &acme->sites)
		list_entry(it, struct site, link)->next = false;
	sweep(acme);
	account_fini(&acme->next_account);
	tls_client_put(acme->next_tls);
	acme->next_tls = NULL;
	acme->next = NULL;
}

/* What failed under the configuration before may work under this one. */
static void begin_anew(struct site *s, const struct conf_acme *conf)
{
	s->of_this = s->trusted && order_is_from(str_as_view(&s->pem), conf->directory.text);
	s->failures = 0;
	s->retry_us = s->ask_us = 0;
	s->start_s = s->end_s = 0;
}

static void follow_sites(struct acme *acme, bool anew)
{
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		bool was_there = s->now;
		s->now = s->next;
		s->next = false;
		if (s->now && (anew || !was_there))
			begin_anew(s, acme->next);
	}
	sweep(acme);
}

void acme_commit(struct acme *acme)
{
	bool anew = !same_authority(acme->conf, acme->next);
	if (anew) {
		order_stop(&acme->order);
		order_forget(&acme->order);
		ari_stop(&acme->ari);
		acme->ordering = acme->asking = NULL;
		acme->not_before_us = 0;
	}
	follow_sites(acme, anew);
	if (acme->next_account.key) {
		account_fini(&acme->account);
		acme->account = acme->next_account;
		acme->next_account = (struct account){.key = NULL};
	}
	tls_client_put(acme->order.ca.tls);
	tls_client_put(acme->ari.ca.tls);
	acme->order.ca.tls = acme->ari.ca.tls = acme->next_tls;
	if (acme->next_tls)
		tls_client_get(acme->next_tls);
	acme->next_tls = NULL;
	acme->order.ca.key = acme->account.key;
	acme->task.conf = acme->conf = acme->next;
	acme->plain = acme->next_plain;
	acme->next = NULL;
}

/* ---- what is due ---- */

static uint64_t in_us(int64_t wall_s)
{
	uint64_t now = clock_wall_us(), then = wall_s > 0 ? (uint64_t)wall_s * 1000000 : 0;
	return then > now ? then - now : 0;
}

/* In the authority's window, as far as that leaves time for what may go wrong. */
static int64_t renewal_of(const struct site *s)
{
	const struct x509_facts *f = &s->facts;
	if (!s->start_s)
		return renew_at(f->not_before_s, f->not_after_s, f->hash);
	return renew_in_window(s->start_s, s->end_s, f->not_before_s, f->not_after_s, f->hash);
}

/* Microseconds from now on; 0: an order is due. */
static uint64_t due_in(const struct acme *acme, const struct site *s)
{
	uint64_t now = clock_us(), due = 0;
	if (s->of_this && s->facts.same_names)
		due = in_us(renewal_of(s));
	uint64_t retry = s->retry_us > acme->not_before_us ? s->retry_us : acme->not_before_us;
	if (retry > now && retry - now > due)
		due = retry - now;
	return due;
}

static struct site *next_due(const struct acme *acme)
{
	struct site *first = NULL;
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		/* those that have failed come behind those that have not */
		if (due_in(acme, s) == 0 && !s->unsaved &&
		    (!first || s->failures < first->failures))
			first = s;
	}
	return first;
}

/* ---- orders ---- */

static void tell(const struct acme *acme, enum acme_event event, const struct site *s,
		 const char *text)
{
	acme->host.news(
	    acme->host.ctx,
	    &(struct acme_news){.event = event, .site = s->names.rows[0], .text = text});
}

static void note_failure(struct acme *acme, struct site *s, const struct order_result *r)
{
	uint64_t asked = r->retry_after_s * 1000000, left = in_us(s->facts.not_after_s);
	s->failures++;
	s->n_failed++;
	str_reset(&s->error);
	str_text(&s->error, r->why);
	uint64_t after = renew_retry_us(s->failures, acme->conf->retry_us,
					s->trusted && left ? left : UINT64_MAX, asked,
					(uint32_t)rng_next(&acme->rng));
	s->retry_us = clock_us() + after;
	if (r->of_authority)
		acme->not_before_us = s->retry_us;
	tell(acme, ACME_FAILED, s, s->error.ptr);
}

static void note_unsaved(struct acme *acme, struct site *s, int error)
{
	s->unsaved = true;
	s->save_us = clock_us() + SAVE_AGAIN_US;
	str_reset(&s->error);
	str_printf(&s->error,
		   "the new certificate is in use, but cannot be written to " VIEW_FMT ": %s",
		   VIEW_ARG(s->path), strerror(error));
	tell(acme, ACME_UNSAVED, s, s->error.ptr);
}

static void note_success(struct acme *acme, struct site *s, const struct order_result *r)
{
	struct str ignored = STR_INIT;
	x509_forget(&s->pem);
	str_view(&s->pem, r->pem);
	s->trusted = s->of_this = x509_facts(r->pem, &s->names, &s->facts, &ignored);
	s->facts.same_names = true; /* what it was ordered for; else it would be again and again */
	s->failures = 0;
	s->retry_us = s->ask_us = 0;
	s->start_s = s->end_s = 0;
	str_reset(&s->error);
	str_fini(&ignored);
	tell(acme, ACME_ISSUED, s, "a new certificate is in use");
	if (r->save_error)
		note_unsaved(acme, s, r->save_error);
}

static void on_order(void *arg, const struct order_result *r)
{
	struct acme *acme = arg;
	struct site *s = acme->ordering;
	acme->ordering = NULL;
	if (r->account_is_there)
		acme->account.unsaved = false;
	bool shown = acme->challenge.name.len > 0;
	acme->challenge = (struct tls_challenge){.name = VIEW_NONE};
	s->n_orders++;
	if (*r->why)
		note_failure(acme, s, r);
	else
		note_success(acme, s, r);
	if (!*r->why || shown)
		acme->host.changed(acme->host.ctx);
}

/* ---- challenges ---- */

static bool on_publish(void *arg)
{
	struct acme *acme = arg;
	acme->challenge = (struct tls_challenge){.name = str_as_view(&acme->order.name),
						 .pem = str_as_view(&acme->order.proof)};
	acme->n_publishing++;
	return acme->host.publish(acme->host.ctx);
}

void acme_published(struct acme *acme)
{
	if (--acme->n_publishing == 0)
		order_published(&acme->order);
}

const struct tls_challenge *acme_challenges(const struct acme *acme, size_t *n)
{
	*n = acme->order.proof.len > 0 && acme->challenge.name.len > 0;
	return &acme->challenge;
}

/* What can be answered here, as far as can be known. */
static unsigned answerable(const struct acme *acme)
{
	unsigned all = acme->conf->challenges;
	if (!acme->plain && all != 1u << CONF_ACME_HTTP)
		all &= ~(1u << CONF_ACME_HTTP);
	if (!tls_answers_challenges())
		all &= ~(1u << CONF_ACME_TLS);
	return all ? all : 1u << CONF_ACME_HTTP;
}

/* After a failure the other one: a port may be closed. */
static enum conf_acme_challenge first_challenge(unsigned all, unsigned failures)
{
	if (all == (1u << CONF_ACME_HTTP | 1u << CONF_ACME_TLS))
		return failures % 2 ? CONF_ACME_TLS : CONF_ACME_HTTP;
	return all & 1u << CONF_ACME_TLS ? CONF_ACME_TLS : CONF_ACME_HTTP;
}

static void begin(struct acme *acme, struct site *s)
{
	struct account *a = &acme->account;
	unsigned challenges = answerable(acme);
	acme->ordering = s;
	acme->task = (struct order_task){
	    .conf = acme->conf,
	    .names = &s->names,
	    .folder = acme->folder,
	    .file = s->file,
	    .account_file = a->file.ptr,
	    .account_pem = a->unsaved ? str_as_view(&a->pem) : VIEW_NONE,
	    .thumbprint = str_as_view(&a->thumbprint),
	    /* not again, should that be what it failed for */
	    .replaces = s->of_this && !s->failures ? view_str(s->facts.id) : VIEW_NONE,
	    .first = first_challenge(challenges, s->failures),
	    .challenges = challenges,
	};
	order_begin(&acme->order, &acme->task);
}

/* ---- what the disk did not take ---- */

static void on_saved(void *arg, const struct disk_result *r)
{
	struct acme *acme = arg;
	struct site *s = acme->saving;
	acme->saving = NULL;
	acme->work = NULL;
	s->save_us = clock_us() + SAVE_AGAIN_US;
	if (r->error)
		return;
	s->unsaved = false;
	str_reset(&s->error);
}

static void save_again(struct acme *acme)
{
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		if (acme->saving || !s->unsaved || s->save_us > clock_us())
			continue;
		acme->saving = s;
		acme->work = disk_write_pair(acme->loop, acme->folder, s->file,
					     str_as_view(&s->pem), on_saved, acme);
		if (!acme->work)
			acme->saving = NULL;
	}
}

/* ---- when an authority wants a renewal ---- */

static void on_window(void *arg, const struct ari_answer *answer)
{
	struct acme *acme = arg;
	struct site *s = acme->asking;
	acme->asking = NULL;
	s->ask_us = clock_us() + answer->again_s * 1000000;
	if (!answer->start_s) /* one that was told before still counts */
		return;
	s->start_s = answer->start_s;
	s->end_s = answer->end_s;
}

static void ask(struct acme *acme)
{
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		bool may = s->of_this && s->facts.id[0] && s != acme->ordering;
		if (acme->asking || !may || s->ask_us > clock_us())
			continue;
		acme->asking = s;
		ari_ask(&acme->ari, acme->conf->directory.text, s->facts.id);
	}
}

void acme_tick(struct acme *acme)
{
	if (!acme->conf || acme->left)
		return;
	save_again(acme);
	ask(acme);
	struct site *s = acme->ordering ? NULL : next_due(acme);
	if (s)
		begin(acme, s);
	if (!acme->ordering && !acme->asking)
		fetcher_forget(&acme->fetcher);
}

/* ---- life ---- */

struct acme *acme_new(struct loop *loop, const struct acme_host *host)
{
	struct acme *acme = calloc(1, sizeof(*acme));
	check(acme != NULL);
	acme->loop = loop;
	fetcher_init(&acme->fetcher, loop);
	acme->host = *host;
	list_init(&acme->sites);
	rng_init(&acme->rng, rng_entropy());
	order_init(&acme->order, loop, &acme->fetcher);
	acme->order.done = on_order;
	acme->order.publish = on_publish;
	ari_init(&acme->ari, &acme->fetcher);
	acme->ari.done = on_window;
	acme->ari.arg = acme;
	acme->order.arg = acme;
	return acme;
}

void acme_leave(struct acme *acme)
{
	acme->left = true;
	order_stop(&acme->order);
	ari_stop(&acme->ari);
	acme->ordering = acme->asking = NULL;
}

void acme_free(struct acme *acme)
{
	if (!acme)
		return;
	list_each_safe (it, tmp, &acme->sites)
		site_free(acme, list_entry(it, struct site, link));
	order_fini(&acme->order);
	ari_fini(&acme->ari);
	account_fini(&acme->account);
	account_fini(&acme->next_account);
	tls_client_put(acme->next_tls);
	fetcher_fini(&acme->fetcher);
	free(acme->folder);
	free(acme);
}

/* ---- for the API ---- */

static struct view joined(const struct conf_views *names, struct arena *arena)
{
	struct str all = STR_INIT;
	for (size_t i = 0; i < names->n; i++)
		str_printf(&all, "%s" VIEW_FMT, i ? " " : "", VIEW_ARG(names->rows[i]));
	struct view v = arena_view(arena, str_as_view(&all));
	str_fini(&all);
	return v;
}

static void fill(const struct acme *acme, const struct site *s, struct arena *arena,
		 struct acme_site *out)
{
	struct str step = STR_INIT;
	bool under_way = acme->ordering == s;
	if (under_way)
		order_words(&acme->order, &step);
	*out = (struct acme_site){
	    .names = joined(&s->names, arena),
	    .file = arena_view(arena, s->path),
	    .step = arena_view(arena, str_as_view(&step)),
	    .order = arena_view(arena, under_way ? str_as_view(&acme->order.url) : VIEW("")),
	    .error = arena_view(arena, str_as_view(&s->error)),
	    .trusted = s->trusted,
	    .saved = s->trusted && !s->unsaved,
	    .next_wall_us = clock_wall_us() + due_in(acme, s),
	    .n_orders = s->n_orders,
	    .n_failed = s->n_failed,
	    .failures = s->failures,
	};
	str_fini(&step);
}

const struct acme_site *acme_status(const struct acme *acme, struct arena *arena, size_t *n)
{
	*n = 0;
	list_each (it, &acme->sites)
		++*n;
	struct acme_site *rows = arena_array(arena, *n, sizeof(*rows)), *row = rows;
	list_each (it, &acme->sites)
		fill(acme, list_entry(it, struct site, link), arena, row++);
	return rows;
}
