/* SPDX-License-Identifier: MIT */
/* Getting certificates: what is due, what is under way, what came of it. */
#include "own.h"

#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "renew.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

/* ---- what is due ---- */

uint64_t acme_due_in(const struct acme *acme, const struct site *s)
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
		if (acme_due_in(acme, s) == 0 && !s->unsaved &&
		    (!first || s->failures < first->failures))
			first = s;
	}
	return first;
}

/* ---- orders ---- */

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
	acme_tell(acme, ACME_FAILED, s, s->error.ptr);
}

static void note_unsaved(struct acme *acme, struct site *s, int error)
{
	s->unsaved = true;
	s->save_us = clock_us() + acme->conf->retry_us;
	str_reset(&s->error);
	str_printf(&s->error,
		   "the new certificate is in use, but cannot be written to " VIEW_FMT ": %s",
		   VIEW_ARG(s->path), strerror(error));
	acme_tell(acme, ACME_UNSAVED, s, s->error.ptr);
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
	acme_tell(acme, ACME_ISSUED, s, "a new certificate is in use");
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

static void begin(struct acme *acme, struct site *s)
{
	struct account *a = &acme->account;
	unsigned challenges = acme_answerable(acme);
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
	    .first = acme_first_challenge(challenges, s->failures),
	    .challenges = challenges,
	    .others = acme->turn.shared,
	    .good_until_s = s->trusted ? s->facts.not_after_s : 0,
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

/* ---- now and then ---- */

static void look(struct acme *acme)
{
	if (acme->look_us > clock_us())
		return;
	acme->look_us = clock_us() + ACME_LOOK_US;
	acme_find_newer(acme, NULL);
}

void acme_tick(struct acme *acme)
{
	if (!acme->conf || acme->left)
		return;
	save_again(acme);
	ask(acme);
	look(acme);
	struct site *s = acme->ordering ? NULL : next_due(acme);
	acme_take_turn(acme, s || acme->ordering);
	if (s && acme->turn.mine && !acme->work && !acme_find_newer(acme, s))
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
	acme->order.publish = acme_show_proof;
	ari_init(&acme->ari, &acme->fetcher);
	acme->ari.done = on_window;
	acme->ari.arg = acme;
	acme->order.arg = acme;
	return acme;
}

void acme_leave(struct acme *acme)
{
	acme->left = true;
	acme_stop_order(acme);
	ari_stop(&acme->ari);
	acme->asking = NULL;
}

void acme_free(struct acme *acme)
{
	if (!acme)
		return;
	list_each_safe (it, tmp, &acme->sites)
		acme_drop_site(acme, list_entry(it, struct site, link));
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
