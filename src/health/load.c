/* SPDX-License-Identifier: MIT */
/* Asking backends for their load (prequal): one kept connection each. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/net/socket.h"

#define HEAD_MAX 4096
#define BODY_MAX (64 * 1024)

/* One question for so many requests; the shortest and the longest time between two. */
#define REQUESTS_EACH 10
#define BUSY_US 10000
#define IDLE_US 1000000

/* Questions without a report in a row that are worth an event. */
#define LOST_ROW 5

static const struct h1_limits limits = {
    .head_bytes = HEAD_MAX,
    .line_bytes = HEAD_MAX,
    .n_headers = HEADERS_MAX,
};

struct load_probe {
	struct stream stream;
	struct timer due, late;
	struct health_target *target; /* owns this */
	struct tls_client *tls;       /* borrows from its pool until the next load_follow */
	struct str request;           /* owns */
	uint64_t interval_us, timeout_us;
	struct buf *in; /* of a head that is not complete; owns */
	struct h1_body body;
	bool asked, has_head, keep;
	unsigned lost_row;
};

static struct load_probe *probe_of(struct stream *stream)
{
	return container_of(stream, struct load_probe, stream);
}

static struct prober *prober_of(const struct load_probe *p)
{
	return &p->target->health->prober;
}

static void disconnect(struct load_probe *p)
{
	timer_clear(&p->late);
	stream_close(&p->stream);
	buf_put(&prober_of(p)->bufs, p->in);
	p->in = NULL;
	p->asked = p->has_head = false;
}

/* Picks go by weir's own counts then, which are never wrong, only incomplete. */
static void lose(struct load_probe *p, const char *why)
{
	char what[BACKEND_REASON_MAX];
	disconnect(p);
	p->target->facts.n_loads_lost++;
	target_tell(p->target);
	if (++p->lost_row != LOST_ROW)
		return;
	struct str text = str_fixed(what, sizeof(what));
	str_printf(&text, "asked for its load %d times in vain: %s", LOST_ROW, why);
	target_note(p->target, what);
}

static void report(struct load_probe *p, struct view value)
{
	if (!pool_note_report(p->target->backend, value, clock_us())) {
		lose(p, "endpoint-load-metrics has no named_metrics.rif, or is malformed");
		return;
	}
	p->target->facts.n_loads++;
	target_tell(p->target);
	if (p->lost_row >= LOST_ROW)
		target_note(p->target, "says its load again");
	p->lost_row = 0;
}

/* ---- the answer ---- */

static void answered(struct load_probe *p)
{
	if (!p->keep) {
		disconnect(p);
		return;
	}
	timer_clear(&p->late);
	p->asked = p->has_head = false;
}

/* Nobody needs the body, but the next answer comes after it. */
static void skip_body(struct load_probe *p, char *ptr, size_t len)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&p->body, ptr, len, &piece, &why);
	if (result == H1_OK && piece.consumed == len)
		answered(p);
	else if (result != H1_MORE || p->body.state == H1_BODY_TRAILERS)
		disconnect(p); /* what it had to say was in the head */
}

static void take_head(struct load_probe *p, struct message *head, char *rest, size_t len)
{
	struct view value;
	p->has_head = true;
	p->keep = head->keep_alive;
	h1_body_init(&p->body, head, &limits, BODY_MAX);
	if (head->status < 200 || head->status > 299 || !message_load_report(head, &value)) {
		lose(p, "the answer has no endpoint-load-metrics, or its status is not 2xx");
		return;
	}
	report(p, value);
	struct buf *in = p->in; /* `rest` lies there */
	struct prober *prober = prober_of(p);
	p->in = NULL;
	if (stream_is_open(&p->stream))
		skip_body(p, rest, len);
	buf_put(&prober->bufs, in);
}

static void read_head(struct load_probe *p)
{
	struct message *head = &prober_of(p)->head;
	enum reject why;
	for (;;) {
		struct view in = buf_view(p->in);
		switch (h1_parse_response(in, &limits, METHOD_GET, head, &why)) {
		case H1_BAD:
			lose(p, reject_sentence(why));
			return;
		case H1_MORE:
			return;
		case H1_OK:
			break;
		}
		if (head->status >= 200 || head->status == 101) {
			take_head(p, head, p->in->data + p->in->start + head->head_len,
				  p->in->len - head->head_len);
			return;
		}
		buf_take(p->in, head->head_len);
	}
}

static void on_readable(struct stream *stream)
{
	struct load_probe *p = probe_of(stream);
	struct prober *prober = prober_of(p);
	size_t n;
	enum io io = stream_read(stream, prober->scratch, sizeof(prober->scratch), &n);
	if (io == IO_WAIT)
		return;
	if (io != IO_OK && p->asked && !p->has_head)
		lose(p, "the connection broke");
	else if (io != IO_OK || !p->asked) /* a kept connection ends, or says what nobody asked */
		disconnect(p);
	else if (p->has_head)
		skip_body(p, prober->scratch, n);
	else if (!buf_append(&prober->bufs, &p->in, prober->scratch, n))
		lose(p, "the response head is too large");
	else
		read_head(p);
}

/* ---- the question ---- */

static void ask(struct load_probe *p)
{
	if (stream_write(&p->stream, p->request.ptr, p->request.len) == IO_ERR)
		lose(p, "the connection broke");
}

static void on_connected(struct stream *stream, enum err err)
{
	struct load_probe *p = probe_of(stream);
	if (err)
		lose(p, err_text(err));
	else
		ask(p);
}

static void on_drained(struct stream *stream)
{
	(void)stream;
}

static void on_broken(struct stream *stream)
{
	lose(probe_of(stream), "the connection broke");
}

static const struct stream_events events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

static void on_late(struct timer *timer)
{
	lose(container_of(timer, struct load_probe, late), "no answer within prequal.timeout");
}

static bool begin_tls(struct load_probe *p)
{
	const struct addr *addr = &p->target->backend->address;
	char ip[ADDR_IP_TEXT_MAX];
	struct view host = addr_is_unix(addr) ? VIEW("") : view_of(ip, addr_format_ip(addr, ip));
	void *state = tls_connect(p->tls, host, NULL);
	if (state)
		stream_secure(&p->stream, &transport_tls_client, state);
	return state != NULL;
}

static void connect_and_ask(struct load_probe *p)
{
	struct health *h = p->target->health;
	bool connected;
	int fd;
	enum err err = socket_connect(&p->target->backend->address, &fd, &connected);
	if (err) {
		lose(p, err_text(err));
		return;
	}
	if (connected)
		stream_open(&p->stream, h->loop, &h->prober.bufs, fd, &events, 0);
	else
		stream_open_connecting(&p->stream, h->loop, &h->prober.bufs, fd, &events, 0);
	if (p->target->pool->send_proxy)
		check_send_proxy(&p->stream, p->target->pool->send_proxy);
	if (p->tls && !begin_tls(p))
		lose(p, "no memory for TLS");
	else if (connected && !p->tls)
		ask(p);
}

/* More or less 5 %, so that backends do not fall into step. */
static uint64_t next_us(const struct load_probe *p)
{
	double rate =
	    (double)atomic_load_explicit(&p->target->backend->rate_milli, memory_order_relaxed) /
	    1000;
	uint64_t us = rate > 0 ? (uint64_t)(REQUESTS_EACH * 1e6 / rate) : IDLE_US;
	if (rate > 0 && us > p->interval_us)
		us = p->interval_us;
	if (us < BUSY_US)
		us = BUSY_US;
	return us - us / 20 + us / 10 * (rng_next(&p->target->health->rng) >> 48) / 65536;
}

static void on_due(struct timer *timer)
{
	struct load_probe *p = container_of(timer, struct load_probe, due);
	struct loop *loop = p->target->health->loop;
	enum backend_state state = backend_state(p->target->backend);
	loop_timer(loop, &p->due, next_us(p));
	if (state != BACKEND_up && state != BACKEND_unknown) {
		disconnect(p);
		return;
	}
	if (p->asked)
		return;
	p->asked = true;
	loop_timer(loop, &p->late, p->timeout_us);
	if (stream_is_open(&p->stream))
		ask(p);
	else
		connect_and_ask(p);
}

/* ---- life ---- */

static struct load_probe *probe_new(struct health_target *t)
{
	struct load_probe *p = calloc(1, sizeof(*p));
	check(p != NULL);
	p->target = t;
	p->stream.io.fd = -1;
	p->due.fn = on_due;
	p->late.fn = on_late;
	loop_timer(t->health->loop, &p->due, BUSY_US + rng_next(&t->health->rng) % IDLE_US / 5);
	return p;
}

void load_follow(struct health_target *t, const struct conf_pool *conf, struct tls_client *tls)
{
	struct load_probe *p = t->load ? t->load : (t->load = probe_new(t));
	const struct backend *b = t->backend;
	struct view host = addr_is_unix(&b->address) ? VIEW("localhost") : b->address_text;
	disconnect(p);
	str_fini(&p->request);
	p->request = (struct str)STR_INIT;
	str_printf(&p->request,
		   "GET " VIEW_FMT " HTTP/1.1\r\nHost: " VIEW_FMT
		   "\r\nUser-Agent: weir/" WEIR_VERSION " (load)\r\n\r\n",
		   VIEW_ARG(conf->prequal.path), VIEW_ARG(host));
	check(!p->request.overflow);
	p->tls = tls;
	p->interval_us = conf->prequal.interval_us;
	p->timeout_us = conf->prequal.timeout_us;
}

void load_stop(struct health_target *t)
{
	struct load_probe *p = t->load;
	if (!p)
		return;
	disconnect(p);
	timer_del(&p->due);
	timer_del(&p->late);
	str_fini(&p->request);
	free(p);
	t->load = NULL;
}
