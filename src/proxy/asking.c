/* SPDX-License-Identifier: MIT */
/* The head of a request that waits for a filter. */
#include "asking.h"

#include "head_copy.h"
#include "request.h"

#include "weir/base/check.h"

/* ---- the facts ---- */

static void keep_facts(struct asking *asking, const struct exchange_request *req)
{
	asking->req = *req;
	asking->client = *req->peer;
	asking->req.peer = &asking->client;
	/* they were read from the head, and have been written into it */
	asking->req.who.host = VIEW_NONE;
	asking->req.who.forwarded = NULL;
}

/* ---- waiting ---- */

static void on_ready(struct filter_wait *wait)
{
	struct asking *asking = container_of(wait, struct asking, wait);
	struct exchange *ex = asking->ex;
	check_magic(ex, EXCHANGE_MAGIC);
	asking->cancel = NULL;
	list_push_back(&ex->worker->asked, &ex->link);
}

static void cancel_filter(struct asking *asking)
{
	filter_at((enum filter_id)asking->id)->cancel(&asking->wait);
}

enum err asking_hold(struct exchange *ex, const struct exchange_request *req, struct span body)
{
	struct worker *w = ex->worker;
	struct head_copy copy;
	enum err err = head_copy(&w->pool.bufs, &w->req, sizeof(struct asking), &copy);
	if (err)
		return err;
	struct asking *asking = copy.front;
	asking->ex = ex;
	asking->wait.ready = on_ready;
	asking->since_us = w->loop.now_us;
	asking->head = copy.head;
	keep_facts(asking, req);
	asking->buf = copy.buf;
	ex->held = asking;
	list_init(&ex->link);
	return body.len == 0 || request_gather(ex, body) ? ERR_OK : ERR_NOMEM;
}

void asking_wait_for(struct exchange *ex, enum filter_id id)
{
	struct asking *asking = ex->held;
	asking->id = (uint8_t)id;
	if (!asking->aside)
		asking->cancel = cancel_filter;
	exchange_set_state(ex, EXCHANGE_ASKING);
}

void asking_cancel(struct exchange *ex)
{
	struct asking *asking = ex->held;
	void (*cancel)(struct asking *asking) = asking->cancel;
	asking->cancel = NULL;
	if (cancel)
		cancel(asking);
	list_del(&ex->link);
}

struct span asking_restore(struct exchange *ex, const struct asking *asking)
{
	struct worker *w = ex->worker;
	head_restore(&w->req, asking->head);
	ex->upload_us += w->loop.now_us - asking->since_us;
	return (struct span){w->from_client.data,
			     request_gathered(ex, w->from_client.data, AREA_DATA)};
}

void asking_free(struct worker *w, struct asking *asking)
{
	if (!asking)
		return;
	if (asking->release)
		asking->release(asking);
	buf_put(&w->pool.bufs, asking->buf);
}
