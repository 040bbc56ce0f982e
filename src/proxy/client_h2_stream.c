/* SPDX-License-Identifier: MIT */
/*
 * Streams of a client's HTTP/2 connection: requests become exchanges (events of
 * the session).  Responses become frames in client_h2_write.c.
 */
#include "client_h2.h"

#include "client_h1.h"
#include "reply.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

static struct client_stream *stream_of(struct h2_stream *st)
{
	return container_of(st, struct client_stream, st);
}

/* ---- birth and death ---- */

/* Its exchange goes on. */
static bool is_live(const struct client_stream *cs)
{
	return cs->ex && !exchange_is_over(cs->ex);
}

static struct h2_stream *on_open(struct h2_server *s)
{
	struct client_h2 *h2 = container_of(s, struct client_h2, server);
	struct client_stream *cs = slab_get(&h2->worker->h2->streams);
	if (!cs)
		return NULL;
	memset(cs, 0, sizeof(*cs));
	h2_stream_init(&cs->st);
	list_init(&cs->todo);
	cs->h2 = h2;
	return &cs->st;
}

static void drop_input(struct client_stream *cs)
{
	struct buf_pool *bufs = &cs->h2->worker->pool.bufs;
	buf_queue_drop(bufs, &cs->in);
	buf_put(bufs, cs->trailers);
	cs->trailers = NULL;
}

static void on_ended(struct exchange *ex)
{
	struct client_stream *cs = ex->client;
	struct h2_stream *st = &cs->st;
	bool complete = ex->resp_complete;
	cs->ex = NULL;
	exchange_free(ex);
	cs->h2->n_live--;
	drop_input(cs);
	client_h2_dirty(cs->h2);
	if (st->closed || (st->end_sent && st->request_ended))
		return;
	bool whole = (complete || cs->open) && st->end_sent;
	h2_server_reset(&cs->h2->server, st,
			whole      ? H2_NO_ERROR
			: cs->open ? H2_CANCEL
				   : H2_INTERNAL_ERROR);
}

void client_stream_free(struct client_stream *cs)
{
	if (cs->ex) /* which has ended */
		on_ended(cs->ex);
	drop_input(cs);
	h2_budget_put(&cs->h2->heads, cs->weight);
	list_del(&cs->todo);
	h2_stream_fini(&cs->h2->server, &cs->st);
	slab_put(&cs->h2->worker->h2->streams, cs);
}

/* ---- answers without an exchange ---- */

static void add_field(struct message *msg, struct view name, struct view value)
{
	msg->headers[msg->n_headers++] = (struct header){.name = name, .value = value};
}

static void answer(struct client_stream *cs, unsigned status, const char *reason,
		   const char *sentence)
{
	struct client_h2 *h2 = cs->h2;
	struct worker *w = h2->worker;
	struct message *resp = &w->resp;
	char id[REQUEST_ID_MAX], text[1024], number[24];
	struct reply_page page = {
	    .status = status, .reason = reason, .sentence = view_str(sentence)};
	reply_page_begin(&page, w, &w->req, id);
	struct header *type = message_find(&w->req, HDR_CONTENT_TYPE);
	bool grpc = type && policy_is_grpc(type->value);
	size_t len = grpc ? 0 : reply_page(&page, text, sizeof(text));
	scratch_take(w, SCRATCH_RESP);
	resp->n_headers = 0;
	if (grpc) { /* status 200, and its own in the place of trailers */
		int n = snprintf(number, sizeof(number), "%u", reply_grpc_status(status));
		add_field(resp, VIEW("content-type"), VIEW("application/grpc"));
		add_field(resp, VIEW("grpc-status"), view_of(number, (size_t)n));
		add_field(resp, VIEW("grpc-message"), page.sentence);
	} else {
		int n = snprintf(number, sizeof(number), "%zu", len);
		add_field(resp, VIEW("content-type"), reply_page_type(&page));
		add_field(resp, VIEW("content-length"), view_of(number, (size_t)n));
	}
	add_field(resp, VIEW("x-request-id"), page.request_id);
	add_field(resp, VIEW("date"), policy_date(w));
	if (status == 405)
		add_field(resp, VIEW("allow"), reject_allow);
	if (h2->conn->conf->refusal_header.ptr)
		add_field(resp, h2->conn->conf->refusal_header, view_str(reason));
	counter_add(&w->counters.bytes_out, len);
	client_refused(h2->conn, &page, len);
	cs->st.waits = true;
	if (!h2_server_respond(&h2->server, &cs->st, resp, grpc ? 200 : status, view_of(text, len),
			       true))
		h2_server_reset(&h2->server, &cs->st, H2_INTERNAL_ERROR);
	scratch_drop(w, SCRATCH_RESP);
}

/* There is nobody to answer: it is counted and logged all the same. */
static void on_malformed(struct h2_server *s)
{
	struct client *c = container_of(s, struct client_h2, server)->conn;
	const enum reject why = REJECT_MALFORMED;
	char id[REQUEST_ID_MAX];
	struct reply_page page = {.status = reject_status(why),
				  .reason = reject_name(why),
				  .sentence = view_str(reject_sentence(why))};
	reply_page_begin(&page, c->worker, NULL, id);
	client_count_reject(c, why);
	if (c->gl->gen->access_log)
		access_log_reject(c, &page, 0);
}

static void reject(struct client_stream *cs, enum reject why)
{
	client_count_reject(cs->h2->conn, why);
	answer(cs, reject_status(why), reject_name(why), reject_sentence(why));
}

/* ---- bodies ---- */

static bool keep(struct client_stream *cs, const char *ptr, size_t len)
{
	if (buf_queue_put(&cs->h2->worker->pool.bufs, &cs->in, ptr, len))
		return true;
	exchange_refuse(cs->ex, OUTCOME_no_memory, NULL);
	return false;
}

static void take_io(struct client_stream *cs, enum io io, size_t n)
{
	if (io == IO_WAIT) {
		cs->paused = true;
		cs->held += (uint32_t)n;
	} else {
		h2_server_taken(&cs->h2->server, &cs->st, n);
	}
}

/*
 * Payload in the receive area.  Chunk framing may be written around it, so what
 * lies behind it (the next frame) is put back afterwards.
 */
static void give(struct client_stream *cs, char *ptr, size_t len, bool last)
{
	char behind[16];
	size_t room = exchange_body_room(cs->ex), n = len < room ? len : room;
	enum io io = IO_WAIT;
	if (n || (last && len == 0)) {
		memcpy(behind, ptr + n, sizeof(behind));
		io = exchange_body(cs->ex, (struct span){ptr, n}, last && n == len);
		memcpy(ptr + n, behind, sizeof(behind));
	}
	if (!is_live(cs))
		return;
	if (n < len && !exchange_body_room(cs->ex))
		io = IO_WAIT;
	take_io(cs, io, n);
	keep(cs, ptr + n, len - n);
	if (n < len && !cs->paused) /* what was in the way has gone meanwhile */
		client_stream_go_on(cs);
}

static void give_raw(struct client_stream *cs, char *ptr, size_t len)
{
	if (len == 0)
		return;
	enum io io = exchange_raw(cs->ex, (struct span){ptr, len});
	if (is_live(cs) && io != IO_ERR)
		take_io(cs, io, len);
}

static void give_trailers(struct client_stream *cs)
{
	struct worker *w = cs->h2->worker;
	struct h1_limits limits = head_limits(cs->h2->conn->conf);
	enum reject why;
	struct buf *lines = cs->trailers;
	cs->trailers = NULL;
	scratch_take(w, SCRATCH_REQ);
	if (h1_parse_trailers(buf_view(lines), &limits, &w->req, &why) == H1_OK)
		exchange_body_trailers(cs->ex, &w->req);
	else
		exchange_refuse(cs->ex, OUTCOME_bad_body, reject_sentence(why));
	scratch_drop(w, SCRATCH_REQ);
	buf_put(&w->pool.bufs, lines);
}

/* As much of what is kept as is taken at once. */
static void give_kept(struct client_stream *cs)
{
	struct worker *w = cs->h2->worker;
	size_t room = cs->open ? AREA_DATA : exchange_body_room(cs->ex);
	size_t cap = room < AREA_DATA ? room : AREA_DATA;
	size_t len = buf_queue_take(&w->pool.bufs, &cs->in, w->from_client.data, cap);
	if (cs->open)
		give_raw(cs, w->from_client.data, len);
	else if (len)
		give(cs, w->from_client.data, len, cs->ended && !cs->in.len && !cs->trailers);
	else
		cs->paused = true;
}

void client_stream_go_on(struct client_stream *cs)
{
	while (is_live(cs) && !cs->paused && cs->in.len)
		give_kept(cs);
	if (!is_live(cs) || cs->in.len || cs->paused || !cs->ended)
		return;
	if (cs->open)
		exchange_raw_end(cs->ex);
	else if (cs->trailers)
		give_trailers(cs);
	else if (!exchange_request_came(cs->ex))
		give(cs, cs->h2->worker->from_client.data, 0, true);
}

/* Whether input has to wait behind what is kept. */
static bool must_wait(const struct client_stream *cs)
{
	return cs->paused || cs->in.len || (cs->tunnel && !cs->open);
}

/* Counts `n` bytes more; false when that is refused. */
static bool count_body(struct client_stream *cs, size_t n)
{
	uint64_t limit = exchange_body_limit(cs->ex);
	cs->total += n;
	cs->left -= cs->has_length ? n : 0;
	if (!limit || cs->tunnel || cs->total <= limit)
		return true;
	if (cs->refused) /* the answer is on its way */
		return false;
	cs->refused = true;
	h2_server_blame(&cs->h2->server);
	counter_add(&cs->h2->worker->counters.rejects[REJECT_BODY_TOO_LARGE], 1);
	exchange_refuse(cs->ex, OUTCOME_body_too_large, reject_sentence(REJECT_BODY_TOO_LARGE));
	return false;
}

static void on_data(struct h2_stream *st, char *ptr, size_t len, bool last)
{
	struct client_stream *cs = stream_of(st);
	if (!is_live(cs))
		return;
	cs->ex->bytes_in += len;
	if (!count_body(cs, len))
		return;
	last = last && (!cs->has_length || cs->left == 0);
	cs->ended |= last;
	if (must_wait(cs)) {
		keep(cs, ptr, len);
	} else if (cs->open) {
		give_raw(cs, ptr, len);
		if (last && is_live(cs) && !cs->paused)
			exchange_raw_end(cs->ex);
	} else if (!exchange_request_came(cs->ex)) {
		give(cs, ptr, len, last);
	}
}

static void on_end(struct h2_stream *st)
{
	struct client_stream *cs = stream_of(st);
	if (!is_live(cs))
		return;
	cs->ended = true;
	if (must_wait(cs))
		return;
	if (cs->open)
		exchange_raw_end(cs->ex);
	else if (!exchange_request_came(cs->ex))
		exchange_body(cs->ex, (struct span){cs->h2->worker->from_backend.data, 0}, true);
}

static void on_trailers(struct h2_stream *st, struct message *msg, enum reject why)
{
	struct client_stream *cs = stream_of(st);
	struct worker *w = cs->h2->worker;
	if (!is_live(cs))
		return;
	if (why != REJECT_NONE) {
		counter_add(&w->counters.rejects[why], 1);
		exchange_refuse(cs->ex, OUTCOME_bad_body, reject_sentence(why));
		return;
	}
	if (!cs->chunked || cs->tunnel) { /* there is no place for them */
		on_end(st);
		return;
	}
	if (!must_wait(cs)) {
		exchange_body_trailers(cs->ex, msg);
		return;
	}
	scratch_take(w, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM);
	h1_put_headers(&out, msg);
	bool kept = !out.len || buf_append(&w->pool.bufs, &cs->trailers, out.ptr, out.len);
	scratch_drop(w, SCRATCH_HEAD);
	if (!kept)
		exchange_refuse(cs->ex, OUTCOME_no_memory, NULL);
	else
		cs->ended = true;
}

/* ---- requests ---- */

static void begin(struct client_stream *cs, const struct h2_request *req)
{
	struct client_h2 *h2 = cs->h2;
	struct worker *w = h2->worker;
	struct addr client;
	struct exchange_request er;
	client_request(h2->conn, req->msg, &client, &er);
	er.ops = &client_h2_ops;
	er.ended = on_ended;
	er.client = cs;
	cs->tunnel = req->msg->upgrade;
	if (unlikely(cs->tunnel))
		memcpy(cs->key, w->h2->key, sizeof(cs->key));
	cs->chunked = req->msg->body == BODY_CHUNKED;
	cs->has_length = req->msg->body == BODY_LENGTH;
	cs->left = req->msg->content_length;
	struct exchange *ex = cs->ex = exchange_new(w, &er);
	if (!ex) {
		answer(cs, 503, "no_memory", "weir is out of memory or descriptors");
		return;
	}
	h2->n_live++;
	char behind[16], *at = req->ptr ? req->ptr : w->from_backend.data;
	size_t len = cs->tunnel ? 0 : req->len;
	ex->bytes_in += len;
	if (!count_body(cs, len))
		return;
	bool end = req->end && (!cs->has_length || cs->left == 0);
	bool complete = end || req->msg->body == BODY_NONE;
	memcpy(behind, at + len, sizeof(behind));
	exchange_begin(ex, &er, (struct span){at, len}, complete);
	memcpy(at + len, behind, sizeof(behind));
	h2_server_taken(&h2->server, &cs->st, len);
	if (cs->tunnel && is_live(cs) && req->len)
		on_data(&cs->st, at, req->len, false);
	cs->ended |= end;
}

/* Whether there is room for the head, as long as the request is under way. */
static bool admit(struct client_stream *cs, const struct h2_request *req)
{
	if (h2_budget_take(&cs->h2->heads, req->weight)) {
		cs->weight = req->weight;
		return true;
	}
	counter_add(&cs->h2->worker->counters.h2_heads_refused, 1);
	return false;
}

static void on_request(struct h2_stream *st, const struct h2_request *req)
{
	struct client_stream *cs = stream_of(st);
	const struct conf_listener *conf = cs->h2->conn->conf;
	cs->h2->conn->n_requests++;
	if (!admit(cs, req)) {
		h2_server_blame(&cs->h2->server);
		h2_server_reset(&cs->h2->server, st, H2_REFUSED_STREAM);
		return;
	}
	uint64_t most = body_limit_of_all(cs->h2->worker, conf);
	enum reject why = req->why == REJECT_NONE ? strict_request(conf, req->msg) : req->why;
	if (why != REJECT_NONE)
		reject(cs, why);
	else if (most && body_least(req->msg, 0) > most)
		reject(cs, REJECT_BODY_TOO_LARGE);
	else
		begin(cs, req);
}

/* ---- what the session tells at the end of a turn ---- */

static void on_drained(struct h2_stream *st)
{
	struct client_stream *cs = stream_of(st);
	if (cs->ex)
		exchange_client_drained(cs->ex);
	else if (!st->request_ended) /* answered, and the rest is not wanted */
		h2_server_reset(&cs->h2->server, st, H2_NO_ERROR);
}

/* Its body is longer or shorter than it says, or its trailers are none: nghttp2 has reset it. */
static void refuse_body(struct client_stream *cs)
{
	cs->ex->head_relayed = true; /* whatever would be said now goes nowhere */
	counter_add(&cs->h2->worker->counters.rejects[REJECT_MALFORMED], 1);
	exchange_refuse(cs->ex, OUTCOME_bad_body, reject_sentence(REJECT_MALFORMED));
}

static void on_closed(struct h2_stream *st)
{
	struct client_stream *cs = stream_of(st);
	if (st->malformed && is_live(cs) && !exchange_request_came(cs->ex))
		refuse_body(cs);
	if (cs->ex && st->end_sent && st->code == H2_NO_ERROR)
		exchange_client_drained(cs->ex);
	if (cs->ex && st->code != H2_NO_ERROR) /* RFC 8441 5: as RST of TCP */
		exchange_client_reset(cs->ex);
	else if (cs->ex)
		exchange_client_gone(cs->ex);
	client_stream_free(cs);
}

static struct view on_key(struct h2_server *s)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct worker *w = container_of(s, struct client_h2, server)->worker;
	char *key = w->h2->key;
	for (unsigned i = 0; i < 22; i += 11) {
		uint64_t bits = rng_next(&w->pool.rng) >> 4; /* 60 of them */
		for (unsigned k = 0; k < 11; k++, bits >>= 6)
			key[i + k] = digits[bits & (k < 10 ? 63 : 0)];
	}
	key[22] = key[23] = '=';
	return view_of(key, 24);
}

const struct h2_server_events client_h2_events = {
    .open = on_open,
    .malformed = on_malformed,
    .request = on_request,
    .data = on_data,
    .trailers = on_trailers,
    .end = on_end,
    .drained = on_drained,
    .closed = on_closed,
    .flush = client_h2_send,
    .key = on_key,
};
