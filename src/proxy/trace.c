/* SPDX-License-Identifier: MIT */
/* Records of exchanges and attempts for the tracer, in a ring that drops when it is full. */
#include "trace.h"

#include <string.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/hex.h"

/* Texts are cut here: clients choose some of them. */
static const uint16_t text_max[N_TRACE_NOTED] = {
    [TRACE_METHOD] = 32, [TRACE_TARGET] = 2048, [TRACE_HOST] = 255,
    [TRACE_SCHEME] = 8,  [TRACE_CLIENT] = 64,   [TRACE_PEER] = 64,
    [TRACE_AGENT] = 256, [TRACE_STATE] = 512,   [TRACE_SENT] = 2048,
};

#define NAME_MAX_LEN 255

static void put_text(struct str *s, struct view text, uint16_t max)
{
	uint16_t len = text.len < max ? (uint16_t)text.len : max;
	str_put(s, &len, sizeof(len));
	str_view(s, view_head(text, len));
}

/* ---- which trace it belongs to ---- */

static void random_bytes(struct exchange *ex, uint8_t *out, unsigned n)
{
	for (unsigned i = 0; i < n; i += 8) {
		uint64_t bits;
		do
			bits = rng_next(&ex->worker->pool.rng);
		while (bits == 0); /* an id of zeroes only is none */
		memcpy(out + i, &bits, sizeof(bits));
	}
}

/* The share of traces is told from the id, so that others who do so agree. */
static bool is_in_share(const uint8_t trace_id[16], double share)
{
	uint64_t low = 0;
	for (unsigned i = 9; i < 16; i++)
		low = low << 8 | trace_id[i];
	return (double)low < share * 72057594037927936.0; /* 2^56 */
}

static void begin_new(struct exchange *ex, struct trace *t, double share)
{
	random_bytes(ex, t->context.trace_id, sizeof(t->context.trace_id));
	t->context.flags = is_in_share(t->context.trace_id, share) ? TRACE_FLAG_SAMPLED : 0;
}

static bool may_continue(const struct exchange *ex, const struct exchange_request *req)
{
	enum conf_trace_continue who = ex->gl->gen->conf->tracing.continues;
	return who == CONF_CONTINUE_ALL || (who == CONF_CONTINUE_TRUSTED && req->who.trusted);
}

/* Several traceparent fields are as bad as a malformed one. */
static bool read_parent(struct message *msg, struct trace_context *out)
{
	bool ok = false;
	unsigned n = 0;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *h = &msg->headers[i];
		if (h->id != HDR_TRACEPARENT)
			continue;
		h->drop = true;
		ok = n++ == 0 && traceparent_parse(h->value, out);
	}
	return ok;
}

static void drop_state(struct message *msg)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == HDR_TRACESTATE)
			msg->headers[i].drop = true;
}

/* ---- what is noted of the request ---- */

/* Several fields are one list. */
static void put_state(struct str *s, const struct message *msg)
{
	char room[512];
	struct str all = str_fixed(room, sizeof(room));
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		const struct header *h = &msg->headers[i];
		if (h->id != HDR_TRACESTATE || h->drop || !h->value.len)
			continue;
		if (all.len)
			str_char(&all, ',');
		str_view(&all, h->value);
	}
	if (all.overflow) /* cut in the middle of a member it would not be valid */
		str_reset(&all);
	put_text(s, str_as_view(&all), text_max[TRACE_STATE]);
}

static void note(struct exchange *ex, const struct exchange_request *req, struct message *msg)
{
	struct trace *t = ex->trace;
	scratch_take(ex->worker, SCRATCH_HEAD);
	struct str s = str_fixed(ex->worker->head, HEAD_ROOM);
	struct header *agent = message_find(msg, HDR_USER_AGENT);
	char ip[ADDR_IP_TEXT_MAX];
	struct view texts[] = {
	    [TRACE_METHOD] = msg->method_text,
	    [TRACE_TARGET] = msg->path,
	    [TRACE_HOST] = msg->authority,
	    [TRACE_SCHEME] = req->who.scheme,
	    [TRACE_CLIENT] = view_of(ip, addr_format_ip(req->peer, ip)),
	    [TRACE_PEER] = req->who.peer_ip,
	    [TRACE_AGENT] = agent ? agent->value : VIEW_NONE,
	};
	for (unsigned i = 0; i < ARRAY_LEN(texts); i++)
		put_text(&s, texts[i], text_max[i]);
	put_state(&s, msg);
	if (!buf_append(&ex->worker->pool.bufs, &t->note, s.ptr, s.len)) {
		counter_add(&ex->worker->counters.trace_dropped, 1);
		t->sampled = false;
	}
	scratch_drop(ex->worker, SCRATCH_HEAD);
}

void trace_begin(struct exchange *ex, const struct exchange_request *req, struct message *msg)
{
	struct worker *w = ex->worker;
	const struct conf *conf = ex->gl->gen->conf;
	struct trace *t = slab_get(&w->traces);
	if (!t)
		return;
	memset(t, 0, offsetof(struct trace, backends));
	ex->trace = t;
	t->has_parent = read_parent(msg, &t->context) && may_continue(ex, req);
	if (t->has_parent) {
		memcpy(t->parent_id, t->context.span_id, sizeof(t->parent_id));
	} else {
		drop_state(msg);
		begin_new(ex, t, conf->tracing.sample);
	}
	random_bytes(ex, t->context.span_id, sizeof(t->context.span_id));
	t->sampled = t->context.flags & TRACE_FLAG_SAMPLED;
	t->h2 = msg->h2;
	if (t->sampled)
		note(ex, req, msg);
}

/* Between the first two spaces of the request line. */
static void note_sent(struct exchange *ex, const struct h1_out *out)
{
	struct trace *t = ex->trace;
	struct view line = view_of(out->ptr, out->len);
	ptrdiff_t space = view_chr(line, ' ');
	line = view_skip(line, (size_t)(space + 1));
	space = view_chr(line, ' ');
	char room[2 + 2048 + 1];
	struct str s = str_fixed(room, sizeof(room));
	put_text(&s, view_head(line, space < 0 ? 0 : (size_t)space), text_max[TRACE_SENT]);
	t->has_sent = buf_append(&ex->worker->pool.bufs, &t->note, s.ptr, s.len);
}

void trace_put(struct exchange *ex, struct h1_out *out)
{
	struct trace *t = ex->trace;
	char text[TRACEPARENT_LEN];
	if (t->sampled && !t->has_sent) /* a head may be put together twice */
		note_sent(ex, out);
	traceparent_write(&t->context, text);
	h1_put(out, VIEW("traceparent: "));
	size_t at = out->len + TRACEPARENT_SPAN_AT;
	h1_put(out, view_of(text, sizeof(text)));
	h1_put(out, VIEW("\r\n"));
	t->stamp_at = at <= UINT16_MAX - 16 ? (uint16_t)at : 0;
}

/* ---- attempts ---- */

static struct trace_attempt *slot_of(const struct attempt *at)
{
	struct trace *t = at->ex->trace;
	return at->trace_slot ? &t->attempts[at->trace_slot - 1] : NULL;
}

/* A span id for the attempt; those without a slot share the server's. */
static const uint8_t *take_slot(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct trace *t = ex->trace;
	if (t->n_attempts == TRACE_ATTEMPTS_MAX) {
		t->n_lost++;
		return t->context.span_id;
	}
	struct trace_attempt *slot = &t->attempts[t->n_attempts];
	memset(slot, 0, sizeof(*slot));
	random_bytes(ex, slot->span_id, sizeof(slot->span_id));
	slot->outcome = N_OUTCOMES;
	slot->from_us = clock_us();
	slot->hedge = at == ex->hedge;
	t->backends[t->n_attempts] = at->lease.backend;
	at->trace_slot = ++t->n_attempts;
	return slot->span_id;
}

void trace_attempt(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct trace *t = ex->trace;
	/* what is not sampled has no spans to tell apart */
	const uint8_t *id = t->context.span_id;
	if (t->sampled)
		id = at->trace_slot ? slot_of(at)->span_id : take_slot(at);
	if (!t->stamp_at)
		return;
	if (ex->direct.len)
		hex_write(id, 8, ex->direct.ptr + t->stamp_at);
	else if (ex->req)
		hex_write(id, 8, ex->req->data + ex->req->start + t->stamp_at);
}

void trace_connected(struct attempt *at)
{
	struct trace_attempt *slot = slot_of(at);
	if (slot)
		slot->connected_us = clock_us();
}

void trace_replaced(struct attempt *at)
{
	struct trace_attempt *slot = slot_of(at);
	if (slot)
		slot->replaced = true;
}

void trace_outcome(struct attempt *at, enum outcome outcome)
{
	struct trace_attempt *slot = slot_of(at);
	if (slot)
		slot->outcome = (uint16_t)outcome;
}

void trace_status(struct attempt *at, unsigned status)
{
	struct trace_attempt *slot = slot_of(at);
	if (slot && status >= 200)
		slot->status = (uint16_t)status;
}

void trace_attempt_end(struct attempt *at)
{
	struct trace_attempt *slot = slot_of(at);
	if (!slot)
		return;
	slot->h2 = at->h2 != NULL;
	slot->reused = at->reused;
	slot->sent_us = at->sent_us;
	slot->first_us = at->resp_started ? at->first_byte_us : 0;
	slot->end_us = clock_us();
	at->trace_slot = 0;
}

/* ---- the account ---- */

static void put_known(struct exchange *ex, struct str *s)
{
	const struct conf_route *route = ex->route;
	struct view path = VIEW_NONE;
	if (route)
		path = route->match.path_exact.len ? route->match.path_exact : route->match.path;
	put_text(s, ex->listener->name, NAME_MAX_LEN);
	put_text(s, route ? route->name : VIEW_NONE, NAME_MAX_LEN);
	put_text(s, path, NAME_MAX_LEN);
	put_text(s, ex->view ? ex->view->pool->conf->name : VIEW_NONE, NAME_MAX_LEN);
	put_text(s, view_of(ex->request_id, ex->request_id_len), REQUEST_ID_MAX);
	for (unsigned i = 0; i < ex->trace->n_attempts; i++) {
		put_text(s, ex->trace->backends[i]->name, NAME_MAX_LEN);
		put_text(s, ex->trace->backends[i]->address_text, NAME_MAX_LEN);
	}
}

static struct trace_record record_of(const struct exchange *ex)
{
	const struct trace *t = ex->trace;
	struct trace_record r;
	memset(&r, 0, sizeof(r)); /* its holes are copied as well */
	r.n_attempts = t->n_attempts;
	r.n_lost = t->n_lost;
	r.has_parent = t->has_parent;
	r.h2 = t->h2;
	r.backend_tls = ex->view && ex->view->pool->conf->tls.on;
	r.version_minor = ex->client_minor;
	r.context = t->context;
	memcpy(r.parent_id, t->parent_id, sizeof(r.parent_id));
	r.status = ex->status;
	r.outcome = (uint16_t)ex->outcome;
	r.retries = ex->n_retries;
	r.start_us = ex->start_us;
	r.end_us = ex->last_byte_us;
	r.queue_us = ex->queue_us;
	r.connect_us = ex->connect_us;
	r.client_us = ex->client_us + ex->upload_us;
	r.bytes_in = ex->bytes_in;
	r.bytes_out = ex->bytes_out;
	return r;
}

static void write_record(struct exchange *ex)
{
	static const uint16_t none;
	struct worker *w = ex->worker;
	struct trace *t = ex->trace;
	struct trace_record r = record_of(ex);
	scratch_take(w, SCRATCH_FRONT);
	struct str s = str_fixed(w->from_backend.base, TRACE_RECORD_MAX);
	str_put(&s, &r, sizeof(r));
	str_put(&s, t->attempts, t->n_attempts * sizeof(t->attempts[0]));
	str_view(&s, buf_view(t->note));
	if (!t->has_sent)
		str_put(&s, &none, sizeof(none));
	put_known(ex, &s);
	uint32_t len = (uint32_t)s.len;
	memcpy(s.ptr + offsetof(struct trace_record, len), &len, sizeof(len));
	if (s.overflow || !ring_put(w->trace_ring, str_as_view(&s)))
		counter_add(&w->counters.trace_dropped, 1u + t->n_attempts);
	scratch_drop(w, SCRATCH_FRONT);
}

void trace_end(struct exchange *ex)
{
	struct worker *w = ex->worker;
	struct trace *t = ex->trace;
	if (t->sampled)
		write_record(ex);
	buf_put(&w->pool.bufs, t->note);
	ex->trace = NULL;
	slab_put(&w->traces, t);
}
