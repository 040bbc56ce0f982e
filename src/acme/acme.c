/* SPDX-License-Identifier: MIT */
/* The certificates of a configuration: what there is, what is due, what is under way. */
#include "weir/acme/acme.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "ari.h"
#include "disk.h"
#include "guest.h"
#include "notes.h"
#include "order.h"
#include "renew.h"
#include "site.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/file.h"
#include "weir/base/log.h"
#include "weir/base/rng.h"
#include "weir/fetch/fetch.h"

/* Other nodes that do not show a proof by then are not waited for. */
#define TELL_MAX_US UINT64_C(10000000)
#define DEFAULT_STATE "/var/lib/weir"

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
	struct work *work;      /* that writes `saving`, or notes */
	uint64_t not_before_us; /* monotonic; the authority wants to be left alone */
	struct rng rng;
	bool plain;                         /* some listener answers without TLS */
	bool next_plain;                    /* of the configuration that is prepared */
	unsigned n_publishing;              /* barriers under way */
	bool is_public;                     /* the last one had the news to tell */
	struct tls_challenge challenges[2]; /* what handshakes show, when asked for */
	bool showing;                       /* the proof of the order */
	struct acme_turn turn;              /* as of the last tick */
	struct str telling;                 /* owns; what the others are to show; empty: nothing */
	uint64_t telling_us; /* monotonic; since then every worker shows it; 0: not yet */
	struct guest guest;
	uint64_t look_us; /* monotonic; when to look at the files again */
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

static void stop_order(struct acme *acme)
{
	order_stop(&acme->order);
	acme->ordering = NULL;
	acme->showing = false;
	str_reset(&acme->telling);
}

static void drop_site(struct acme *acme, struct site *s)
{
	if (acme->ordering == s)
		stop_order(acme);
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
	site_free(s);
}

static enum err add_site(struct acme *acme, const struct conf_views *names, struct str *why)
{
	struct site *s = site_of(acme, names);
	if (!s) {
		s = site_new(acme->folder, names);
		list_push_back(&acme->sites, &s->link);
	}
	s->next = true;
	if (s->pem.len || site_load(s, acme->folder, true) || x509_self_signed(&s->names, &s->pem))
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
		enum err err = account_load(&acme->next_account, acme->folder, conf, why);
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
			drop_site(acme, s);
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

/* Who asks for a reload has mended something: then only the authority's own word counts. */
static void try_again(struct acme *acme, struct site *s)
{
	s->retry_us = s->told_us;
	if (s->told_us > acme->not_before_us)
		acme->not_before_us = s->told_us;
}

static void follow_sites(struct acme *acme, bool anew)
{
	bool starts = !acme->conf;
	acme->not_before_us = 0;
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		bool was_there = s->now;
		s->now = s->next;
		s->next = false;
		if (s->now && (anew || !was_there))
			site_begin_anew(s, acme->next);
		else if (s->now)
			try_again(acme, s);
		if (s->now && starts)
			site_remember(s, acme->folder, acme->next->directory.text);
	}
	sweep(acme);
}

void acme_commit(struct acme *acme)
{
	bool anew = !same_authority(acme->conf, acme->next);
	if (anew) {
		stop_order(acme);
		order_forget(&acme->order);
		ari_stop(&acme->ari);
		acme->asking = NULL;
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

/* Microseconds from now on; 0: an order is due. */
static uint64_t due_in(const struct acme *acme, const struct site *s)
{
	uint64_t now = clock_us(), due = 0;
	if (s->of_this && s->facts.same_names)
		due = site_in_us(site_renewal(s));
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

static void on_noted(void *arg, const struct disk_result *r)
{
	struct acme *acme = arg;
	acme->work = NULL;
	(void)r; /* a disk that is full: then a restart begins anew */
}

/* For the next process. */
static void write_down(struct acme *acme, const struct site *s, bool keeps_order)
{
	uint64_t now = clock_us(), after = s->retry_us > now ? s->retry_us - now : 0;
	if (acme->work)
		return;
	acme->work = disk_write_note(acme->loop,
				     &(struct disk_note){
					 .folder = acme->folder,
					 .file = s->file,
					 .directory = acme->conf->directory.text,
					 .keeps_order = keeps_order,
					 .failures = s->failures,
					 .again_s = (clock_wall_us() + after) / 1000000,
				     },
				     on_noted, acme);
}

static void fail(struct acme *acme, struct site *s, const struct order_result *r, const char *why)
{
	uint64_t asked = r->retry_after_s * 1000000, left = site_in_us(s->facts.not_after_s);
	s->failures++;
	str_reset(&s->error);
	str_text(&s->error, why);
	uint64_t after = renew_retry_us(s->failures, acme->conf->retry_us,
					s->trusted && left ? left : UINT64_MAX, asked,
					(uint32_t)rng_next(&acme->rng));
	s->retry_us = clock_us() + after;
	s->told_us = asked ? s->retry_us : 0;
	if (r->of_authority)
		acme->not_before_us = s->retry_us;
	write_down(acme, s, r->goes_on);
	tell(acme, ACME_FAILED, s, s->error.ptr);
}

static void note_unsaved(struct acme *acme, struct site *s, int error)
{
	s->unsaved = true;
	s->save_us = clock_us() + acme->conf->retry_us;
	str_reset(&s->error);
	str_printf(&s->error,
		   "the new certificate is in use, but cannot be written to " VIEW_FMT ": %s",
		   VIEW_ARG(s->path), strerror(error));
	tell(acme, ACME_UNSAVED, s, s->error.ptr);
}

static void note_success(struct acme *acme, struct site *s, const struct order_result *r)
{
	struct str ignored = STR_INIT;
	unsigned failures = s->failures;
	x509_forget(&s->pem);
	str_view(&s->pem, r->pem);
	site_renewed(s);
	s->trusted = s->of_this = x509_facts(r->pem, &s->names, &s->facts, &ignored);
	s->facts.same_names = true; /* what it was ordered for; else it would be again and again */
	str_fini(&ignored);
	tell(acme, ACME_ISSUED, s, "a new certificate is in use");
	/* whatever else says that one is due */
	uint64_t pause = site_in_us(s->facts.not_after_s) / 12;
	s->retry_us = clock_us() + (pause < acme->conf->retry_us ? pause : acme->conf->retry_us);
	if (r->save_error) {
		note_unsaved(acme, s, r->save_error);
	} else if (site_in_us(site_renewal(s)) == 0) {
		s->failures = failures;
		fail(acme, s, r,
		     "the certificate that came is old already: is the clock of this machine "
		     "right?");
	}
}

static void on_order(void *arg, const struct order_result *r)
{
	struct acme *acme = arg;
	struct site *s = acme->ordering;
	acme->ordering = NULL;
	if (r->account_is_there)
		acme->account.unsaved = false;
	bool shown = acme->showing;
	acme->showing = false;
	str_reset(&acme->telling);
	s->n_orders++;
	if (*r->why) {
		s->n_failed++;
		fail(acme, s, r, r->why);
	} else {
		note_success(acme, s, r);
	}
	if (!*r->why || shown)
		acme->host.changed(acme->host.ctx);
}

/* ---- challenges ---- */

static bool show(struct acme *acme)
{
	acme->n_publishing++;
	return acme->is_public = acme->host.publish(acme->host.ctx);
}

static bool on_publish(void *arg)
{
	struct acme *acme = arg;
	struct view name = str_as_view(&acme->order.name);
	acme->telling_us = 0;
	str_reset(&acme->telling);
	if (acme->turn.shared)
		guest_put(name, str_as_view(&acme->order.authorization), &acme->telling);
	acme->turn.everywhere = false; /* that was another proof */
	acme->showing = acme->order.proof.len > 0;
	if (acme->showing)
		return show(acme);
	acme->telling_us = clock_us(); /* what HTTP needs is here */
	return true;
}

/* All who may be asked show it, or those who do not are not waited for any longer. */
static void look_around(struct acme *acme)
{
	bool told = !acme->telling.len || acme->turn.everywhere ||
		    clock_us() - acme->telling_us > TELL_MAX_US;
	if (acme->ordering && acme->telling_us && told)
		order_published(&acme->order);
}

static void show_guest(struct acme *acme)
{
	bool news = guest_take(&acme->guest, acme->turn.proof,
			       str_as_view(&acme->account.thumbprint), acme->turn.trusted);
	if (!news && (acme->is_public || acme->n_publishing))
		return;
	acme->guest.shown = false;
	show(acme);
}

/* Whose turn it is, and what goes with it. */
static void take_turn(struct acme *acme, bool wants)
{
	const struct guest *g = &acme->guest;
	const struct acme_wish wish = {
	    .wants = wants,
	    .proof = acme->telling_us ? str_as_view(&acme->telling) : VIEW_NONE,
	    .shown = g->shown && g->name.len ? str_as_view(&g->text) : VIEW_NONE,
	};
	acme->host.turn(acme->host.ctx, &wish, &acme->turn);
	look_around(acme);
	show_guest(acme);
	acme->turn.proof = VIEW_NONE;
}

void acme_published(struct acme *acme)
{
	if (--acme->n_publishing)
		return;
	acme->guest.shown = acme->is_public;
	if (acme->showing && !acme->telling_us)
		acme->telling_us = clock_us();
	look_around(acme);
}

const struct tls_challenge *acme_challenges(struct acme *acme, size_t *n)
{
	*n = 0;
	if (acme->showing)
		acme->challenges[(*n)++] = (struct tls_challenge){
		    .name = str_as_view(&acme->order.name), .pem = str_as_view(&acme->order.proof)};
	if (guest_challenge(&acme->guest, &acme->challenges[*n]))
		++*n;
	return acme->challenges;
}

struct view acme_guest(const struct acme *acme)
{
	return guest_authorization(&acme->guest);
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
	    .others = acme->turn.shared,
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
	s->save_us = clock_us() + acme->conf->retry_us;
	if (r->error)
		return;
	s->unsaved = false;
	str_reset(&s->error);
}

static void save_again(struct acme *acme)
{
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		if (acme->work || !s->unsaved || s->save_us > clock_us())
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

/* ---- what other nodes wrote ---- */

/* True: there is a newer certificate in the file, and it is used from now on. */
static bool take_newer(struct acme *acme, struct site *s)
{
	struct site there = {.names = s->names, .file = s->file, .path = s->path};
	bool busy = s == acme->ordering || s == acme->saving || s->unsaved;
	if (busy || !site_load(&there, acme->folder, false))
		return false;
	there.of_this = notes_is_from(str_as_view(&there.pem), acme->conf->directory.text);
	bool newer = there.of_this && there.facts.same_names &&
		     (!s->of_this || there.facts.not_after_s > s->facts.not_after_s);
	if (!newer) {
		x509_forget(&there.pem);
		return false;
	}
	x509_forget(&s->pem);
	s->pem = there.pem;
	s->facts = there.facts;
	site_renewed(s);
	tell(acme, ACME_ISSUED, s, "a certificate that another node has got is in use");
	return true;
}

/* True: the files are not those of before. */
static bool find_newer(struct acme *acme, struct site *one)
{
	bool found = !acme->ordering && account_adopt(&acme->account, acme->folder);
	if (found)
		acme->order.ca.key = acme->account.key;
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		if (!one || s == one)
			found |= take_newer(acme, s);
	}
	if (found)
		acme->host.changed(acme->host.ctx);
	return found;
}

static void look(struct acme *acme)
{
	if (acme->look_us > clock_us())
		return;
	acme->look_us = clock_us() + ACME_LOOK_US;
	find_newer(acme, NULL);
}

void acme_tick(struct acme *acme)
{
	if (!acme->conf || acme->left)
		return;
	save_again(acme);
	ask(acme);
	look(acme);
	struct site *s = acme->ordering ? NULL : next_due(acme);
	take_turn(acme, s || acme->ordering);
	if (s && acme->turn.mine && !acme->work && !find_newer(acme, s))
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
	acme->is_public = true;
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
	stop_order(acme);
	ari_stop(&acme->ari);
	acme->asking = NULL;
}

void acme_free(struct acme *acme)
{
	if (!acme)
		return;
	list_each_safe (it, tmp, &acme->sites)
		drop_site(acme, list_entry(it, struct site, link));
	work_cancel(acme->work);
	order_fini(&acme->order);
	ari_fini(&acme->ari);
	account_fini(&acme->account);
	account_fini(&acme->next_account);
	guest_fini(&acme->guest);
	str_fini(&acme->telling);
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
	else if (acme->conf && !acme->turn.mine && due_in(acme, s) == 0)
		str_text(&step, "waiting for its turn among the nodes that share");
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
