/* SPDX-License-Identifier: MIT */
/*
 * Any bytes behind a client preface: the session neither breaks nor gives heads
 * that an HTTP/1 backend would read differently; however the bytes are cut.  The
 * first byte seeds the cuts.  Every request is answered with body and trailers,
 * by turns.
 */
#include "weir/http/h2_server.h"
#include "h1_fuzz.h"
#include "weir/base/rng.h"

#define STREAMS_MAX 128

static struct buf_pool bufs;
static struct h2_budget windows = {.limit = 400000};
static struct h2_codec codec;
static struct message req, resp;
static struct h2_stream slots[STREAMS_MAX];
static bool used[STREAMS_MAX];
static unsigned n_answers;

static struct h2_stream *on_open(struct h2_server *s)
{
	(void)s;
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		if (used[i])
			continue;
		used[i] = true;
		h2_stream_init(&slots[i]);
		return &slots[i];
	}
	return NULL;
}

static struct h2_server server;

/* What is passed on must be read by our own HTTP/1 parser as one head. */
static void check_head(struct message *msg)
{
	static char text[H2_LINES_MAX * 2];
	static struct message again;
	const struct h1_limits limits = {sizeof(text), sizeof(text), HEADERS_MAX};
	enum reject why;
	struct h1_out out = h1_out_init(text, sizeof(text));
	h1_put_request_line(&out, msg->method_text, msg->path);
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == HDR_HOST || msg->headers[i].id == HDR_EXPECT ||
		    msg->headers[i].id == HDR_UPGRADE)
			msg->headers[i].drop = true;
	h1_put_header(&out, VIEW("Host"), msg->authority);
	h1_put_headers(&out, msg);
	if (msg->body == BODY_CHUNKED)
		h1_put_header(&out, VIEW("Transfer-Encoding"), VIEW("chunked"));
	h1_put(&out, VIEW("\r\n"));
	check(!out.overflow);
	check_clean(view_of(text, out.len));
	if (msg->n_headers < HEADERS_MAX - 2)
		check(h1_parse_request(view_of(text, out.len), &limits, &again, &why) == H1_OK &&
		      again.head_len == out.len && again.body == msg->body);
}

static void on_request(struct h2_stream *st, const struct h2_request *r)
{
	if (r->why == REJECT_NONE)
		check_head(r->msg);
	resp.n_headers = 1;
	resp.headers[0] = (struct header){.name = VIEW("x-a"), .value = VIEW("b")};
	switch (n_answers++ % 4) {
	case 0:
		h2_server_respond(&server, st, &resp, 200, VIEW("hello"), true);
		break;
	case 1:
		h2_server_respond(&server, st, &resp, 200, VIEW("hello"), false);
		h2_server_trailers(&server, st, &resp);
		break;
	case 2:
		resp.status = 103;
		h2_server_interim(&server, st, &resp);
		break;
	default:
		h2_server_reset(&server, st, H2_CANCEL);
	}
}

static void on_data(struct h2_stream *st, char *ptr, size_t len, bool last)
{
	(void)ptr;
	(void)last;
	h2_server_taken(&server, st, len);
}

static void on_trailers(struct h2_stream *st, struct message *msg, enum reject why)
{
	(void)st;
	(void)msg;
	(void)why;
}

static void on_malformed(struct h2_server *s)
{
	check(s == &server);
}

static void on_nothing(struct h2_stream *st)
{
	check(st >= slots && st < slots + STREAMS_MAX);
}

static void on_closed(struct h2_stream *st)
{
	h2_stream_fini(&server, st);
	used[st - slots] = false;
}

static bool on_flush(struct h2_server *s)
{
	buf_put(&bufs, s->gather);
	s->gather = NULL;
	return true;
}

static struct view on_key(struct h2_server *s)
{
	(void)s;
	return VIEW("AAAAAAAAAAAAAAAAAAAAAA==");
}

static const struct h2_server_events events = {
    .open = on_open,
    .malformed = on_malformed,
    .request = on_request,
    .data = on_data,
    .trailers = on_trailers,
    .end = on_nothing,
    .drained = on_nothing,
    .closed = on_closed,
    .flush = on_flush,
    .key = on_key,
};

static bool feed(const char *bytes, size_t len, uint64_t now)
{
	char *copy = exact_copy(bytes, len);
	bool alive = h2_server_recv(&server, copy, len, now);
	free(copy);
	h2_server_pump(&server);
	h2_server_settle(&server);
	on_flush(&server);
	return alive;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static bool ready;
	const struct h2_settings settings = {
	    {4096, 2048, 50}, 100, 200000, {400, 400, 400, 400, 400, 400, 400}};
	const struct view preface = VIEW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
	struct rng rng;
	if (size < 1)
		return 0;
	if (!ready) {
		buf_pool_init(&bufs, 10000);
		const struct h2_codec parts = {
		    .bufs = &bufs, .windows = &windows, .msg = &req, .trailers = &resp};
		check(h2_codec_init(&codec, &parts) == ERR_OK);
		ready = true;
	}
	rng_init(&rng, data[0]);
	n_answers = data[0];
	check(h2_server_open(&server, &codec, &settings, &events, 1) == ERR_OK);
	bool alive = feed(preface.ptr, preface.len, 1);
	for (size_t at = 1; alive && at < size;) {
		size_t n = 1 + rng_below(&rng, 200);
		n = n < size - at ? n : size - at;
		alive = feed((const char *)data + at, n, at * 1000);
		at += n;
	}
	while (!list_is_empty(&server.streams))
		on_closed(list_first(&server.streams, struct h2_stream, link));
	h2_server_close(&server);
	check(windows.used == 0);
	check(buf_pool_live(&bufs) == 0);
	return 0;
}
