/* SPDX-License-Identifier: MIT */
/* The body of a request: to a backend as it comes, or gathered before there is one. */
#include "body.h"

#include "chunk.h"
#include "dawdle.h"
#include "place.h"
#include "request.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

void body_seek(struct exchange *ex)
{
	if (likely(place_seek(ex)))
		return;
	counter_add(&ex->view->sl->counters.no_backend, 1);
	exchange_end(ex, ex->pin ? OUTCOME_pin_lost : OUTCOME_no_backend);
}

/* ---- as it comes ---- */

/* Nobody takes the body yet: it is kept. */
static bool has_no_taker(const struct exchange *ex)
{
	return ex->state == EXCHANGE_QUEUED || ex->state == EXCHANGE_BACKOFF ||
	       (ex->state == EXCHANGE_RUNNING && ex->at->state <= ATTEMPT_CONNECTING);
}

static enum io keep_body(struct exchange *ex, struct span body)
{
	if (!request_append(ex, body))
		return IO_ERR;
	return request_room(ex) ? IO_OK : IO_WAIT;
}

/* IO_ERR: no room, see taken. */
static enum io send_body(struct exchange *ex, const struct request_part *part)
{
	struct attempt *at = ex->at;
	if ((part->wire.len == 0 && !part->end) || at->upload_dead)
		return IO_OK;
	if (ex->replayable)
		request_keep_for_replay(ex, part->wire);
	enum io io = at->ops->body(at, part);
	if (io == IO_ERR && attempt_lacks_room())
		return IO_ERR;
	if (io == IO_ERR) {
		/* it may have answered before it stopped reading; and a body that did
		 * not get there whole must not be followed by another request */
		at->upload_dead = true;
		return IO_OK;
	}
	if (io == IO_WAIT)
		ex->unsent_mark = SIZE_MAX;
	return io;
}

/* IO_ERR: there was no memory to keep it, see taken. */
static enum io take_body(struct exchange *ex, const struct request_part *part)
{
	ex->req_complete = part->end;
	if (has_no_taker(ex))
		return keep_body(ex, part->wire);
	if (ex->state != EXCHANGE_RUNNING)
		return IO_OK;
	enum io io = send_body(ex, part);
	if (ex->at->state == ATTEMPT_SENDING && part->end && io == IO_OK)
		attempt_sent(ex->at);
	else
		exchange_progress(ex);
	return io;
}

static enum io taken(struct exchange *ex, enum io io)
{
	if (unlikely(io == IO_ERR))
		exchange_end(ex, OUTCOME_no_memory);
	return io;
}

/* "0 CRLF fields CRLF" */
static struct request_part trailers_part(struct span wire)
{
	return (struct request_part){
	    .data = {wire.ptr, 0}, .wire = wire, .has_trailers = true, .end = true};
}

/* ---- gathered ---- */

bool body_gathers(struct exchange *ex)
{
	struct message *msg = &ex->worker->req;
	struct header *expect;
	if (ex->wants_upgrade || msg->body == BODY_NONE)
		return false;
	if (msg->expect_continue && (expect = message_find(msg, HDR_EXPECT)) != NULL)
		expect->drop = true;
	return true;
}

static bool tell_to_go_on(struct exchange *ex)
{
	struct worker *w = ex->worker;
	if (!w->req.expect_continue)
		return true;
	scratch_take(w, SCRATCH_RESP);
	w->resp.status = 100;
	w->resp.reason = VIEW("Continue");
	w->resp.n_headers = 0;
	enum io io = ex->client_ops->interim(ex, &w->resp);
	scratch_drop(w, SCRATCH_RESP);
	return io != IO_ERR;
}

/* An answer that is whole needs no more of it. */
static bool is_wanted(const struct exchange *ex)
{
	return ex->state <= EXCHANGE_RUNNING && !ex->gathered_end;
}

static size_t gather_room(const struct exchange *ex)
{
	size_t most = ex->route->request_buffer, len = ex->gathered.len;
	size_t room = len < most && !ex->gathered_end ? most - len : 0;
	return room < AREA_DATA ? room : AREA_DATA;
}

/* One piece; false: nothing is left, or the attempt takes no more now. */
static bool pour_piece(struct exchange *ex)
{
	char *area = ex->worker->from_backend.data;
	struct request_part part = {.data = {area, request_gathered(ex, area, AREA_DATA)}};
	bool all = ex->gathered.len == 0;
	part.wire = part.data;
	if (all && ex->gathered_tail && part.data.len == 0) {
		struct buf *tail = ex->gathered_tail;
		part = trailers_part((struct span){tail->data + tail->start, tail->len});
	} else {
		part.end = all && ex->gathered_end && !ex->gathered_tail;
		if (ex->req_chunked)
			part.wire = chunk_frame(part.data, part.end);
	}
	return taken(ex, take_body(ex, &part)) == IO_OK && !part.end &&
	       (ex->gathered.len || ex->gathered_tail);
}

void body_goes_on(struct exchange *ex)
{
	if (likely(!ex->gathers)) {
		ex->client_ops->resume(ex);
		return;
	}
	while (!has_no_taker(ex) && ex->state == EXCHANGE_RUNNING && !ex->req_complete &&
	       (ex->gathered.len || ex->gathered_end) && pour_piece(ex))
		;
	if (ex->state != EXCHANGE_RUNNING || ex->gathered.len || ex->gathered_end)
		return;
	ex->gathers = false;
	ex->client_ops->resume(ex);
}

/* It is whole, or as much as is gathered: a backend is due. */
static void gathered(struct exchange *ex)
{
	dawdle_note(ex, false);
	ex->gathered_us = ex->dawdle_us;
	ex->upload_us += ex->gathered_us;
	counter_add(&ex->worker->counters.requests_gathered, 1);
	body_seek(ex);
}

static enum io gather_more(struct exchange *ex)
{
	struct worker *w = ex->worker;
	bool is_short = w->gathered.used > w->gathered.limit;
	if (ex->state == EXCHANGE_GATHERING) {
		dawdle_note(ex, true);
		if (ex->gathered_end || is_short || gather_room(ex) == 0) {
			counter_add(&w->counters.requests_gather_short,
				    is_short && !ex->gathered_end);
			gathered(ex);
		} else {
			exchange_progress(ex);
		}
	}
	if (exchange_is_over(ex))
		return IO_ERR;
	return !ex->gathers || gather_room(ex) ? IO_OK : IO_WAIT;
}

static enum io gather(struct exchange *ex, struct span body, bool complete)
{
	if (!is_wanted(ex))
		return IO_OK;
	if (!request_gather(ex, body)) {
		exchange_end(ex, OUTCOME_no_memory);
		return IO_ERR;
	}
	ex->gathered_end = complete;
	return gather_more(ex);
}

void body_gather(struct exchange *ex, struct span first)
{
	ex->gathers = true;
	dawdle_note(ex, true);
	exchange_set_state(ex, EXCHANGE_GATHERING);
	if (!tell_to_go_on(ex))
		exchange_end(ex, exchange_outcome_gone(ex));
	else if (first.len)
		gather(ex, first, false);
}

static bool keep_trailers(struct exchange *ex, struct view wire)
{
	return exchange_is_over(ex) || ex->gathered_end ||
	       buf_append(&ex->worker->pool.bufs, &ex->gathered_tail, wire.ptr, wire.len);
}

static enum io trailers_gathered(struct exchange *ex, bool kept)
{
	if (!is_wanted(ex))
		return IO_OK;
	if (!kept) {
		exchange_end(ex, OUTCOME_no_memory);
		return IO_ERR;
	}
	ex->gathered_end = true;
	return gather_more(ex);
}

/* ---- while a filter is waited for ---- */

/* Read on as far as that, and it shows when the client leaves. */
#define HELD_MAX 16384

/* None behind a trailer section: what follows it is not of this request. */
static size_t room_to_hold(const struct exchange *ex)
{
	return ex->gathered.len < HELD_MAX && !ex->gathered_tail ? HELD_MAX - ex->gathered.len : 0;
}

static enum io hold(struct exchange *ex, struct span body, bool complete)
{
	if (body.len && !request_gather(ex, body)) {
		exchange_end(ex, OUTCOME_no_memory);
		return IO_ERR;
	}
	ex->req_complete = complete;
	return complete || room_to_hold(ex) ? IO_OK : IO_WAIT;
}

/* As lines: they are looked at again when it goes on. */
static enum io hold_trailers(struct exchange *ex, const struct message *trailers)
{
	struct worker *w = ex->worker;
	scratch_take(w, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM);
	h1_put_headers(&out, trailers);
	bool kept = !out.len || buf_append(&w->pool.bufs, &ex->gathered_tail, out.ptr, out.len);
	scratch_drop(w, SCRATCH_HEAD);
	ex->req_complete = !out.len;
	if (kept)
		return IO_WAIT;
	exchange_end(ex, OUTCOME_no_memory);
	return IO_ERR;
}

/* ---- what the client's side says ---- */

size_t exchange_body_room(const struct exchange *ex)
{
	if (unlikely(ex->state == EXCHANGE_ASKING))
		return room_to_hold(ex);
	if (unlikely(ex->gathers) && ex->state <= EXCHANGE_RUNNING)
		return gather_room(ex);
	return has_no_taker(ex) ? request_room(ex) : AREA_DATA;
}

enum io exchange_body(struct exchange *ex, struct span body, bool complete)
{
	check_magic(ex, EXCHANGE_MAGIC);
	if (unlikely(ex->state == EXCHANGE_ASKING))
		return hold(ex, body, complete);
	if (unlikely(ex->follower != NULL))
		ex->follower->asked(ex->follower, body, complete);
	if (unlikely(ex->gathers))
		return gather(ex, body, complete);
	struct request_part part = {.data = body, .wire = body, .end = complete};
	if (ex->req_chunked)
		part.wire = chunk_frame(body, complete);
	return taken(ex, take_body(ex, &part));
}

enum io exchange_body_trailers(struct exchange *ex, struct message *trailers)
{
	struct worker *w = ex->worker;
	enum reject why = strict_fields(ex->listener->underscores, trailers);
	if (unlikely(why != REJECT_NONE)) {
		counter_add(&w->counters.rejects[why], 1);
		exchange_refuse(ex, OUTCOME_bad_body, reject_sentence(why));
		return IO_ERR;
	}
	if (unlikely(ex->state == EXCHANGE_ASKING))
		return hold_trailers(ex, trailers);
	if (unlikely(ex->follower != NULL))
		ex->follower->asked(ex->follower, (struct span){NULL, 0}, true);
	counter_add(&w->counters.underscore_headers_dropped, trailers->n_underscore);
	ex->never |= trailers->never;
	policy_request_trailers(ex, trailers);
	scratch_take(w, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM);
	h1_put(&out, VIEW("0\r\n"));
	h1_put_headers(&out, trailers);
	h1_put(&out, VIEW("\r\n"));
	check(!out.overflow);
	if (unlikely(ex->gathers)) {
		bool kept = keep_trailers(ex, view_of(out.ptr, out.len));
		scratch_drop(w, SCRATCH_HEAD);
		return trailers_gathered(ex, kept);
	}
	struct request_part part = trailers_part((struct span){out.ptr, out.len});
	enum io io = take_body(ex, &part);
	scratch_drop(w, SCRATCH_HEAD);
	return taken(ex, io);
}
