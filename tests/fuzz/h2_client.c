/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as those of an HTTP/2 backend, however they are cut: events come only for streams
 * that are open, each ends once, heads and trailers are lines that the HTTP/1 parser judges
 * whole, and what is written meanwhile is well-formed enough for a server's session of
 * nghttp2.  The first byte seeds the cuts and what is done with the streams.
 */
#include "weir/http/h2_client.h"
#include "h1_fuzz.h"
#include "weir/base/rng.h"

#include <nghttp2/nghttp2.h>

#define N_STREAMS 6

struct one {
	struct h2_client_stream st;
	int32_t id;
	size_t to_send;
	bool over; /* no event may come any more */
	bool ended;
};

static struct buf_pool bufs;
static struct h2_budget windows;
static struct h2_client *client;
static struct one streams[N_STREAMS];
static struct message req, parsed, trailers;
static struct rng rng;

static struct one *of(struct h2_client_stream *stream)
{
	struct one *s = (struct one *)stream;
	check(s >= streams && s < streams + N_STREAMS && s->id && !s->over);
	return s;
}

/* Takes it, lets it lie, or has enough. */
static void take(struct one *s, size_t len)
{
	switch (rng_below(&rng, 8)) {
	case 0:
		s->over = true;
		h2_client_reset(client, s->id, H2_CANCEL);
		break;
	case 1:
		break;
	default:
		h2_client_took(client, s->id, &s->st, len);
	}
}

static void on_head(struct h2_client_stream *stream, struct view text, char *body, size_t len,
		    bool end)
{
	const struct h1_limits limits = {H2_CLIENT_HEAD_MAX, H2_CLIENT_HEAD_MAX, HEADERS_MAX};
	struct one *s = of(stream);
	enum reject why;
	enum h1_result result = h1_parse_response(text, &limits, METHOD_GET, &parsed, &why);
	/* never less than a head, never more */
	check(result != H1_MORE && (result == H1_BAD || parsed.head_len == text.len));
	check(!s->ended);
	s->ended = end;
	if (body)
		memset(body, 0, len + H2_CLIENT_BACK);
	take(s, len);
}

static void on_data(struct h2_client_stream *stream, char *body, size_t len, bool end)
{
	struct one *s = of(stream);
	check(!s->ended && (len || end));
	if (body)
		memset(body, 0, len + H2_CLIENT_BACK);
	s->ended = end;
	take(s, len);
}

static void on_trailers(struct h2_client_stream *stream, struct view text)
{
	struct one *s = of(stream);
	check(!s->ended);
	s->ended = true;
	check(text.len == 0 || text.ptr[text.len - 1] == '\n');
}

static size_t on_source(struct h2_client_stream *stream, char *to, size_t cap, bool *end,
			bool *with_trailers)
{
	struct one *s = of(stream);
	size_t n = s->to_send < cap ? s->to_send : cap;
	memset(to, 'b', n);
	s->to_send -= n;
	*end = s->to_send == 0;
	*with_trailers = s->id % 4 == 1;
	return n;
}

static const struct message *on_source_trailers(struct h2_client_stream *stream)
{
	of(stream);
	trailers.n_headers = 1;
	trailers.headers[0] = (struct header){.name = VIEW("x-sum"), .value = VIEW("1")};
	return &trailers;
}

static void on_closed(void *owner, struct h2_client_stream *stream, uint32_t code, enum h2_end end)
{
	check(owner == &bufs);
	(void)code;
	(void)end;
	if (stream)
		of(stream)->over = true;
}

static void on_owner(void *owner)
{
	check(owner == &bufs);
}

static const struct h2_client_events events = {
    .head = on_head,
    .data = on_data,
    .trailers = on_trailers,
    .source = on_source,
    .source_trailers = on_source_trailers,
    .closed = on_closed,
    .settings = on_owner,
    .goaway = on_owner,
};

static void ask(struct one *s)
{
	struct h2_client_request r = {
	    .msg = &req, .scheme = VIEW("http"), .has_body = s->to_send > 0};
	req.method_text = s->to_send ? VIEW("POST") : VIEW("GET");
	req.path = VIEW("/");
	req.authority = VIEW("a");
	s->id = h2_client_request(client, &r, &s->st);
	if (!s->id)
		s->over = true;
}

/* What we say goes to a server that does not mind anything but broken frames. */
static void say(nghttp2_session *server)
{
	static char out[65536];
	ptrdiff_t n;
	while ((n = h2_client_write(client, out, sizeof(out))) > 0)
		check(nghttp2_session_mem_recv(server, (uint8_t *)out, (size_t)n) == n);
}

static bool feed(const unsigned char *bytes, size_t len)
{
	char *room = malloc(len + 2 * H2_CLIENT_BACK);
	check(room != NULL);
	memcpy(room + H2_CLIENT_BACK, bytes, len);
	bool alive = h2_client_read(client, room + H2_CLIENT_BACK, len);
	free(room);
	return alive;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const unsigned char settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
	static nghttp2_session_callbacks *none;
	nghttp2_session *server;
	if (size < 1)
		return 0;
	if (!none) {
		buf_pool_init(&bufs, 1000);
		check(nghttp2_session_callbacks_new(&none) == 0);
	}
	rng_init(&rng, data[0]);
	memset(streams, 0, sizeof(streams));
	windows = (struct h2_budget){.limit = 400000};
	client = h2_client_new(&(struct h2_client_setup){.bufs = &bufs,
							 .on = &events,
							 .owner = &bufs,
							 .window_bytes = 200000,
							 .windows = &windows});
	check(client && nghttp2_session_server_new(&server, none, NULL) == 0);
	bool alive = feed(settings, sizeof(settings));
	for (unsigned i = 0; i < N_STREAMS; i++) {
		streams[i].to_send = i % 2 ? 40000 * i : 0;
		ask(&streams[i]);
	}
	say(server);
	for (size_t at = 1; alive && at < size;) {
		size_t n = 1 + rng_below(&rng, 300);
		n = n < size - at ? n : size - at;
		alive = feed(data + at, n);
		at += n;
		say(server);
	}
	h2_client_goaway(client, H2_NO_ERROR);
	say(server);
	for (unsigned i = 0; i < N_STREAMS; i++)
		h2_client_stream_fini(&streams[i].st);
	check(windows.used == 0);
	h2_client_free(client);
	nghttp2_session_del(server);
	check(buf_pool_live(&bufs) == 0);
	return 0;
}
