/* SPDX-License-Identifier: MIT */
/* Questions of filters to pools: exchanges without a client. */
#include "aside.h"

#include "birth.h"
#include "body.h"
#include "hash_key.h"
#include "head_copy.h"
#include "nobody.h"
#include "request.h"

#include "weir/base/check.h"
#include "weir/http/field.h"

/* The exchange that waits has a little more time than the question: its outcome says why. */
#define GRACE_US 50000

struct aside {
	struct buf *buf; /* that this is in; owns */
	struct worker *worker;
	struct exchange *ex;     /* that asks; NULL: it is over */
	struct asking *asking;   /* NULL: nobody wants to know any more */
	struct head_copy answer; /* buf NULL: none yet; owns */
	struct buf *body;        /* owns */
	bool whole, too_long;
	struct filter_heard heard;
};

static void free_unheld(struct aside *aside)
{
	struct buf_pool *bufs = &aside->worker->pool.bufs;
	if (aside->ex || aside->asking)
		return;
	buf_put(bufs, aside->answer.buf);
	buf_put(bufs, aside->body);
	buf_put(bufs, aside->buf);
}

/* ---- the answer ---- */

static enum io op_data(struct exchange *ex, struct span body, bool end)
{
	struct aside *aside = ex->client;
	size_t len = aside->body ? aside->body->len : 0;
	ex->body_out += body.len;
	aside->too_long = len + body.len > ASIDE_BODY_MAX;
	if (aside->too_long ||
	    (body.len && !buf_append(&aside->worker->pool.bufs, &aside->body, body.ptr, body.len)))
		return IO_ERR;
	aside->whole = end;
	return IO_OK;
}

static enum io op_head(struct exchange *ex, struct message *resp, struct span body, bool end)
{
	struct aside *aside = ex->client;
	if (attempt_is_over(ex->at)) /* what weir says to clients: here its outcome does */
		return IO_OK;
	ex->head_relayed = true;
	if (head_copy(&aside->worker->pool.bufs, resp, 0, &aside->answer))
		return IO_ERR;
	return op_data(ex, body, end);
}

/* It is asked in the name of the client. */
static void op_origin(const struct exchange *ex, struct proxy_header *out)
{
	const struct aside *aside = ex->client;
	const struct exchange *asker = aside->asking->ex;
	asker->client_ops->origin(asker, out);
}

static const struct client_ops aside_ops = {
    .head = op_head,
    .data = op_data,
    CLIENT_NOBODY,
    .origin = op_origin,
};

/* ---- its end ---- */

static void judge(struct aside *aside)
{
	struct filter_heard *heard = &aside->heard;
	const struct outcome_row *row = outcome_row(aside->ex->outcome);
	if (aside->answer.buf && aside->whole) {
		heard->head = aside->answer.head;
		heard->body = aside->body ? buf_view(aside->body) : VIEW_NONE;
		return;
	}
	heard->status = row->status > 502 ? row->status : 502;
	heard->why =
	    aside->too_long ? "the body of its answer is longer than 64 KiB" : row->sentence;
}

static void on_ended(struct exchange *ex)
{
	struct aside *aside = ex->client;
	judge(aside);
	exchange_free(ex);
	aside->ex = NULL;
	if (aside->asking && aside->asking->cancel)
		aside->asking->wait.ready(&aside->asking->wait);
	free_unheld(aside);
}

static void call_off(struct asking *asking)
{
	exchange_end(asking->aside->ex, OUTCOME_client_gone_wait);
}

static void release(struct asking *asking)
{
	struct aside *aside = asking->aside;
	aside->asking = NULL;
	free_unheld(aside);
}

const struct filter_heard *aside_heard(const struct asking *asking)
{
	return &asking->aside->heard;
}

/* ---- the question ---- */

static void add(struct message *msg, struct view name, struct view value)
{
	msg->headers[msg->n_headers++] = (struct header){.name = name, .value = value};
}

static void make_question(struct message *msg, struct view path)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (field_is_of_request(msg->headers[i].name))
			msg->headers[i].drop = true;
	add(msg, VIEW("X-Forwarded-Method"), msg->method_text);
	add(msg, VIEW("X-Forwarded-Uri"), msg->path);
	msg->method = METHOD_GET;
	msg->method_text = VIEW("GET");
	msg->path = path;
	msg->body = BODY_NONE;
	msg->content_length = 0;
	msg->upgrade = msg->expect_continue = false;
}

static struct exchange *new_exchange(struct aside *aside, const struct exchange *asker)
{
	struct worker *w = aside->worker;
	const struct exchange_request req = {
	    .ops = &aside_ops,
	    .client = aside,
	    .ended = on_ended,
	    .listener = asker->listener,
	    .start_us = w->loop.now_us,
	};
	struct exchange *ex = exchange_make(w, &req, asker->gl, asker->timer.fn);
	if (!ex)
		return NULL;
	ex->is_aside = ex->req_complete = true;
	memcpy(ex->request_id, asker->request_id, asker->request_id_len);
	ex->request_id_len = asker->request_id_len;
	return ex;
}

/* As for clients, see exchange.c. */
static void forward(struct exchange *ex, const struct exchange *asker,
		    const struct conf_route *route)
{
	struct worker *w = ex->worker;
	ex->route = route;
	ex->view = &ex->gl->views[route->pool];
	counter_add(&ex->view->sl->counters.requests, 1);
	ex->total_deadline_us = ex->start_us + route->timeouts.total_us;
	if (ex->view->pool->fallback)
		ex->hash_key = hash_key_of(ex, &asker->held->req, &w->req);
	if (request_put(ex, (struct span){w->from_client.data, 0}, true))
		body_seek(ex);
	else
		exchange_end(ex, OUTCOME_head_too_large);
}

bool aside_ask(struct exchange *asker, const struct filter_question *question)
{
	struct worker *w = asker->worker;
	struct asking *asking = asker->held;
	struct head_copy room;
	static const struct message none;
	if (head_copy(&w->pool.bufs, &none, sizeof(struct aside), &room))
		return false;
	struct aside *aside = room.front;
	aside->buf = room.buf;
	aside->worker = w;
	aside->asking = asking;
	make_question(&w->req, question->path);
	aside->ex = new_exchange(aside, asker);
	if (!aside->ex) {
		aside->asking = NULL;
		free_unheld(aside);
		return false;
	}
	asking->aside = aside;
	asking->cancel = call_off;
	asking->release = release;
	asking->wait.until_us = aside->ex->start_us + question->route->timeouts.total_us + GRACE_US;
	forward(aside->ex, asker, question->route);
	return true;
}
