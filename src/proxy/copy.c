/* SPDX-License-Identifier: MIT */
/* Copies of requests to another pool. */
#include "copy.h"

#include <string.h>

#include "birth.h"
#include "chunk.h"
#include "hash_key.h"
#include "head_copy.h"
#include "nobody.h"
#include "pin.h"
#include "place.h"
#include "request.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/hash.h"

/* A worker that has been at it for so long in one turn has enough to do. */
#define BUSY_US 20000
/* So much more than the client got is read of an answer: its connection can be kept then. */
#define LONGER_BYTES (16 * 1024)

enum copy_state { COPY_GATHERING, COPY_DUE, COPY_DROPPED, COPY_SENT };

struct copy {
	struct timer timer;
	struct follower follower;
	struct list link; /* worker->copies */
	struct buf *buf;  /* that this is in; owns */
	struct worker *worker;
	struct mirror *mirror;
	const struct conf_mirror *conf;
	struct exchange *original; /* NULL: it has ended, or is left alone */
	struct exchange *ex;       /* NULL: it has ended */
	enum copy_state state;
	size_t body_len;
	bool cut, late;
	uint64_t original_len; /* of its answer's body; UINT64_MAX: it goes on */
	uint64_t began_us;
	bool heard[MIRROR_SIDES];
	struct mirror_side side[MIRROR_SIDES];
	struct hash_stream hash[MIRROR_SIDES];
	uint8_t request_id_len, target_len;
	char request_id[MIRROR_TEXT_MAX], target[MIRROR_TEXT_MAX];
};

static struct mirror_counters *counters_of(const struct copy *copy)
{
	return mirror_counters(copy->mirror, copy->worker->pool.id);
}

/* ---- the end of both ---- */

static void leave_original(struct copy *copy)
{
	if (copy->original)
		copy->original->follower = NULL;
	copy->original = NULL;
}

static void compare(struct copy *copy)
{
	const struct mirror_pair pair = {
	    .conf = copy->conf,
	    .side = copy->side,
	    .request_id = view_of(copy->request_id, copy->request_id_len),
	    .target = view_of(copy->target, copy->target_len),
	    .began_us = copy->began_us,
	    .now_us = copy->worker->loop.now_us,
	};
	for (size_t i = 0; i < MIRROR_SIDES; i++)
		copy->side[i].hash = hash_stream_end(&copy->hash[i]);
	mirror_note(copy->mirror, copy->worker->pool.id, &pair);
}

/* While an exchange of its generation is still there: the mirror lives as long. */
static void settle(struct copy *copy)
{
	if (copy->original || copy->ex)
		return;
	if (copy->conf->compare && copy->heard[MIRROR_ORIGINAL] && copy->heard[MIRROR_COPY])
		compare(copy);
	mirror_drop(copy->mirror);
	timer_del(&copy->timer);
	list_del(&copy->link);
	buf_put(&copy->worker->pool.bufs, copy->buf);
}

/* It ends at the end of the turn. */
static void give_up(struct copy *copy, enum outcome outcome)
{
	leave_original(copy);
	if (copy->state == COPY_DUE)
		list_del(&copy->ex->link);
	if (copy->state != COPY_SENT)
		copy->state = COPY_DROPPED;
	if (copy->ex)
		exchange_end(copy->ex, outcome);
	else
		settle(copy);
}

static void drop(struct copy *copy, struct counter *why)
{
	if (copy->state == COPY_DROPPED)
		return;
	counter_add(why, 1);
	give_up(copy, OUTCOME_client_gone_wait);
}

static void on_timeout(struct timer *timer)
{
	struct copy *copy = container_of(timer, struct copy, timer);
	if (copy->state != COPY_SENT) {
		drop(copy, &counters_of(copy)->dropped_gone);
		return;
	}
	copy->late = true;
	give_up(copy, OUTCOME_total_timeout);
}

/* ---- the original ---- */

static struct copy *copy_of(struct follower *f)
{
	return container_of(f, struct copy, follower);
}

/* What the backend made of it. */
static void note_side(struct copy *copy, unsigned which, const struct exchange *ex)
{
	struct mirror_side *side = &copy->side[which];
	side->status = ex->status;
	side->others = ex->at->lease.others;
	if (ex->at->first_byte_us > ex->at->sent_us && ex->at->sent_us)
		side->wait_us = ex->at->first_byte_us - ex->at->sent_us;
	copy->heard[which] = ex->outcome == OUTCOME_ok;
}

static void hear(struct copy *copy, unsigned which, struct span body)
{
	copy->side[which].len += body.len;
	if (copy->conf->compare & CONF_COMPARE_BODY)
		hash_stream_add(&copy->hash[which], body.ptr, body.len);
}

static void on_original_answered(struct follower *f, struct span body)
{
	hear(copy_of(f), MIRROR_ORIGINAL, body);
}

/* Nobody wants more of it. */
static bool is_too_long(const struct copy *copy)
{
	const uint64_t len = copy->ex->body_out, original = copy->original_len;
	return len > copy->conf->answer_bytes || (len > original && len - original > LONGER_BYTES);
}

static void on_original_ended(struct follower *f)
{
	struct copy *copy = copy_of(f);
	if (copy->state != COPY_SENT) {
		drop(copy, &counters_of(copy)->dropped_gone);
		return;
	}
	/* what was heard is from before a filter, and not every answer is */
	const uint64_t heard = copy->side[MIRROR_ORIGINAL].len, given = copy->original->body_out;
	copy->original_len = heard > given ? heard : given;
	note_side(copy, MIRROR_ORIGINAL, copy->original);
	leave_original(copy);
	copy->cut = copy->ex && is_too_long(copy);
	if (copy->cut)
		exchange_end(copy->ex, OUTCOME_client_gone_transfer);
	else
		settle(copy);
}

/* Framing is put around a piece where there is room, and the original has not yet been sent. */
static bool append(struct copy *copy, struct span body, bool complete)
{
	struct exchange *ex = copy->ex;
	struct span piece = {copy->worker->from_backend.data, body.len};
	if (body.len)
		memcpy(piece.ptr, body.ptr, body.len);
	if (ex->req_chunked)
		piece = chunk_frame(piece, complete);
	return piece.len == 0 || request_append(ex, piece);
}

static void on_asked(struct follower *f, struct span body, bool complete)
{
	struct copy *copy = copy_of(f);
	if (copy->state != COPY_GATHERING)
		return;
	copy->body_len += body.len;
	if (copy->body_len > copy->conf->body_bytes || !append(copy, body, complete)) {
		drop(copy, &counters_of(copy)->dropped_long);
		return;
	}
	if (!complete)
		return;
	copy->state = COPY_DUE;
	copy->ex->req_complete = true;
	list_push_back(&copy->worker->asked, &copy->ex->link);
}

/* ---- the copy's answer ---- */

static enum io op_data(struct exchange *ex, struct span body, bool end)
{
	struct copy *copy = ex->client;
	(void)end;
	ex->body_out += body.len;
	hear(copy, MIRROR_COPY, body);
	copy->cut = is_too_long(copy);
	return copy->cut ? IO_ERR : IO_OK;
}

static enum io op_head(struct exchange *ex, struct message *resp, struct span body, bool end)
{
	(void)resp;
	if (attempt_is_over(ex->at)) /* what weir says to clients: here its outcome does */
		return IO_OK;
	ex->head_relayed = true;
	return op_data(ex, body, end);
}

/* It comes in the name of the client, as long as that is there. */
static void op_origin(const struct exchange *ex, struct proxy_header *out)
{
	const struct exchange *original = ((const struct copy *)ex->client)->original;
	*out = (struct proxy_header){.local = true};
	if (original)
		original->client_ops->origin(original, out);
}

static const struct client_ops copy_ops = {
    .head = op_head,
    .data = op_data,
    CLIENT_NOBODY,
    .origin = op_origin,
};

static struct counter *result_of(const struct copy *copy, enum outcome outcome)
{
	struct mirror_counters *c = counters_of(copy);
	if (outcome == OUTCOME_ok)
		return &c->answered;
	if (outcome == OUTCOME_connect_limit)
		return &c->dropped_full;
	return copy->late ? &c->late : copy->cut ? &c->cut : &c->failed;
}

static void on_ended(struct exchange *ex)
{
	struct copy *copy = ex->client;
	if (copy->state == COPY_SENT) {
		note_side(copy, MIRROR_COPY, ex);
		/* longer than the client's: how it differs is known */
		copy->heard[MIRROR_COPY] |= copy->cut && ex->body_out > copy->original_len;
		counter_add(result_of(copy, ex->outcome), 1);
	}
	copy->ex = NULL;
	if (!copy->heard[MIRROR_COPY] || !copy->conf->compare)
		leave_original(copy);
	settle(copy);
	exchange_free(ex);
}

/* ---- it goes out ---- */

/* At once, and never as the one that tries a backend. */
static enum pool_verdict take(struct exchange *ex)
{
	struct pool_view *view = ex->view;
	struct lease *lease = &ex->at->lease;
	if (atomic_load_explicit(&view->pool->state->n_queued, memory_order_relaxed))
		return POOL_FULL;
	enum pool_verdict verdict =
	    pool_take_slot(view, &ex->worker->pool, &ex->tried, ex->hash_key, lease);
	if (verdict != POOL_TAKEN)
		return verdict;
	if (lease->on_trial) {
		lease_drop(lease, false, 0);
		return POOL_FULL;
	}
	lease->bound = true;  /* its answers are not compared with those to clients */
	lease->proved = true; /* nor do they speak for the backend's health */
	return POOL_TAKEN;
}

static bool is_behind(const struct worker *w)
{
	return w->draining || clock_us() - w->loop.turn_began_us > BUSY_US;
}

void copy_send(struct exchange *ex)
{
	struct copy *copy = ex->client;
	struct mirror_counters *c = counters_of(copy);
	if (copy->original->state != EXCHANGE_RUNNING || is_behind(copy->worker)) {
		drop(copy, &c->dropped_busy);
		return;
	}
	enum pool_verdict verdict = take(ex);
	if (verdict != POOL_TAKEN) {
		drop(copy, verdict == POOL_EMPTY ? &c->dropped_down : &c->dropped_full);
		return;
	}
	list_del(&ex->link);
	copy->state = COPY_SENT;
	counter_add(&ex->view->sl->counters.requests, 1);
	place_start(ex);
}

/* ---- it begins ---- */

/* Cookies that name backends are for weir alone. */
static void take_out_pins(struct exchange *ex, struct message *msg)
{
	const struct conf_pool *pools = ex->gl->gen->conf->pools;
	const struct conf_route *route = ex->route;
	pin_take_out(ex->worker, &pools[route->mirror.pool], msg);
	for (size_t i = 0; i < route->n_split; i++)
		pin_take_out(ex->worker, &pools[route->split[i].pool], msg);
	if (!route->n_split)
		pin_take_out(ex->worker, &pools[route->pool], msg);
}

/* The head at hand, as it is to go out; afterwards it is as before. */
static bool put_head(struct exchange *ex, const struct exchange *original)
{
	struct worker *w = ex->worker;
	struct message *msg = &w->req;
	struct header *expect = message_find(msg, HDR_EXPECT);
	const uint32_t n = msg->n_headers;
	const size_t texts_len = w->texts.len;
	char *saved = w->from_backend.data;
	_Static_assert(sizeof(msg->headers) <= AREA_DATA, "it has room for all of them");
	if (n == HEADERS_ROOM)
		return false;
	memcpy(saved, msg->headers, n * sizeof(*msg->headers));
	if (expect) /* the body is here already */
		expect->drop = true;
	take_out_pins(ex, msg);
	msg->headers[msg->n_headers++] =
	    (struct header){.name = VIEW(MIRROR_FIELD), .value = ex->route->name};
	ex->asking = original->asking;
	bool ok = request_put(ex, (struct span){w->from_backend.data, 0}, false);
	ex->asking = NULL;
	memcpy(msg->headers, saved, n * sizeof(*msg->headers));
	msg->n_headers = n;
	w->texts.len = texts_len;
	return ok;
}

static struct exchange *new_exchange(struct copy *copy, const struct exchange *original)
{
	struct worker *w = copy->worker;
	const struct exchange_request req = {
	    .ops = &copy_ops,
	    .client = copy,
	    .ended = on_ended,
	    .listener = original->listener,
	    .start_us = w->loop.now_us,
	};
	struct exchange *ex = exchange_make(w, &req, original->gl, original->timer.fn);
	if (!ex)
		return NULL;
	ex->is_aside = ex->is_copy = true;
	memcpy(ex->request_id, original->request_id, original->request_id_len);
	ex->request_id_len = original->request_id_len;
	ex->te_trailers = original->te_trailers;
	ex->req_chunked = w->req.body == BODY_CHUNKED;
	ex->route = original->route;
	ex->view = &ex->gl->views[copy->conf->pool];
	if (ex->view->pool->fallback)
		ex->hash_key = hash_key_of(ex, original->asking, &w->req);
	return ex;
}

static uint8_t copy_text(char to[MIRROR_TEXT_MAX], struct view v)
{
	size_t n = v.len < MIRROR_TEXT_MAX ? v.len : MIRROR_TEXT_MAX;
	memcpy(to, v.ptr, n);
	return (uint8_t)n;
}

static struct copy *copy_new(struct exchange *original, struct mirror *mirror)
{
	struct worker *w = original->worker;
	struct head_copy room;
	static const struct message none;
	if (head_copy(&w->pool.bufs, &none, sizeof(struct copy), &room))
		return NULL;
	struct copy *copy = room.front;
	copy->buf = room.buf;
	copy->worker = w;
	copy->mirror = mirror;
	copy->conf = &original->route->mirror;
	copy->ex = new_exchange(copy, original);
	if (!copy->ex) {
		buf_put(&w->pool.bufs, copy->buf);
		return NULL;
	}
	copy->follower = (struct follower){on_asked, on_original_answered, on_original_ended};
	copy->original_len = UINT64_MAX;
	copy->began_us = w->loop.now_us;
	copy->request_id_len =
	    copy_text(copy->request_id, view_of(original->request_id, original->request_id_len));
	copy->target_len = copy_text(copy->target, w->req.path);
	for (size_t i = 0; i < MIRROR_SIDES; i++)
		hash_stream_init(&copy->hash[i]);
	list_push_back(&w->copies, &copy->link);
	copy->timer.fn = on_timeout;
	loop_timer(&w->loop, &copy->timer, copy->conf->timeout_us);
	return copy;
}

/* Clients come first: what is left when three quarters are in use is for them. */
static bool is_short(const struct worker *w)
{
	return w->exchanges.n_live >= w->exchanges.max - w->exchanges.max / 4;
}

void copy_begin(struct exchange *ex, struct mirror *mirror, struct span body)
{
	struct worker *w = ex->worker;
	const struct conf_mirror *conf = &ex->route->mirror;
	struct mirror_counters *c = mirror_counters(mirror, w->pool.id);
	if (body_least(&w->req, body.len) > conf->body_bytes) {
		counter_add(&c->dropped_long, 1);
		return;
	}
	if (!mirror_take(mirror, w->pool.id, conf))
		return;
	struct copy *copy = is_short(w) ? NULL : copy_new(ex, mirror);
	if (!copy) {
		counter_add(&c->dropped_memory, 1);
		mirror_drop(mirror);
		return;
	}
	copy->original = ex;
	ex->follower = &copy->follower;
	if (put_head(copy->ex, ex))
		on_asked(&copy->follower, body, ex->req_complete);
	else
		drop(copy, &c->dropped_long);
}

bool copy_hears_body(const struct exchange *ex)
{
	return ex->follower && ex->route->mirror.compare & CONF_COMPARE_BODY;
}

void copy_stop_all(struct worker *w)
{
	list_each_safe (it, next, &w->copies)
		give_up(list_entry(it, struct copy, link), OUTCOME_stopped);
}
