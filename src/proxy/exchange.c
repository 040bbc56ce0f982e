/* SPDX-License-Identifier: MIT */
/* What the client's side says to an exchange: birth, body, tunnel; and its deadlines. */
#include "exchange.h"

#include "asking.h"
#include "birth.h"
#include "body.h"
#include "challenge.h"
#include "deadline.h"
#include "filters.h"
#include "hash_key.h"
#include "hedge.h"
#include "pin.h"
#include "place.h"
#include "reply.h"
#include "request.h"
#include "trace.h"
#include "values.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"
#include "weir/route/source.h"

const char *exchange_state_name(const struct exchange *ex)
{
	static const char *const names[] = {
	    [EXCHANGE_ASKING] = "asking",       [EXCHANGE_NEW] = "new",
	    [EXCHANGE_GATHERING] = "gathering", [EXCHANGE_QUEUED] = "queued",
	    [EXCHANGE_BACKOFF] = "backoff",     [EXCHANGE_RUNNING] = "running",
	    [EXCHANGE_TUNNEL] = "tunnel",       [EXCHANGE_FLUSH] = "flush",
	    [EXCHANGE_ENDED] = "ended",
	};
	if (ex->state == EXCHANGE_RUNNING)
		return attempt_state_name(ex->at->state);
	return (size_t)ex->state < ARRAY_LEN(names) ? names[ex->state] : "?";
}

/* ---- deadlines ---- */

/* A client that takes bytes slowly is given time. */
static bool makes_progress(struct exchange *ex)
{
	bool client_slow =
	    ex->state == EXCHANGE_FLUSH || (ex->state == EXCHANGE_TUNNEL && ex->write_blocked);
	return client_slow && exchange_client_progress(ex);
}

static enum outcome outcome_late(const struct exchange *ex)
{
	if (ex->state == EXCHANGE_FLUSH)
		return OUTCOME_client_timeout_write;
	return ex->client_deadline ? OUTCOME_deadline_passed : OUTCOME_total_timeout;
}

/* RUNNING: the answer is late enough to ask somebody else, too. */
static void hedge_due(struct exchange *ex)
{
	ex->hedge_at_us = 0;
	exchange_arm(ex);
	if (!ex->hedged && ex->at->state == ATTEMPT_WAITING && !ex->at->resp_started)
		hedge_begin(ex);
}

static void go_on(struct exchange *ex, bool late);

static void on_timeout(struct timer *timer)
{
	struct exchange *ex = container_of(timer, struct exchange, timer);
	check_magic(ex, EXCHANGE_MAGIC);
	if (ex->total_deadline_us && ex->total_deadline_us <= ex->worker->loop.now_us) {
		exchange_end(ex, outcome_late(ex));
		return;
	}
	if (makes_progress(ex)) {
		exchange_arm(ex);
		return;
	}
	switch (ex->state) {
	case EXCHANGE_ASKING:
		asking_cancel(ex);
		go_on(ex, true);
		break;
	case EXCHANGE_GATHERING:
		exchange_end(ex, OUTCOME_client_timeout_body);
		break;
	case EXCHANGE_QUEUED:
		if (place_elsewhere(ex))
			break;
		counter_add(&ex->view->sl->counters.queue_timeouts, 1);
		exchange_end(ex, OUTCOME_queue_timeout);
		break;
	case EXCHANGE_BACKOFF:
		if (!place_again(ex))
			exchange_end(ex, ex->outcome);
		break;
	case EXCHANGE_RUNNING:
		hedge_due(ex);
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

struct exchange *exchange_new(struct worker *w, const struct exchange_request *req)
{
	struct exchange *ex = exchange_make(w, req, w->gen, on_timeout);
	if (!ex)
		return NULL;
	counter_add(&w->counters.requests, 1);
	if (unlikely(w->req.n_underscore))
		counter_add(&w->counters.underscore_headers_dropped, w->req.n_underscore);
	return ex;
}

static struct route_request route_request(struct worker *w, const struct exchange_request *req)
{
	return (struct route_request){
	    .host = w->req.authority,
	    .path = w->req.path,
	    .method = w->req.method_text,
	    .scheme = req->who.scheme,
	    .listener = req->listener->name,
	    .msg = &w->req,
	    .client = req->peer,
	};
}

static void route_exchange(struct exchange *ex, const struct exchange_request *req)
{
	struct worker *w = ex->worker;
	struct route_request rr = route_request(w, req);
	ex->route = route_find(ex->gl->gen->routes, w->routes, &rr);
}

/* What its route found in it; others were routed meanwhile. */
static bool route_again(struct exchange *ex, const struct exchange_request *req)
{
	struct worker *w = ex->worker;
	struct route_request rr = route_request(w, req);
	return likely(!ex->route->max_group) ||
	       route_find_groups(ex->gl->gen->routes, w->routes, ex->route, &rr);
}

/* No way is known for it; because of a regex that gave up rather than for `outcome`? */
static void refuse_route(struct exchange *ex, enum outcome outcome)
{
	struct worker *w = ex->worker;
	const struct conf_route *route = route_gave_up(w->routes);
	if (!route) {
		exchange_end(ex, outcome);
		return;
	}
	if (log_due(&w->regex_logged_us, w->loop.now_us)) {
		log_warn("route " VIEW_FMT ": a regular expression reached its limit, the path has "
			 "%zu bytes; such requests are answered 500 (write it without nested "
			 "repetitions, or with atomic groups)",
			 VIEW_ARG(route->name), w->req.path.len);
	}
	exchange_end(ex, OUTCOME_regex_limit);
}

static void answer_route(struct exchange *ex)
{
	enum outcome outcome;
	enum io io = reply_route(ex, &outcome);
	exchange_answered(ex, io, outcome);
}

/* The pool of a split: that of this client, or drawn. */
static uint32_t side_of(struct exchange *ex, const struct exchange_request *req)
{
	struct worker *w = ex->worker;
	const struct conf_route *route = ex->route;
	char room[SOURCE_ROOM];
	struct view key = VIEW_NONE;
	if (route->is_split_on)
		key =
		    source_text(route->split_on.on, route->split_on.name, req->peer, &w->req, room);
	return key.len ? route_pool_of(ex->gl->gen->conf, route, key)
		       : route_pool(route, rng_next(&w->pool.rng));
}

/* Routes that have limits of their own for bodies are known only now. */
static bool body_is_small(struct exchange *ex, uint64_t announced)
{
	uint64_t limit = exchange_body_limit(ex);
	if (!limit || body_least(&ex->worker->req, announced) <= limit)
		return true;
	counter_add(&ex->worker->counters.rejects[REJECT_BODY_TOO_LARGE], 1);
	exchange_refuse(ex, OUTCOME_body_too_large, reject_sentence(REJECT_BODY_TOO_LARGE));
	return false;
}

/* On its way to a backend of the route's pool. */
static void forward(struct exchange *ex, const struct exchange_request *req, struct span body,
		    bool complete)
{
	struct worker *w = ex->worker;
	ex->view = &ex->gl->views[ex->route->n_split ? side_of(ex, req) : ex->route->pool];
	counter_add(&ex->view->sl->counters.requests, 1);
	if (unlikely(ex->view->watched))
		ex->stratum = 1 + odd_stratum(ex->route->index, w->req.method_text, w->req.path);
	if (ex->route->timeouts.total_us)
		ex->total_deadline_us = ex->start_us + ex->route->timeouts.total_us;
	if (unlikely(deadline_applies(ex)) && !deadline_request(ex, &w->req)) {
		exchange_end(ex, OUTCOME_deadline_short);
		return;
	}
	ex->secure = view_eq(req->who.scheme, VIEW("https"));
	if (unlikely(pin_applies(ex)))
		pin_request(ex, &w->req);
	if (unlikely(ex->view->pool->fallback != NULL))
		ex->hash_key = hash_key_of(ex, req, &w->req);
	ex->req_chunked = w->req.body == BODY_CHUNKED;
	bool gathers = unlikely(ex->route->request_buffer && !complete) && body_gathers(ex);
	struct span first = unlikely(gathers) ? (struct span){body.ptr, 0} : body;
	if (unlikely(!request_put(ex, first, complete))) {
		refuse_route(ex, OUTCOME_head_too_large);
		return;
	}
	if (unlikely(gathers))
		body_gather(ex, body);
	else
		body_seek(ex);
}

/* Nothing of the route stands in its way any more. */
static void proceed(struct exchange *ex, const struct exchange_request *req, struct span body,
		    bool complete)
{
	if (unlikely(ex->gl->gen->limits_bodies) &&
	    !body_is_small(ex, body.len > req->body_least ? body.len : req->body_least))
		return;
	if (unlikely(ex->route->action == CONF_ACTION_REDIRECT ||
		     ex->route->action == CONF_ACTION_RESPOND)) {
		answer_route(ex);
		return;
	}
	forward(ex, req, body, complete);
}

static void log_loop(struct exchange *ex)
{
	struct worker *w = ex->worker;
	if (!log_due(&w->loop_logged_us, w->loop.now_us))
		return;
	log_warn("listener " VIEW_FMT ": a request has passed weir more than %u times "
		 "(limits.hops), and is answered 508: a backend is a listener of weir itself, or "
		 "the client's "
		 "Via says so",
		 VIEW_ARG(ex->listener->name), ex->listener->limits.hops);
}

/* After the hops that it says it has had, or may have. */
static bool may_go_on(struct exchange *ex)
{
	struct message *msg = &ex->worker->req;
	if (policy_is_loop(ex, msg)) {
		log_loop(ex);
		exchange_end(ex, OUTCOME_loop);
		return false;
	}
	if (policy_max_forwards(ex, msg))
		return true;
	exchange_answered(ex, reply_final(ex), OUTCOME_local);
	return false;
}

/* Its head is known and at hand. */
static void begin(struct exchange *ex, const struct exchange_request *req, struct span body,
		  bool complete)
{
	struct worker *w = ex->worker;
	if (unlikely(ex->gl->gen->tracing))
		trace_begin(ex, req, &w->req);
	if (ex->gl->gen->access_log)
		access_log_note(ex, req, &w->req);
	if (unlikely(req->tls && req->listener->tls.client_auth != CONF_CLIENT_NONE) &&
	    !policy_is_for(req->tls, w->req.authority)) {
		exchange_end(ex, OUTCOME_misdirected);
		return;
	}
	if (unlikely(w->req.ids & (HDR_BIT(MAX_FORWARDS) | HDR_BIT(VIA))) && !may_go_on(ex))
		return;
	if (unlikely(ex->gl->gen->acme.len) && challenge_asks(&w->req)) {
		exchange_answered(ex, reply_challenge(ex), OUTCOME_local);
		return;
	}
	route_exchange(ex, req);
	if (unlikely(!ex->route)) {
		refuse_route(ex, OUTCOME_no_route);
		return;
	}
	if (unlikely(ex->route->kept.n) && !values_keep(ex, &ex->route->kept)) {
		exchange_end(ex, OUTCOME_head_too_large);
		return;
	}
	if (unlikely(ex->route->filters) && !filters_pass(ex, req, body))
		return;
	proceed(ex, req, body, complete);
}

void exchange_begin(struct exchange *ex, const struct exchange_request *req, struct span body,
		    bool complete)
{
	struct worker *w = ex->worker;
	ex->req_complete = complete;
	if (unlikely(ex->start_us < w->loop.turn_began_us)) /* the head came in pieces */
		ex->upload_us = w->loop.now_us - ex->start_us;
	policy_take(ex, req, &w->req);
	ex->asking = req;
	begin(ex, req, body, complete);
	ex->asking = NULL;
}

/* ---- after a filter was waited for ---- */

/* Trailer fields that came meanwhile. */
static void give_tail(struct exchange *ex, struct buf *lines)
{
	struct worker *w = ex->worker;
	struct h1_limits limits = head_limits(ex->listener);
	enum reject why;
	scratch_take(w, SCRATCH_REQ);
	if (h1_parse_trailers(buf_view(lines), &limits, &w->req, &why) == H1_OK)
		exchange_body_trailers(ex, &w->req);
	else
		exchange_refuse(ex, OUTCOME_bad_body, reject_sentence(why));
	scratch_drop(w, SCRATCH_REQ);
}

static bool has_begun(const struct exchange *ex)
{
	return !exchange_is_over(ex) && ex->state != EXCHANGE_ASKING;
}

/* As from exchange_begin; it may wait for the next filter after this one. */
static void go_on(struct exchange *ex, bool late)
{
	struct worker *w = ex->worker;
	struct asking *asking = ex->held;
	struct buf *tail = ex->gathered_tail;
	scratch_take(w, SCRATCH_REQ);
	struct span body = asking_restore(ex, asking);
	ex->held = NULL;
	ex->gathered_tail = NULL;
	ex->asking = &asking->req;
	if (!route_again(ex, &asking->req))
		exchange_end(ex, OUTCOME_regex_limit);
	else if (filters_again(ex, asking, body, late))
		proceed(ex, &asking->req, body, ex->req_complete);
	ex->asking = NULL;
	scratch_drop(w, SCRATCH_REQ);
	asking_free(w, asking);
	if (ex->state == EXCHANGE_ASKING) {
		ex->gathered_tail = tail;
		return;
	}
	if (tail && has_begun(ex))
		give_tail(ex, tail);
	buf_put(&w->pool.bufs, tail);
	if (has_begun(ex))
		ex->client_ops->resume(ex);
}

void exchange_go_on(struct exchange *ex)
{
	check_magic(ex, EXCHANGE_MAGIC);
	list_del(&ex->link);
	go_on(ex, false);
}

/* ---- tunnels ---- */

enum io exchange_raw(struct exchange *ex, struct span bytes)
{
	if (ex->state != EXCHANGE_TUNNEL)
		return IO_OK;
	enum io io = ex->at->ops->raw(ex->at, bytes);
	if (io == IO_ERR)
		exchange_end(ex, OUTCOME_tunnel);
	else
		exchange_progress(ex);
	return io;
}

void exchange_raw_end(struct exchange *ex)
{
	if (ex->state != EXCHANGE_TUNNEL)
		return;
	ex->client_eof = true;
	if (ex->backend_eof)
		exchange_end(ex, OUTCOME_tunnel);
	else
		ex->at->ops->raw_end(ex->at);
}

/* ---- the client's state ---- */

/* A long page of weir's goes on; its end is that of the exchange. */
static void exchange_rest(struct exchange *ex)
{
	enum io io = reply_rest(ex);
	ex->resp_complete = io != IO_ERR && !ex->rest.len;
	if (io == IO_ERR || !ex->client_ops->pending(ex)) {
		ex->rest.len = 0;
		exchange_end(ex, io == IO_ERR ? exchange_outcome_gone(ex) : ex->outcome);
		return;
	}
	ex->blocked_from_us = clock_us();
	ex->unsent_mark = ex->client_ops->unsent(ex);
	exchange_arm(ex);
}

/* It had no answer, and its time is in no histogram: how long it had been is not known. */
static void count_left(const struct exchange *ex)
{
	struct pool_counters *counters = &ex->view->sl->counters;
	uint64_t slo_us = ex->view->pool->conf->slo.p95_us;
	counter_add(&counters->clients_left, 1);
	if (slo_us && clock_us() > ex->start_us + slo_us)
		counter_add(&counters->clients_left_late, 1);
}

void exchange_client_gone(struct exchange *ex)
{
	enum outcome outcome = exchange_outcome_gone(ex);
	if (ex->state == EXCHANGE_QUEUED)
		counter_add(&ex->view->sl->counters.queue_abandoned, 1);
	if (outcome == OUTCOME_client_gone_queue || outcome == OUTCOME_client_gone_connect ||
	    outcome == OUTCOME_client_gone_wait)
		count_left(ex);
	exchange_end(ex, outcome);
}

void exchange_client_reset(struct exchange *ex)
{
	if (ex->state == EXCHANGE_TUNNEL)
		stream_reset_on_close(&ex->at->up->stream);
	exchange_client_gone(ex);
}

void exchange_client_drained(struct exchange *ex)
{
	if (ex->blocked_from_us) {
		ex->client_us += clock_us() - ex->blocked_from_us;
		ex->blocked_from_us = 0;
	}
	if (ex->state == EXCHANGE_FLUSH && unlikely(ex->rest.len)) {
		exchange_rest(ex);
	} else if (ex->state == EXCHANGE_FLUSH) {
		exchange_end(ex, ex->outcome);
	} else if (ex->write_blocked && ex->state != EXCHANGE_ENDED) {
		ex->write_blocked = false;
		exchange_progress(ex);
		if (ex->at->ops)
			ex->at->ops->resume(ex->at);
	}
}
