/* SPDX-License-Identifier: MIT */
/* The last part of an order: the authority signs, and what it gives is looked at and kept. */
#include "order_step.h"

#include <errno.h>

#include "disk.h"
#include "notes.h"
#include "payload.h"
#include "x509.h"

#include "weir/base/clock.h"

/* Certificates in a chain: more than authorities give, and no more than all clients take. */
#define CHAIN_MAX 10
/* By so much the clock of this machine may be behind. */
#define YOUNG_MAX_S 86400

void order_finalize(struct order *o)
{
	struct str csr = STR_INIT, payload = STR_INIT;
	bool ok = x509_request(str_as_view(&o->key_pem), o->task->names, &csr);
	payload_finalize(str_as_view(&csr), &payload);
	order_set_step(o, ORDER_FINALIZING);
	if (ok)
		ca_post(&o->ca, str_as_view(&o->finalize), str_as_view(&payload));
	else
		order_fail(o, NULL, "the request for the certificate cannot be made");
	str_fini(&csr);
	str_fini(&payload);
}

void order_on_issuing(struct order *o, const struct ca_answer *a)
{
	if (o->step != ORDER_ISSUING)
		order_set_step(o, ORDER_ISSUING);
	if (order_is(a->root, "valid") &&
	    order_take_url(&o->challenge, ca_text(a->root, "certificate"))) {
		order_set_step(o, ORDER_DOWNLOAD);
		order_read(o, &o->challenge);
	} else if (order_is(a->root, "processing") || order_is(a->root, "ready")) {
		order_again(o, a, "the authority does not sign");
	} else {
		struct str why = STR_INIT;
		ca_problem(json_object_get(a->root, "error"), &why);
		order_fail(o, NULL, "the order is %.40s: " VIEW_FMT, ca_text(a->root, "status"),
			   VIEW_ARG(str_as_view(&why)));
		str_fini(&why);
	}
}

static void on_saved(void *arg, const struct disk_result *r)
{
	struct order *o = arg;
	o->work = NULL;
	order_finish(o, &(struct order_result){.why = "", .save_error = r->error});
}

/* Why what came is of less use than what there is; empty: it is not. */
static void judge(const struct order_task *task, const struct x509_facts *facts, struct str *why)
{
	int64_t now = (int64_t)(clock_wall_us() / 1000000);
	bool good = task->good_until_s > now;
	if (facts->missing.len)
		str_printf(why, "it is not for " VIEW_FMT, VIEW_ARG(facts->missing));
	else if (facts->n_certs > CHAIN_MAX)
		str_printf(why, "it comes as %u certificates, which is more than %d",
			   facts->n_certs, CHAIN_MAX);
	else if (good && facts->not_after_s <= now)
		str_text(why, "it has expired, or the clock of this machine is wrong");
	else if (good && facts->not_before_s > now + YOUNG_MAX_S)
		str_text(why, "it is not valid yet, or the clock of this machine is wrong");
}

void order_on_download(struct order *o, const struct ca_answer *a)
{
	struct x509_facts facts;
	struct str why = STR_INIT;
	x509_forget(&o->pem);
	notes_put_origin(o->task->conf->directory.text, &o->pem);
	str_view(&o->pem, str_as_view(&o->key_pem));
	str_view(&o->pem, a->body);
	if (x509_facts(str_as_view(&o->pem), o->task->names, &facts, &why))
		judge(o->task, &facts, &why);
	if (why.len) {
		x509_forget(&o->pem);
		order_fail(o, a, "what the authority gave cannot be used: " VIEW_FMT,
			   VIEW_ARG(str_as_view(&why)));
	} else {
		order_set_step(o, ORDER_SAVING);
		o->work = disk_write_pair(o->loop, o->task->folder, o->task->file,
					  str_as_view(&o->pem), on_saved, o);
		if (!o->work)
			order_finish(o, &(struct order_result){.why = "", .save_error = EAGAIN});
	}
	str_fini(&why);
}
