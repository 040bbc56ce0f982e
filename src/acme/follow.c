/* SPDX-License-Identifier: MIT */
/* Which certificates there are: what a configuration names, and what of it is kept. */

#include "own.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/file.h"
#include "weir/base/log.h"

#define DEFAULT_STATE "/var/lib/weir"

/* ---- the folder ---- */

void acme_folder(const struct conf *conf, struct str *out)
{
	struct view state = conf->state.on ? conf->state.directory : conf_managers_directory();
	if (!state.len)
		state = VIEW(DEFAULT_STATE);
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

void acme_stop_order(struct acme *acme)
{
	order_stop(&acme->order);
	acme->ordering = NULL;
	acme->showing = false;
	str_reset(&acme->telling);
}

void acme_drop_site(struct acme *acme, struct site *s)
{
	if (acme->ordering == s)
		acme_stop_order(acme);
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
			acme_drop_site(acme, s);
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
		acme_stop_order(acme);
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
