/* SPDX-License-Identifier: MIT */
/* The names of an order, one after the other: each is to be found ours. */
#include "order_step.h"

#include <string.h>

#include "disk.h"
#include "x509.h"

#include "weir/base/clock.h"

/* Workers that are busy for so long are stuck. */
#define PUBLISH_MAX_US UINT64_C(30000000)

const char *order_name_url(const struct order *o)
{
	const char *url = json_string_value(json_array_get(o->authorizations, o->at));
	return url ? url : "";
}

void order_read_name(struct order *o, enum order_step step)
{
	order_set_step(o, step);
	ca_post(&o->ca, view_str(order_name_url(o)), VIEW_NONE);
}

void order_next_name(struct order *o)
{
	if (o->at < json_array_size(o->authorizations))
		order_read_name(o, ORDER_AUTHORIZATION);
	else
		order_finalize(o);
}

bool order_read_names(struct order *o, const struct ca_answer *a)
{
	o->at = 0;
	json_decref(o->authorizations);
	o->authorizations = json_incref(json_object_get(a->root, "authorizations"));
	size_t n = json_array_size(o->authorizations);
	return n > 0 && n <= o->task->names->n &&
	       order_take_url(&o->finalize, ca_text(a->root, "finalize"));
}

/* Without it a new one is placed after a restart, so that it is not there is no fault. */
static void on_noted(void *arg, const struct disk_result *r)
{
	struct order *o = arg;
	o->work = NULL;
	order_next_name(o);
	(void)r;
}

void order_on_placed(struct order *o, const struct ca_answer *a)
{
	order_take(&o->url, a->location);
	if (!view_istarts(a->location, VIEW("https://")) || !order_read_names(o, a)) {
		order_fail(o, a, "the authority's answer is no order");
		return;
	}
	order_set_step(o, ORDER_NOTING);
	o->work = disk_write_note(o->loop,
				  &(struct disk_note){.folder = o->task->folder,
						      .file = o->task->file,
						      .directory = o->task->conf->directory.text,
						      .keeps_failures = true,
						      .order = str_as_view(&o->url)},
				  on_noted, o);
	if (!o->work)
		order_next_name(o);
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
	const json_t *challenge = challenge_of(authorization, order_types[o->type]);
	for (unsigned t = 0; !challenge && t < CONF_ACME_CHALLENGES; t++) {
		o->type = (enum conf_acme_challenge)t;
		if (o->task->challenges & 1u << t)
			challenge = challenge_of(authorization, order_types[t]);
	}
	return challenge;
}

static void announce(struct order *o)
{
	order_set_step(o, ORDER_CHALLENGE);
	ca_post(&o->ca, str_as_view(&o->challenge), VIEW("{}"));
}

/* What follows from the token is shown in a handshake, or by other nodes. */
static void publish(struct order *o, const char *token)
{
	struct view name = str_as_view(&o->name);
	str_reset(&o->authorization);
	str_printf(&o->authorization, "%s." VIEW_FMT, token, VIEW_ARG(o->task->thumbprint));
	x509_forget(&o->proof);
	order_set_step(o, ORDER_PUBLISHING);
	timer_set(&o->loop->timers, &o->timer, clock_us() + PUBLISH_MAX_US);
	bool ok = o->type != CONF_ACME_TLS ||
		  x509_challenge(name, str_as_view(&o->authorization), &o->proof);
	if (!ok || !o->publish(o->arg))
		order_fail(o, NULL, "%s for " VIEW_FMT ": the proof cannot be shown",
			   order_types[o->type], VIEW_ARG(name));
}

void order_published(struct order *o)
{
	if (o->step != ORDER_PUBLISHING)
		return;
	timer_clear(&o->timer);
	announce(o);
}

void order_on_name(struct order *o, const struct ca_answer *a)
{
	const json_t *challenge = choose_challenge(o, a->root);
	order_take(&o->name, view_str(ca_text(json_object_get(a->root, "identifier"), "value")));
	if (order_is(a->root, "valid")) {
		o->at++;
		order_next_name(o);
	} else if (!order_is(a->root, "pending")) {
		order_fail(o, NULL, VIEW_FMT ": its authorization is %.40s",
			   VIEW_ARG(str_as_view(&o->name)), ca_text(a->root, "status"));
	} else if (!challenge || !order_take_url(&o->challenge, ca_text(challenge, "url"))) {
		order_fail(o, NULL,
			   VIEW_FMT ": the authority offers no challenge that can be answered",
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
	const json_t *challenge = challenge_of(a->root, order_types[o->type]);
	ca_problem(json_object_get(challenge, "error"), &why);
	order_fail(o, NULL, "%s for " VIEW_FMT ": " VIEW_FMT, order_types[o->type],
		   VIEW_ARG(str_as_view(&o->name)), VIEW_ARG(str_as_view(&why)));
	str_fini(&why);
}

void order_on_validation(struct order *o, const struct ca_answer *a)
{
	if (order_is(a->root, "valid")) {
		o->at++;
		order_next_name(o);
	} else if (order_is(a->root, "pending") || order_is(a->root, "processing")) {
		order_again(o, a, "the authority does not come to look");
	} else {
		fail_validation(o, a);
	}
}
