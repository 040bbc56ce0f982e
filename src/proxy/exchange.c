/* SPDX-License-Identifier: MIT */
/* The exchange's life: birth, body, deadlines, end. */
#include "weir/proxy/exchange.h"

#include <string.h>

#include "chunk.h"
#include "deadline.h"
#include "hash_key.h"
#include "hedge.h"
#include "pin.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"
#include "weir/proxy/trace.h"

/* A request that waits for a backend keeps at most this much of its body. */
#define WAITING_BODY_MAX (64 * 1024)
/* A warning about the same regex at most so often. */
#define REGEX_LOG_US 10000000

const char *exchange_state_name(enum exchange_state state)
{
	static const char *const names[] = {
	    [EXCHANGE_NEW] = "new",           [EXCHANGE_QUEUED] = "queued",
	    [EXCHANGE_BACKOFF] = "backoff",   [EXCHANGE_CONNECTING] = "connecting",
	    [EXCHANGE_SENDING] = "sending",   [EXCHANGE_WAITING] = "waiting",
	    [EXCHANGE_TRANSFER] = "transfer", [EXCHANGE_TUNNEL] = "tunnel",
	    [EXCHANGE_FLUSH] = "flush",       [EXCHANGE_ENDED] = "ended",
	};
	return (size_t)state < ARRAY_LEN(names) ? names[state] : "?";
}

/* Moves that make sense, as bits of the next state. */
static const uint16_t moves[] = {
#define TO(state) (1u << EXCHANGE_##state)
    [EXCHANGE_NEW] = TO(QUEUED) | TO(BACKOFF) | TO(CONNECTING) | TO(SENDING) | TO(WAITING) |
		     TO(FLUSH) | TO(ENDED),
    [EXCHANGE_BACKOFF] =
	TO(QUEUED) | TO(CONNECTING) | TO(SENDING) | TO(WAITING) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_QUEUED] = TO(CONNECTING) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_CONNECTING] = TO(QUEUED) | TO(BACKOFF) | TO(CONNECTING) | TO(SENDING) | TO(WAITING) |
			    TO(FLUSH) | TO(ENDED),
    [EXCHANGE_SENDING] = TO(QUEUED) | TO(BACKOFF) | TO(CONNECTING) | TO(SENDING) | TO(WAITING) |
			 TO(TRANSFER) | TO(TUNNEL) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_WAITING] = TO(QUEUED) | TO(BACKOFF) | TO(CONNECTING) | TO(SENDING) | TO(WAITING) |
			 TO(TRANSFER) | TO(TUNNEL) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_TRANSFER] = TO(FLUSH) | TO(ENDED),
    [EXCHANGE_TUNNEL] = TO(ENDED),
    [EXCHANGE_FLUSH] = TO(ENDED),
#undef TO
};

void exchange_set_state(struct exchange *ex, enum exchange_state state)
{
	check(moves[ex->state] & (1u << state));
	if (unlikely(ex->state == EXCHANGE_QUEUED))
		ex->queue_us += ex->worker->loop.now_us - ex->queue_from_us;
	if (unlikely(ex->state == EXCHANGE_QUEUED && list_is_linked(&ex->waiter.link)))
		pool_queue_remove(&ex->waiter);
	ex->state = state;
	exchange_arm(ex);
}

/* ---- deadlines ---- */

static uint64_t idle_timeout(const struct exchange *ex)
{
	if (ex->route && ex->route->timeouts.idle_set)
		return ex->route->timeouts.idle_us;
	return ex->view->pool->conf->timeouts.idle_us;
}

uint64_t exchange_response_timeout(const struct exchange *ex)
{
	if (ex->route && ex->route->timeouts.response_set)
		return ex->route->timeouts.response_us;
	return ex->view->pool->conf->timeouts.response_us;
}

/* The next thing to happen while an answer is waited for. */
enum wait_step { WAIT_HEDGE, WAIT_ATTEMPT, WAIT_RESPONSE };

/* When, from the beginning of the wait. */
static uint64_t next_wait(const struct exchange *ex, enum wait_step *step)
{
	uint64_t best = exchange_response_timeout(ex);
	uint64_t one = ex->view->pool->conf->retry.attempt_timeout_us;
	*step = WAIT_RESPONSE;
	if (unlikely(one > ex->waited_us && one < best)) {
		best = one;
		*step = WAIT_ATTEMPT;
	}
	if (unlikely(ex->hedge_us > ex->waited_us && ex->hedge_us < best && !ex->hedged)) {
		best = ex->hedge_us;
		*step = WAIT_HEDGE;
	}
	return best;
}

static uint64_t waiting_timeout(const struct exchange *ex)
{
	enum wait_step step;
	return next_wait(ex, &step) - ex->waited_us;
}

static void waited(struct exchange *ex)
{
	enum wait_step step;
	ex->waited_us = next_wait(ex, &step);
	if (step == WAIT_RESPONSE) {
		if (ex->hedge)
			hedge_drop(ex, true);
		attempt_failed(ex->at, OUTCOME_backend_timeout);
		return;
	}
	if (step == WAIT_HEDGE)
		hedge_begin(ex);
	else if (!ex->hedge && attempt_moves_on(ex->at))
		return;
	if (ex->state == EXCHANGE_WAITING)
		exchange_arm(ex);
}

/* "Full jitter": between 0 and a bound that doubles. */
static uint64_t backoff(const struct exchange *ex)
{
	uint64_t base = ex->view->pool->conf->retry.backoff_us;
	unsigned doublings = ex->n_retries > 1 ? ex->n_retries - 1u : 0;
	uint64_t most = doublings < 4 ? base << doublings : 10 * base;
	most = most < 10 * base ? most : 10 * base;
	return 1 + rng_next(&ex->worker->pool.rng) % (most + 1);
}

static uint64_t state_timeout(const struct exchange *ex)
{
	switch (ex->state) {
	case EXCHANGE_QUEUED:
		return ex->pin_waits ? ex->view->pool->conf->sticky.wait_us
				     : ex->view->pool->conf->queue.timeout_us;
	case EXCHANGE_CONNECTING:
		return ex->view->pool->conf->timeouts.connect_us;
	case EXCHANGE_SENDING:
		if (exchange_upload_pending(ex))
			return idle_timeout(ex);
		return ex->listener->timeouts.body_idle_us;
	case EXCHANGE_BACKOFF:
		return backoff(ex);
	case EXCHANGE_WAITING:
		return waiting_timeout(ex);
	case EXCHANGE_TRANSFER:
		return ex->write_blocked ? ex->listener->timeouts.write_idle_us : idle_timeout(ex);
	case EXCHANGE_TUNNEL:
		return idle_timeout(ex);
	case EXCHANGE_FLUSH:
		return ex->listener->timeouts.write_idle_us;
	default:
		return 0;
	}
}

void exchange_arm(struct exchange *ex)
{
	uint64_t now = ex->worker->loop.now_us, after = state_timeout(ex);
	uint64_t deadline = after ? now + after : 0;
	if (ex->total_deadline_us && (!deadline || ex->total_deadline_us < deadline))
		deadline = ex->total_deadline_us;
	if (deadline)
		timer_set(&ex->worker->loop.timers, &ex->timer, deadline);
	else
		timer_clear(&ex->timer);
}

/* Tells the client, when it can still be told; else breaks off. */
static void fail(struct exchange *ex, enum outcome outcome)
{
	if (ex->head_relayed)
		exchange_end(ex, outcome);
	else
		reply_error(ex, outcome, NULL);
}

/*
 * A peer that takes bytes slowly is not a peer that stopped: what the kernel
 * still holds counts as well, so a timeout that finds it smaller than at the
 * last look waits once more.
 */
static bool makes_progress(struct exchange *ex)
{
	size_t left;
	if (ex->state == EXCHANGE_FLUSH || ex->write_blocked)
		left = ex->client_ops->unsent(ex);
	else if (ex->state == EXCHANGE_SENDING && exchange_upload_pending(ex))
		left = ex->at->ops->unsent(ex->at);
	else
		return false;
	bool progress = left < ex->unsent_mark;
	ex->unsent_mark = left;
	if (progress)
		exchange_arm(ex);
	return progress;
}

static void on_timeout(struct timer *timer)
{
	struct exchange *ex = container_of(timer, struct exchange, timer);
	check_magic(ex, EXCHANGE_MAGIC);
	if (ex->total_deadline_us && ex->total_deadline_us <= ex->worker->loop.now_us) {
		fail(ex, ex->state == EXCHANGE_FLUSH ? OUTCOME_client_timeout_write
			 : ex->client_deadline       ? OUTCOME_deadline_passed
						     : OUTCOME_total_timeout);
		return;
	}
	if (makes_progress(ex))
		return;
	switch (ex->state) {
	case EXCHANGE_QUEUED:
		if (attempt_elsewhere(ex))
			break;
		counter_add(&ex->view->sl->counters.queue_timeouts, 1);
		fail(ex, OUTCOME_queue_timeout);
		break;
	case EXCHANGE_CONNECTING:
		attempt_connected(ex->at, ERR_TIMEOUT);
		break;
	case EXCHANGE_SENDING:
		if (exchange_upload_pending(ex))
			attempt_failed(ex->at, OUTCOME_backend_send_timeout);
		else
			fail(ex, OUTCOME_client_timeout_body);
		break;
	case EXCHANGE_BACKOFF:
		attempt_again(ex);
		break;
	case EXCHANGE_WAITING:
		waited(ex);
		break;
	case EXCHANGE_TRANSFER:
		fail(ex, ex->write_blocked ? OUTCOME_client_timeout_write : OUTCOME_backend_idle);
		break;
	case EXCHANGE_TUNNEL:
		exchange_end(ex, OUTCOME_tunnel_idle);
		break;
	case EXCHANGE_FLUSH:
		exchange_end(ex, OUTCOME_client_timeout_write);
		break;
	default:
		break;
	}
}

/* ---- birth ---- */

/* For status only; this worker alone writes it. */
static void show_exchanges(struct worker *w)
{
	atomic_store_explicit(&w->n_exchanges, w->exchanges.n_live, memory_order_relaxed);
}

struct exchange *exchange_new(struct worker *w, const struct exchange_request *req)
{
	struct exchange *ex = slab_get(&w->exchanges);
	if (!ex)
		return NULL;
	memset(&ex->magic, 0,
	       offsetof(struct exchange, request_id) - offsetof(struct exchange, magic));
	ex->magic = EXCHANGE_MAGIC;
	ex->timer.fn = on_timeout;
	ex->at = &ex->first;
	ex->first.ex = ex;
	ex->worker = w;
	ex->client_ops = req->ops;
	ex->client = req->client;
	ex->listener = req->listener;
	ex->gl = gen_get(w->gen);
	ex->start_us = req->start_us;
	ex->bytes_in = req->bytes_in;
	ex->method = w->req.method;
	ex->tried.wary = !method_is_idempotent(ex->method);
	ex->client_minor = w->req.version_minor;
	ex->wants_upgrade = w->req.upgrade && w->req.body == BODY_NONE;
	if (unlikely(ex->wants_upgrade))
		ex->wants_websocket =
		    view_ieq(message_find(&w->req, HDR_UPGRADE)->value, VIEW("websocket"));
	show_exchanges(w);
	counter_add(&w->counters.requests, 1);
	if (unlikely(w->req.n_underscore))
		counter_add(&w->counters.underscore_headers_dropped, w->req.n_underscore);
	return ex;
}

/* The rewritten head and the body so far into a buffer, to be sent and sent again. */
static bool keep_request(struct exchange *ex, struct span body, bool complete)
{
	struct worker *w = ex->worker;
	bool framed = ex->req_chunked && (body.len || complete);
	size_t framing = framed ? H1_CHUNK_HEAD_MAX + 7 : 0;
	/* a guess, then whatever there is */
	size_t sizes[] = {w->req.head_len + 320 + body.len + framing, BUF_MAX};
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct buf *buf = buf_get(&w->pool.bufs, sizes[i]);
		if (!buf)
			return false;
		struct h1_out out = h1_out_init(buf->data, buf->cap);
		if (policy_request(ex, &out) && out.len + body.len + framing <= buf->cap) {
			/* not before: the framing overwrites the end of the head */
			if (framed)
				body = chunk_frame(body, complete);
			memcpy(buf->data + out.len, body.ptr, body.len);
			ex->req_head_len = (uint32_t)out.len;
			buf->len = (uint32_t)(out.len + body.len);
			ex->req = buf;
			return true;
		}
		buf_put(&w->pool.bufs, buf);
	}
	return false;
}

/* The rewritten head in front of the body where that lies: nothing is copied twice. */
static bool lay_request(struct exchange *ex, struct span body, bool complete)
{
	struct worker *w = ex->worker;
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM - H1_CHUNK_HEAD_MAX);
	if (!policy_request(ex, &out))
		return false;
	if (ex->req_chunked)
		body = chunk_frame(body, complete);
	memcpy(body.ptr - out.len, out.ptr, out.len);
	ex->req_head_len = (uint32_t)out.len;
	ex->direct = (struct span){body.ptr - out.len, body.len + out.len};
	return true;
}

bool exchange_keep_request(struct exchange *ex)
{
	if (ex->direct.len == 0)
		return true;
	bool kept = buf_append(&ex->worker->pool.bufs, &ex->req, ex->direct.ptr, ex->direct.len);
	ex->direct.len = 0;
	return kept;
}

static void route_exchange(struct exchange *ex, const struct exchange_request *req)
{
	struct worker *w = ex->worker;
	struct view host = VIEW_NONE;
	uint16_t port;
	if (w->req.authority.len && !authority_split(w->req.authority, &host, &port))
		host = VIEW_NONE;
	struct route_request rr = {
	    .host = host,
	    .path = w->req.path,
	    .method = w->req.method_text,
	    .msg = &w->req,
	    .client = req->peer,
	};
	ex->route = route_find(ex->gl->gen->routes, w->routes, &rr);
}

/* No way is known for it; because of a regex that gave up rather than for `outcome`? */
static void refuse_route(struct exchange *ex, enum outcome outcome)
{
	struct worker *w = ex->worker;
	const struct conf_route *route = route_gave_up(w->routes);
	if (!route) {
		reply_error(ex, outcome, NULL);
		return;
	}
	if (w->regex_logged_us == 0 || w->loop.now_us - w->regex_logged_us > REGEX_LOG_US) {
		w->regex_logged_us = w->loop.now_us;
		log_warn("route " VIEW_FMT ": a regular expression reached its limit for a path of "
			 "%zu bytes; such requests are answered 500 (write it without nested "
			 "repetitions, or with atomic groups)",
			 VIEW_ARG(route->name), w->req.path.len);
	}
	reply_error(ex, OUTCOME_regex_limit, NULL);
}

void exchange_begin(struct exchange *ex, const struct exchange_request *req, struct span body,
		    bool complete)
{
	struct worker *w = ex->worker;
	ex->req_complete = complete;
	if (unlikely(ex->start_us < w->loop.turn_began_us)) /* the head came in pieces */
		ex->upload_us = w->loop.now_us - ex->start_us;
	policy_take(ex, req, &w->req);
	if (unlikely(ex->gl->gen->tracing))
		trace_begin(ex, req, &w->req);
	if (ex->gl->gen->access_log)
		access_log_note(ex, req, &w->req);
	if (unlikely(req->tls && req->listener->tls.client_auth != CONF_CLIENT_NONE) &&
	    !policy_is_for(req->tls, w->req.authority)) {
		reply_error(ex, OUTCOME_misdirected, NULL);
		return;
	}
	route_exchange(ex, req);
	if (unlikely(!ex->route)) {
		refuse_route(ex, OUTCOME_no_route);
		return;
	}
	if (unlikely(ex->route->action == CONF_ACTION_REDIRECT ||
		     ex->route->action == CONF_ACTION_RESPOND)) {
		reply_route(ex, req);
		return;
	}
	ex->view = &ex->gl->views[ex->route->n_split ? route_pool(ex->route, rng_next(&w->pool.rng))
						     : ex->route->pool];
	counter_add(&ex->view->sl->counters.requests, 1);
	if (unlikely(ex->view->watched))
		ex->stratum = 1 + odd_stratum(ex->route->index, w->req.method_text, w->req.path);
	if (ex->route->timeouts.total_us)
		ex->total_deadline_us = ex->start_us + ex->route->timeouts.total_us;
	if (unlikely(deadline_applies(ex)) && !deadline_request(ex, &w->req))
		return;
	ex->secure = view_eq(req->who.scheme, VIEW("https"));
	if (unlikely(pin_applies(ex)))
		pin_request(ex, &w->req);
	if (unlikely(ex->view->pool->fallback != NULL))
		ex->hash_key = hash_key_of(ex, req, &w->req);
	ex->req_chunked = w->req.body == BODY_CHUNKED;
	bool direct = body.len > DIRECT_MIN && !method_is_idempotent(ex->method);
	if (unlikely(!(direct ? lay_request : keep_request)(ex, body, complete))) {
		refuse_route(ex, OUTCOME_head_too_large);
		return;
	}
	ex->replayable = true;
	attempt_begin(ex);
}

/* ---- the request body ---- */

size_t exchange_body_room(const struct exchange *ex)
{
	if (ex->state != EXCHANGE_QUEUED && ex->state != EXCHANGE_BACKOFF &&
	    ex->state != EXCHANGE_CONNECTING)
		return AREA_DATA;
	return ex->req->len >= WAITING_BODY_MAX ? 0 : WAITING_BODY_MAX - ex->req->len;
}

static enum io keep_body(struct exchange *ex, struct span body)
{
	if (!buf_append(&ex->worker->pool.bufs, &ex->req, body.ptr, body.len)) {
		reply_error(ex, OUTCOME_no_memory, NULL);
		return IO_ERR;
	}
	return exchange_body_room(ex) ? IO_OK : IO_WAIT;
}

/* What has been sent can be sent again only while all of it is kept. */
static void keep_for_replay(struct exchange *ex, struct span body)
{
	const struct conf_pool *conf = ex->view->pool->conf;
	struct buf_pool *bufs = &ex->worker->pool.bufs;
	size_t kept = ex->req->len - ex->req_head_len;
	if (conf->retry.on && kept + body.len <= conf->retry.buffer &&
	    ex->req->len + body.len <= BUF_MAX && buf_append(bufs, &ex->req, body.ptr, body.len))
		return;
	ex->replayable = false;
	buf_put(bufs, ex->req);
	ex->req = NULL;
}

static enum io send_body(struct exchange *ex, const struct request_part *part)
{
	struct attempt *at = ex->at;
	if ((part->wire.len == 0 && !part->end) || at->upload_dead)
		return IO_OK;
	if (ex->replayable)
		keep_for_replay(ex, part->wire);
	enum io io = at->ops->body(at, part);
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

static enum io take_body(struct exchange *ex, const struct request_part *part)
{
	ex->req_complete = part->end;
	switch (ex->state) {
	case EXCHANGE_QUEUED:
	case EXCHANGE_BACKOFF:
	case EXCHANGE_CONNECTING:
		return keep_body(ex, part->wire);
	case EXCHANGE_SENDING:
	case EXCHANGE_WAITING:
	case EXCHANGE_TRANSFER:
		break;
	default:
		return IO_OK;
	}
	enum io io = send_body(ex, part);
	if (ex->state == EXCHANGE_SENDING) {
		if (part->end && io == IO_OK) {
			attempt_sent(ex->at);
			return io;
		}
	}
	exchange_arm(ex); /* progress */
	return io;
}

enum io exchange_body(struct exchange *ex, struct span body, bool complete)
{
	check_magic(ex, EXCHANGE_MAGIC);
	struct request_part part = {.data = body, .wire = body, .end = complete};
	if (ex->req_chunked)
		part.wire = chunk_frame(body, complete);
	return take_body(ex, &part);
}

enum io exchange_body_trailers(struct exchange *ex, struct message *trailers)
{
	struct worker *w = ex->worker;
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM);
	enum reject why = strict_fields(ex->listener->underscores, trailers);
	if (unlikely(why != REJECT_NONE)) {
		counter_add(&w->counters.rejects[why], 1);
		exchange_body_failed(ex, OUTCOME_bad_body, reject_sentence(why));
		return IO_ERR;
	}
	counter_add(&w->counters.underscore_headers_dropped, trailers->n_underscore);
	policy_request_trailers(ex, trailers);
	h1_put(&out, VIEW("0\r\n"));
	h1_put_headers(&out, trailers);
	h1_put(&out, VIEW("\r\n"));
	check(!out.overflow);
	struct request_part part = {
	    .data = {out.ptr, 0},
	    .wire = {out.ptr, out.len},
	    .trailers = trailers,
	    .end = true,
	};
	return take_body(ex, &part);
}

void exchange_body_failed(struct exchange *ex, enum outcome outcome, const char *detail)
{
	if (ex->head_relayed)
		exchange_end(ex, outcome);
	else
		reply_error(ex, outcome, detail);
}

/* ---- tunnels ---- */

enum io exchange_raw(struct exchange *ex, struct span bytes)
{
	enum io io = ex->at->ops->raw(ex->at, bytes);
	if (io == IO_ERR)
		exchange_end(ex, OUTCOME_tunnel);
	else
		exchange_arm(ex);
	return io;
}

void exchange_raw_end(struct exchange *ex)
{
	ex->client_eof = true;
	if (ex->backend_eof)
		exchange_end(ex, OUTCOME_tunnel);
	else
		ex->at->ops->raw_end(ex->at);
}

/* ---- the client's state ---- */

void exchange_client_gone(struct exchange *ex)
{
	switch (ex->state) {
	case EXCHANGE_QUEUED:
		counter_add(&ex->view->sl->counters.queue_abandoned, 1);
		exchange_end(ex, OUTCOME_client_gone_queue);
		break;
	case EXCHANGE_BACKOFF:
	case EXCHANGE_CONNECTING:
		exchange_end(ex, OUTCOME_client_gone_connect);
		break;
	case EXCHANGE_SENDING:
		exchange_end(ex, OUTCOME_client_gone_request);
		break;
	case EXCHANGE_WAITING:
		exchange_end(ex, OUTCOME_client_gone_wait);
		break;
	case EXCHANGE_TUNNEL:
		exchange_end(ex, OUTCOME_tunnel);
		break;
	default:
		exchange_end(ex, OUTCOME_client_gone_transfer);
	}
}

void exchange_client_drained(struct exchange *ex)
{
	if (ex->blocked_from_us) {
		ex->client_us += clock_us() - ex->blocked_from_us;
		ex->blocked_from_us = 0;
	}
	if (ex->state == EXCHANGE_FLUSH) {
		exchange_end(ex, ex->outcome);
	} else if (ex->write_blocked) {
		ex->write_blocked = false;
		exchange_arm(ex);
		if (ex->at->ops)
			ex->at->ops->resume(ex->at);
	}
}

/* ---- the end ---- */

static void count_status(struct worker *w, unsigned status)
{
	if (status >= 500)
		counter_add(&w->counters.responses_5xx, 1);
	else if (status >= 400)
		counter_add(&w->counters.responses_4xx, 1);
	else if (status >= 300)
		counter_add(&w->counters.responses_3xx, 1);
	else if (status)
		counter_add(&w->counters.responses_2xx, 1);
}

void exchange_end(struct exchange *ex, enum outcome outcome)
{
	struct worker *w = ex->worker;
	check_magic(ex, EXCHANGE_MAGIC);
	ex->outcome = outcome;
	const struct outcome_row *row = outcome_row(outcome);
	attempt_judge(ex->at, outcome);
	if (unlikely(ex->hedge != NULL))
		hedge_drop(ex, false);
	if (ex->at->lease.backend)
		attempt_finish(ex->at, false, row->is_error);
	exchange_set_state(ex, EXCHANGE_ENDED);
	timer_clear(&ex->timer);

	ex->last_byte_us = clock_us();
	count_status(w, ex->status);
	counter_add(&w->counters.outcomes[outcome], 1);
	if (row->is_error)
		counter_add(&w->counters.errors, 1);
	counter_add(&w->counters.bytes_in, ex->bytes_in);
	counter_add(&w->counters.bytes_out, ex->bytes_out);
	exchange_measure(ex);
	if (unlikely(ex->note != NULL))
		access_log_write(ex);
	if (unlikely(ex->trace != NULL))
		trace_end(ex);

	buf_put(&w->pool.bufs, ex->req);
	buf_put(&w->pool.bufs, ex->note);
	const struct client_ops *ops = ex->client_ops;
	void *client = ex->client;
	bool complete = ex->resp_complete;
	if (unlikely(ex->at != &ex->first))
		slab_put(&w->attempts, ex->at);
	ex->magic = 0;
	gen_put(ex->gl);
	slab_put(&w->exchanges, ex);
	show_exchanges(w);
	ops->ended(client, complete);
}
