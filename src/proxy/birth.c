/* SPDX-License-Identifier: MIT */
/* Exchanges as they begin. */
#include "birth.h"

#include <stddef.h>
#include <string.h>

struct exchange *exchange_make(struct worker *w, const struct exchange_request *req,
			       struct gen_local *gl, void (*on_timeout)(struct timer *timer))
{
	struct exchange *ex = slab_get(&w->exchanges);
	if (!ex)
		return NULL;
	memset(&ex->first.ex, 0,
	       offsetof(struct exchange, request_id) - offsetof(struct exchange, first.ex));
	ex->magic = EXCHANGE_MAGIC;
	ex->timer.fn = on_timeout;
	ex->at = &ex->first;
	attempt_init(ex->at, ex, &exchange_attempt_events);
	ex->worker = w;
	ex->client_ops = req->ops;
	ex->client = req->client;
	ex->ended = req->ended;
	ex->listener = req->listener;
	ex->gl = gen_get(gl);
	ex->start_us = req->start_us;
	ex->bytes_in = req->bytes_in;
	ex->method = w->req.method;
	ex->never = w->req.never;
	if (unlikely(w->req.ids &
		     (HDR_BIT(RANGE) | HDR_BIT(IF_NONE_MATCH) | HDR_BIT(IF_MODIFIED_SINCE))))
		ex->asks_less = true;
	ex->tried.wary = !method_is_idempotent(ex->method);
	ex->client_minor = w->req.version_minor;
	ex->wants_upgrade = w->req.upgrade && w->req.body == BODY_NONE;
	ex->tried.stream = ex->wants_upgrade;
	exchange_show(w);
	return ex;
}
