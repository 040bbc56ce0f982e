/* SPDX-License-Identifier: MIT */
/* Spans from the workers' rings to the collector: batches, time-outs, another try; never a wait. */
#include "tracer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "otlp.h"
#include "partial.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/file.h"
#include "weir/fetch/resolve.h"
#include "weir/http/retry_after.h"
#include "weir/net/socket.h"
#include "weir/net/stream.h"
#include "weir/proxy/trace_record.h"

#define TRACER_MAGIC 0x54524331
#define WRITE_BYTES (32 * 1024)
#define ANSWER_MAX (64 * 1024)
#define HEADERS_FILE_MAX (16 * 1024)
/* 1 s, 2 s, ... 30 s: half a minute of trying, then fresh spans are worth more. */
#define TRIES_MAX 6
#define BACKOFF_US UINT64_C(1000000)
#define BACKOFF_MAX_US UINT64_C(30000000)
#define RETRY_AFTER_MAX_US UINT64_C(300000000)

/*
 *            a batch        address        connected       all of it          answered
 *   +------+      +---------+     +------------+     +---------+     +---------+
 *   | IDLE | ---> | RESOLVE | --> | CONNECTING | --> | SENDING | --> | WAITING | --> IDLE
 *   +------+      +---------+     +------------+     +---------+     +---------+
 *                  |    ^  |  a kept connection           ^              |
 *                  |    |  +------------------------------+              |
 *                  |    +--- BACKOFF <---- any of them, when it fails ---+
 *                  +--> IDLE after TRIES_MAX: the spans are lost
 *
 *   IDLE        waits for tracing.interval; spans gather in the rings
 *   RESOLVE .. WAITING    one request; all of it has tracing.timeout
 *   BACKOFF     waits before it is sent again
 *
 * RESOLVE comes again out of any of them when a kept connection turns out to be closed.
 */
enum tracer_state {
	TRACER_IDLE,
	TRACER_RESOLVE,
	TRACER_CONNECTING,
	TRACER_SENDING,
	TRACER_WAITING,
	TRACER_BACKOFF,
};

/* What of the configuration it needs, its own copy: it outlives generations. */
struct settings {
	struct arena *arena; /* owns all of it */
	struct conf_tracing conf;
	struct view headers;    /* lines with their CRLF */
	struct tls_client *tls; /* counted; NULL: plain */
};

struct tracer {
	uint32_t magic;
	enum tracer_state state;
	struct control *control;
	struct settings now, next; /* next: of a configuration that is being prepared */
	struct timer timer;
	struct buf_pool bufs;
	struct tls_local tls;
	struct stream stream;
	struct resolve *question;
	bool reused;   /* the connection has served a request */
	bool answered; /* a byte of the answer is here */
	bool cut_last; /* the rings hold more than went into the batch */
	/* the request; owned */
	struct str head, batch;
	size_t sent;
	unsigned n_spans, n_tries;
	uint64_t backoff_us; /* BACKOFF: how long */
	/* the answer */
	struct str in;    /* owned */
	size_t n_payload; /* of the body, at the start of what follows the head */
	bool has_head;
	bool keep;
	uint16_t status;
	uint64_t retry_after_us;
	struct h1_body body;
	struct message msg; /* scratch */
	struct rng rng;
	struct trace_counters {
#define COUNTER(name, sentence) uint64_t name;
#include "weir/tbl/trace_counters.def"
#undef COUNTER
	} counters;
	char why[160]; /* the last failure; empty: the last request was answered well */
	char record[TRACE_RECORD_MAX];
	char scratch[16 * 1024];
};

static const struct h1_limits limits = {
    .head_bytes = 32 * 1024,
    .line_bytes = 16 * 1024,
    .n_headers = HEADERS_MAX,
};

static void begin(struct tracer *t);
static void look(struct tracer *t);

static struct tracer *tracer_of(struct stream *stream)
{
	struct tracer *t = container_of(stream, struct tracer, stream);
	check_magic(t, TRACER_MAGIC);
	return t;
}

/* The only way to change its state; that of a request goes on under its one deadline. */
static void set_state(struct tracer *t, enum tracer_state state)
{
	uint64_t after_us = 0;
	t->state = state;
	if (state == TRACER_IDLE)
		after_us = t->now.conf.interval_us;
	else if (state == TRACER_RESOLVE)
		after_us = t->now.conf.timeout_us;
	else if (state == TRACER_BACKOFF)
		after_us = t->backoff_us;
	/* the loop's time may be old: filling a batch takes a while */
	if (after_us)
		timer_set(&t->control->loop.timers, &t->timer, clock_us() + after_us);
}

/* ---- the batch ---- */

/* One record; 0: the ring is empty. */
static unsigned take_record(struct tracer *t, struct ring *ring, struct otlp *o, uint64_t offset_us)
{
	struct trace_record r;
	if (ring_len(ring) < sizeof(r))
		return 0;
	ring_copy(ring, &r, sizeof(r));
	check(r.len <= sizeof(t->record) && r.len <= ring_len(ring));
	ring_copy(ring, t->record, r.len);
	ring_took(ring, r.len);
	return otlp_add(o, t->record, offset_us);
}

/* Takes from all workers in turn, so that a busy one does not crowd out others. */
static unsigned take_round(struct tracer *t, struct otlp *o, uint64_t offset_us)
{
	unsigned n = 0;
	for (unsigned i = 0; i < t->control->n_workers; i++)
		n += take_record(t, t->control->workers[i]->trace_ring, o, offset_us);
	return n;
}

static void fill(struct tracer *t)
{
	struct otlp o;
	uint64_t offset_us = clock_wall_us() - clock_us();
	unsigned n = 1;
	str_reset(&t->batch);
	otlp_begin(&o, &t->batch, t->now.conf.service);
	t->n_spans = t->n_tries = 0;
	while (t->n_spans < t->now.conf.batch && n) {
		n = take_round(t, &o, offset_us);
		t->n_spans += n;
	}
	t->cut_last = n > 0;
	otlp_end(&o);
	if (t->batch.overflow) { /* no memory: half a batch is none */
		t->counters.spans_lost += t->n_spans;
		t->n_spans = 0;
	}
}

static bool rings_are_empty(const struct tracer *t)
{
	for (unsigned i = 0; i < t->control->n_workers; i++)
		if (t->control->workers[i]->trace_ring &&
		    ring_len(t->control->workers[i]->trace_ring))
			return false;
	return true;
}

/* ---- the end of a request ---- */

static void disconnect(struct tracer *t)
{
	resolve_cancel(t->question);
	t->question = NULL;
	stream_close(&t->stream);
}

/* On to the next one, at once when there is more than fitted. */
static void done(struct tracer *t)
{
	t->n_spans = 0;
	set_state(t, TRACER_IDLE);
	if (t->cut_last)
		look(t);
}

PRINTF_LIKE(2, 3) static void note(struct tracer *t, const char *fmt, ...)
{
	bool first = !t->why[0];
	struct str text = str_fixed(t->why, sizeof(t->why));
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	if (first)
		log_warn("spans cannot be sent to " VIEW_FMT ": %s",
			 VIEW_ARG(t->now.conf.endpoint.text), t->why);
}

static void again(struct tracer *t, uint64_t asked_us)
{
	t->counters.requests_failed++;
	disconnect(t);
	if (++t->n_tries >= TRIES_MAX) {
		t->counters.spans_lost += t->n_spans;
		t->cut_last = false; /* no hurry with the next */
		done(t);
		return;
	}
	uint64_t us = BACKOFF_US << (t->n_tries - 1);
	us = us < BACKOFF_MAX_US ? us : BACKOFF_MAX_US;
	us = us / 2 + rng_next(&t->rng) % (us / 2);
	t->backoff_us = asked_us ? asked_us : us;
	set_state(t, TRACER_BACKOFF);
}

#define FAIL(t, ...)                  \
	do {                          \
		note(t, __VA_ARGS__); \
		again(t, 0);          \
	} while (0)

static void taken(struct tracer *t, struct view body)
{
	struct partial partial;
	partial_parse(body, &partial);
	uint64_t refused = partial.rejected < t->n_spans ? partial.rejected : t->n_spans;
	t->counters.spans_sent += t->n_spans - refused;
	t->counters.spans_refused += refused;
	if (refused) {
		note(t, "the collector refused %llu spans: %s", (unsigned long long)refused,
		     partial.message);
		return;
	}
	if (t->why[0])
		log_info("spans are sent to " VIEW_FMT " again",
			 VIEW_ARG(t->now.conf.endpoint.text));
	t->why[0] = '\0';
}

static bool is_temporary(unsigned status)
{
	return status == 429 || status == 502 || status == 503 || status == 504;
}

static void answered(struct tracer *t)
{
	struct view body = view_of(t->in.ptr, t->n_payload);
	t->counters.requests++;
	if (is_temporary(t->status)) {
		note(t, "the collector answered %u", t->status);
		again(t, t->retry_after_us);
		return;
	}
	if (t->status >= 200 && t->status < 300) {
		taken(t, body);
	} else {
		t->counters.spans_refused += t->n_spans;
		note(t, "the collector answered %u", t->status);
	}
	t->reused = true;
	if (!t->keep)
		disconnect(t);
	done(t);
}

/* ---- the answer ---- */

static uint64_t retry_after(struct message *msg)
{
	struct header *h = message_find(msg, HDR_RETRY_AFTER);
	uint64_t seconds = h ? retry_after_s(h->value, clock_wall_us() / 1000000) : 0;
	return seconds < 300 ? seconds * 1000000 : RETRY_AFTER_MAX_US;
}

static void read_body(struct tracer *t, char *ptr, size_t len)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&t->body, ptr, len, &piece, &why);
	if (result == H1_BAD) {
		FAIL(t, "the collector's answer is malformed: %s", reject_sentence(why));
		return;
	}
	memmove(t->in.ptr + t->n_payload, piece.data.ptr, piece.data.len);
	t->n_payload += piece.data.len;
	t->in.len = t->n_payload;
	if (result == H1_OK)
		answered(t);
	else if (t->body.state == H1_BODY_TRAILERS) /* they say nothing to us */
		t->keep = false, answered(t);
}

/* False: more of it has to come, or it was bad. */
static bool read_head(struct tracer *t)
{
	enum reject why;
	for (;;) {
		switch (
		    h1_parse_response(str_as_view(&t->in), &limits, METHOD_POST, &t->msg, &why)) {
		case H1_BAD:
			FAIL(t, "the collector's answer is malformed: %s", reject_sentence(why));
			return false;
		case H1_MORE:
			return false;
		case H1_OK:
			break;
		}
		if (t->msg.status >= 200)
			break;
		if (t->msg.status == 101) {
			FAIL(t, "the collector's answer is malformed: status 101");
			return false;
		}
		t->in.len -= t->msg.head_len; /* an interim one */
		memmove(t->in.ptr, t->in.ptr + t->msg.head_len, t->in.len);
	}
	t->status = t->msg.status;
	t->keep = t->msg.keep_alive;
	t->retry_after_us = retry_after(&t->msg);
	h1_body_init(&t->body, &t->msg, &limits, ANSWER_MAX);
	return true;
}

static void feed(struct tracer *t, const char *ptr, size_t len)
{
	size_t from = t->in.len;
	str_put(&t->in, ptr, len);
	if (t->in.overflow || t->in.len > 2 * ANSWER_MAX) {
		FAIL(t, "the collector's answer is too large");
		return;
	}
	if (!t->has_head) {
		if (!read_head(t))
			return;
		t->has_head = true;
		from = 0;
		t->in.len -= t->msg.head_len;
		memmove(t->in.ptr, t->in.ptr + t->msg.head_len, t->in.len);
	}
	read_body(t, t->in.ptr + from, t->in.len - from);
}

/* A kept connection may have been closed meanwhile: that says nothing. */
static void broke(struct tracer *t, const char *what)
{
	if (t->state == TRACER_IDLE) {
		disconnect(t);
	} else if (t->reused && !t->answered) {
		disconnect(t);
		begin(t);
	} else {
		FAIL(t, "%s", what);
	}
}

static void on_readable(struct stream *stream)
{
	struct tracer *t = tracer_of(stream);
	size_t n;
	enum io io = stream_read(stream, t->scratch, sizeof(t->scratch), &n);
	if (io == IO_WAIT)
		return;
	if (io == IO_OK && t->state == TRACER_IDLE) {
		disconnect(t); /* nobody asked */
	} else if (io == IO_OK) {
		t->answered = true;
		feed(t, t->scratch, n);
	} else if (io == IO_EOF && t->has_head && h1_body_may_end(&t->body)) {
		t->keep = false;
		answered(t);
	} else {
		broke(t, io == IO_EOF ? "the collector closed the connection" : strerror(errno));
	}
}

/* ---- the request ---- */

static void send_more(struct tracer *t)
{
	while (t->sent < t->batch.len) {
		size_t left = t->batch.len - t->sent, n = left < WRITE_BYTES ? left : WRITE_BYTES;
		enum io io = stream_write(&t->stream, t->batch.ptr + t->sent, n);
		if (io == IO_ERR) {
			broke(t, strerror(errno));
			return;
		}
		t->sent += n;
		if (io == IO_WAIT)
			return;
	}
	set_state(t, TRACER_WAITING);
}

static void send_head(struct tracer *t)
{
	const struct conf_endpoint *e = &t->now.conf.endpoint;
	bool v6 = view_chr(e->host, ':') >= 0;
	str_reset(&t->head);
	str_printf(&t->head, "POST " VIEW_FMT " HTTP/1.1\r\nHost: %s" VIEW_FMT "%s:%u\r\n",
		   VIEW_ARG(e->path), v6 ? "[" : "", VIEW_ARG(e->host), v6 ? "]" : "", e->port);
	str_printf(&t->head,
		   "User-Agent: weir/" WEIR_VERSION "\r\nContent-Type: application/json\r\n"
		   "Content-Length: %zu\r\n" VIEW_FMT "\r\n",
		   t->batch.len, VIEW_ARG(t->now.headers));
	set_state(t, TRACER_SENDING);
	t->sent = t->n_payload = 0;
	t->answered = t->has_head = false;
	str_reset(&t->in);
	if (t->head.overflow || stream_write(&t->stream, t->head.ptr, t->head.len) == IO_ERR)
		broke(t, strerror(errno));
	else
		send_more(t);
}

static void on_connected(struct stream *stream, enum err err)
{
	struct tracer *t = tracer_of(stream);
	if (err == ERR_HANDSHAKE || err == ERR_UNTRUSTED)
		FAIL(t, "TLS failed: %s", *stream_why(stream) ? stream_why(stream) : err_text(err));
	else if (err)
		FAIL(t, "connect failed: %s", err_text(err));
	else
		send_head(t);
}

static void on_drained(struct stream *stream)
{
	struct tracer *t = tracer_of(stream);
	if (t->state == TRACER_SENDING)
		send_more(t);
}

static void on_broken(struct stream *stream)
{
	broke(tracer_of(stream), strerror(errno));
}

static const struct stream_events events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

static void connect_to(struct tracer *t, const struct addr *addr)
{
	bool connected;
	int fd;
	enum err err = socket_connect(addr, &fd, &connected);
	if (err) {
		FAIL(t, "connect failed: %s", err_text(err));
		return;
	}
	set_state(t, TRACER_CONNECTING);
	t->reused = false;
	if (connected)
		stream_open(&t->stream, &t->control->loop, &t->bufs, fd, &events, 0);
	else
		stream_open_connecting(&t->stream, &t->control->loop, &t->bufs, fd, &events, 0);
	if (t->now.tls) {
		void *state = tls_connect(t->now.tls, t->now.conf.endpoint.host, NULL);
		if (state)
			stream_secure(&t->stream, &transport_tls_client, state);
		else
			FAIL(t, "no memory for TLS");
	} else if (connected) {
		send_head(t);
	}
}

static void on_resolved(void *arg, const struct addr *addrs, size_t n)
{
	struct tracer *t = arg;
	t->question = NULL;
	if (n)
		connect_to(t, &addrs[0]);
	else
		FAIL(t, "the name " VIEW_FMT " has no address",
		     VIEW_ARG(t->now.conf.endpoint.host));
}

/* The batch that is there goes out, on the connection that is there or a new one. */
static void begin(struct tracer *t)
{
	const struct conf_endpoint *e = &t->now.conf.endpoint;
	struct addr addr;
	char text[300];
	struct str s = str_fixed(text, sizeof(text));
	set_state(t, TRACER_RESOLVE);
	if (stream_is_open(&t->stream)) {
		send_head(t);
		return;
	}
	str_printf(&s, view_chr(e->host, ':') >= 0 ? "[" VIEW_FMT "]:%u" : VIEW_FMT ":%u",
		   VIEW_ARG(e->host), e->port);
	if (addr_parse(str_as_view(&s), &addr)) {
		connect_to(t, &addr);
		return;
	}
	t->question = resolve_begin(&t->control->loop, e->host, e->port, on_resolved, t);
	if (!t->question)
		FAIL(t, "no thread to look up " VIEW_FMT, VIEW_ARG(e->host));
}

static void look(struct tracer *t)
{
	if (t->now.conf.on)
		fill(t);
	if (t->n_spans)
		begin(t);
	else if (t->now.conf.on)
		set_state(t, TRACER_IDLE);
}

static void on_timer(struct timer *timer)
{
	struct tracer *t = container_of(timer, struct tracer, timer);
	check_magic(t, TRACER_MAGIC);
	if (t->state == TRACER_IDLE)
		look(t);
	else if (t->state == TRACER_BACKOFF)
		begin(t);
	else
		FAIL(t, "the collector took longer than tracing.timeout");
}

/* ---- configuration ---- */

static bool is_field(struct view line)
{
	ptrdiff_t colon = view_chr(line, ':');
	for (ptrdiff_t i = 0; i < colon; i++)
		if (line.ptr[i] <= 0x20 || line.ptr[i] >= 0x7f)
			return false;
	for (size_t i = 0; i < line.len; i++)
		if (((unsigned char)line.ptr[i] < 0x20 && line.ptr[i] != '\t') ||
		    line.ptr[i] == 0x7f)
			return false;
	return colon > 0;
}

/* Lines of the file with the line ends of HTTP. */
static bool read_fields(struct settings *s, struct view text, struct str *why)
{
	struct str fields = STR_INIT;
	bool ok = true;
	for (unsigned n = 1; ok && text.len; n++) {
		ptrdiff_t end = view_chr(text, '\n');
		struct view line = view_head(text, end < 0 ? text.len : (size_t)end);
		text = view_skip(text, line.len + 1);
		line = view_trim(line);
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		ok = line.len == 0 || is_field(line);
		if (!ok) /* without the line: it may be a secret */
			str_printf(why, "'" VIEW_FMT "': line %u is no header field\n",
				   VIEW_ARG(s->conf.headers_file), n);
		if (line.len)
			str_printf(&fields, VIEW_FMT "\r\n", VIEW_ARG(line));
	}
	s->headers = arena_view(s->arena, str_as_view(&fields));
	str_fini(&fields);
	return ok;
}

static bool read_headers(struct settings *s, struct str *why)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct view path = s->conf.headers_file;
	if (!path.len)
		return true;
	bool ok = file_read(path.ptr, HEADERS_FILE_MAX, 0, &text, &reason) == ERR_OK;
	if (ok)
		ok = read_fields(s, str_as_view(&text), why);
	else
		str_printf(why, "'" VIEW_FMT "': cannot be read: " VIEW_FMT "\n", VIEW_ARG(path),
			   VIEW_ARG(str_as_view(&reason)));
	str_fini(&text);
	str_fini(&reason);
	return ok;
}

static bool make_tls(struct tracer *t, struct settings *s, struct str *why)
{
	struct tls_client_options options = {
	    .verify = true, .ca = s->conf.ca, .alpn = VIEW("\x08http/1.1")};
	if (!s->conf.endpoint.tls)
		return true;
	if (tls_local_prepare(&t->tls)) {
		str_text(why, "no memory for TLS\n");
		return false;
	}
	s->tls = tls_client_new(&t->tls, &options, why);
	if (!s->tls)
		str_char(why, '\n');
	return s->tls != NULL;
}

static void settings_fini(struct settings *s)
{
	tls_client_put(s->tls);
	arena_free(s->arena);
	*s = (struct settings){.arena = NULL};
}

static bool settings_make(struct tracer *t, const struct conf_tracing *conf, struct settings *s,
			  struct str *why)
{
	*s = (struct settings){.arena = arena_new(), .conf = *conf};
	s->conf.endpoint.text = arena_view(s->arena, conf->endpoint.text);
	s->conf.endpoint.host = arena_view(s->arena, conf->endpoint.host);
	s->conf.endpoint.path = arena_view(s->arena, conf->endpoint.path);
	s->conf.service = arena_view(s->arena, conf->service);
	s->conf.headers_file = arena_view(s->arena, conf->headers_file);
	s->conf.ca = arena_view(s->arena, conf->ca);
	if (read_headers(s, why) && make_tls(t, s, why))
		return true;
	settings_fini(s);
	return false;
}

static bool make_rings(struct control *control)
{
	for (unsigned i = 0; i < control->n_workers; i++) {
		struct worker *w = control->workers[i];
		if (w->trace_ring)
			continue;
		struct ring *ring = aligned_alloc(WEIR_CACHE_LINE, sizeof(*ring));
		if (!ring || !ring_init(ring, TRACE_RING_BYTES)) {
			free(ring);
			return false;
		}
		w->trace_ring = ring;
	}
	return true;
}

enum err tracer_prepare(struct tracer *t, const struct conf *conf, struct str *why)
{
	t->next = (struct settings){.arena = NULL};
	if (!conf->tracing.on)
		return ERR_OK;
	if (!settings_make(t, &conf->tracing, &t->next, why))
		return ERR_IO;
	if (make_rings(t->control))
		return ERR_OK;
	tracer_cancel(t);
	str_text(why, "no memory for tracing\n");
	return ERR_NOMEM;
}

void tracer_cancel(struct tracer *t)
{
	settings_fini(&t->next);
}

/* What is under way begins anew with the new settings, unless they are none. */
void tracer_commit(struct tracer *t)
{
	disconnect(t);
	settings_fini(&t->now);
	t->now = t->next;
	t->next = (struct settings){.arena = NULL};
	timer_clear(&t->timer);
	if (!t->now.conf.on) {
		t->counters.spans_lost += t->n_spans;
		t->n_spans = 0;
	}
	t->state = TRACER_IDLE;
	if (t->n_spans)
		begin(t);
	else if (t->now.conf.on)
		set_state(t, TRACER_IDLE);
}

bool tracer_is_done(struct tracer *t)
{
	if (t->now.conf.on && t->state == TRACER_IDLE && !rings_are_empty(t))
		look(t);
	return t->state == TRACER_IDLE || t->state == TRACER_BACKOFF;
}

/* ---- life ---- */

struct tracer *tracer_new(struct control *control)
{
	struct tracer *t = calloc(1, sizeof(*t));
	check(t != NULL);
	t->magic = TRACER_MAGIC;
	t->control = control;
	t->timer.fn = on_timer;
	t->stream.io.fd = -1;
	t->head = t->batch = t->in = STR_INIT;
	rng_init(&t->rng, rng_entropy());
	buf_pool_init(&t->bufs, 16);
	tls_local_init(&t->tls, &control->loop, &t->bufs, 2);
	return t;
}

void tracer_free(struct tracer *t)
{
	if (!t)
		return;
	disconnect(t);
	timer_del(&t->timer);
	settings_fini(&t->now);
	tls_local_fini(&t->tls);
	buf_pool_fini(&t->bufs);
	str_fini(&t->head);
	str_fini(&t->batch);
	str_fini(&t->in);
	t->magic = 0;
	free(t);
}

void tracer_status(const struct tracer *t, struct arena *arena, struct admin_status *out)
{
	const struct admin_counter rows[] = {
#define COUNTER(name, sentence) {#name, sentence, t->counters.name},
#include "weir/tbl/trace_counters.def"
#undef COUNTER
	};
	struct admin_counter *copy = arena_array(arena, ARRAY_LEN(rows), sizeof(*copy));
	memcpy(copy, rows, sizeof(rows));
	out->tracing.on = t->now.conf.on;
	out->tracing.endpoint = t->now.conf.endpoint.text;
	out->tracing.why = view_str(t->why);
	out->tracing.counters = copy;
	out->tracing.n_counters = ARRAY_LEN(rows);
	for (unsigned i = 0; i < t->control->n_workers; i++)
		if (t->control->workers[i]->trace_ring)
			out->tracing.waiting_bytes += ring_len(t->control->workers[i]->trace_ring);
}

/* ---- for the process that takes over ---- */

void tracer_pack(const struct tracer *t, struct str *out)
{
#define COUNTER(name, sentence)          \
	pack_view(out, view_str(#name)); \
	pack_u64(out, t->counters.name);
#include "weir/tbl/trace_counters.def"
#undef COUNTER
}

void tracer_unpack(struct unpack *in, struct tracer *t)
{
	while (in->left && !in->bad) {
		struct view of = unpack_view(in);
		uint64_t n = unpack_u64(in);
#define COUNTER(name, sentence)           \
	if (view_eq(of, view_str(#name))) \
		t->counters.name += n;
#include "weir/tbl/trace_counters.def"
#undef COUNTER
	}
}
