/* SPDX-License-Identifier: MIT */
/* A connection to Redis on the control thread: one is kept, commands are pipelined, none waits
 * long. */
#include "weir/cluster/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"
#include "refusals.h"

#include "weir/base/addr.h"
#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"
#include "weir/base/rng.h"
#include "weir/base/str.h"
#include "weir/fetch/resolve.h"
#include "weir/net/socket.h"
#include "weir/net/stream.h"

#define REDIS_MAGIC 0x52454449
#define PAUSE_US UINT64_C(100000)
#define PAUSE_MAX_US UINT64_C(5000000)
#define WORDS_MAX 2048

enum redis_state {
	REDIS_OFF,
	REDIS_RESOLVE,
	REDIS_CONNECTING,
	REDIS_GREETING,
	REDIS_READY,
	REDIS_PAUSE,
};

struct pending {
	enum redis_topic topic;
	redis_done *done;
	void *arg;
	uint64_t since_us;
};

struct redis {
	uint32_t magic;
	enum redis_state state;
	struct loop *loop;
	redis_ready *ready;
	void *arg;
	struct redis_server server;
	struct resolve *question;
	struct timer timer;
	struct buf_pool bufs;
	struct stream stream;
	redisReader *reader; /* of this connection; owns */
	size_t n_fed;        /* bytes since the last whole answer */
	struct str out;      /* what the stream could not keep; owns */
	size_t sent;
	struct pending pending[REDIS_PENDING_MAX]; /* a ring */
	unsigned first, n_pending;
	unsigned n_failed; /* connections in a row */
	struct rng rng;
	char why[200];
	struct refusals refused;
	char scratch[16 * 1024];
};

static struct redis *redis_of(struct stream *stream)
{
	struct redis *r = container_of(stream, struct redis, stream);
	check_magic(r, REDIS_MAGIC);
	return r;
}

static void set_state(struct redis *r, enum redis_state state)
{
	r->state = state;
}

static void set_deadline(struct redis *r, uint64_t after_us)
{
	timer_set(&r->loop->timers, &r->timer, clock_us() + after_us);
}

/* ---- what is under way ---- */

static void push(struct redis *r, enum redis_topic topic, redis_done *done, void *arg)
{
	unsigned at = (r->first + r->n_pending++) % REDIS_PENDING_MAX;
	r->pending[at] = (struct pending){topic, done, arg, clock_us()};
	if (r->n_pending == 1)
		set_deadline(r, REDIS_TIMEOUT_US);
}

static struct pending pop(struct redis *r)
{
	struct pending p = r->pending[r->first];
	r->first = (r->first + 1) % REDIS_PENDING_MAX;
	r->n_pending--;
	if (!r->n_pending) {
		timer_clear(&r->timer);
	} else {
		uint64_t since_us = r->pending[r->first].since_us;
		timer_set(&r->loop->timers, &r->timer, since_us + REDIS_TIMEOUT_US);
	}
	return p;
}

/* ---- the end of a connection ---- */

static void disconnect(struct redis *r)
{
	resolve_cancel(r->question);
	r->question = NULL;
	stream_close(&r->stream);
	if (r->reader)
		redisReaderFree(r->reader);
	r->reader = NULL;
	str_reset(&r->out);
	r->sent = r->n_fed = 0;
	memset(&r->refused, 0, sizeof(r->refused));
	/* those who are told may ask anew, and are refused: the state says so */
	while (r->n_pending) {
		struct pending p = pop(r);
		p.done(p.arg, NULL);
	}
	timer_clear(&r->timer);
}

static uint64_t pause_us(struct redis *r)
{
	unsigned n = r->n_failed < 6 ? r->n_failed : 6;
	uint64_t us = PAUSE_US << n;
	us = us < PAUSE_MAX_US ? us : PAUSE_MAX_US;
	return us - rng_next(&r->rng) % (us / 4);
}

static void fail(struct redis *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fail(struct redis *r, const char *fmt, ...)
{
	bool first = !r->why[0];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
	if (first)
		log_warn("shared.redis " VIEW_FMT ":%u: %s", VIEW_ARG(r->server.host),
			 r->server.port, r->why);
	set_state(r, REDIS_PAUSE);
	disconnect(r);
	set_deadline(r, pause_us(r));
	r->n_failed++;
}

/* ---- answers ---- */

static void greeted(void *arg, const struct redisReply *reply)
{
	struct redis *r = arg;
	if (!reply)
		return;
	set_state(r, REDIS_READY);
	if (r->why[0])
		log_info("shared.redis " VIEW_FMT ":%u answers again", VIEW_ARG(r->server.host),
			 r->server.port);
	r->why[0] = '\0';
	r->n_failed = 0;
	r->ready(r->arg);
}

/* False: the connection is gone. */
static bool take(struct redis *r, redisReply *reply)
{
	r->n_fed = 0;
	if (!r->n_pending) {
		fail(r, "it said something that nobody had asked");
		return false;
	}
	if (r->state == REDIS_GREETING && reply->type == REDIS_REPLY_ERROR) {
		fail(r, "it refused us: %.150s", reply->str);
		return false;
	}
	struct pending p = pop(r);
	refusals_note(&r->refused, &r->server, p.topic, reply);
	const redisReader *before = r->reader;
	p.done(p.arg, reply);
	return r->reader == before && before != NULL;
}

static void feed(struct redis *r, size_t n)
{
	void *reply = NULL;
	r->n_fed += n;
	if (r->n_fed > REDIS_ANSWER_MAX || redisReaderFeed(r->reader, r->scratch, n) != REDIS_OK) {
		fail(r, "its answer is too large");
		return;
	}
	for (;;) {
		if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
			fail(r,
			     r->reader->err == REDIS_ERR_OOM
				 ? "its answer has a shape that nobody asked for"
				 : "its answer is no RESP: %.100s",
			     r->reader->errstr);
			return;
		}
		if (!reply)
			return;
		bool goes_on = take(r, reply);
		freeReplyObject(reply);
		if (!goes_on)
			return;
	}
}

static void on_readable(struct stream *stream)
{
	struct redis *r = redis_of(stream);
	size_t n;
	enum io io = stream_read(stream, r->scratch, sizeof(r->scratch), &n);
	if (io == IO_OK)
		feed(r, n);
	else if (io != IO_WAIT)
		fail(r, "%s", io == IO_EOF ? "it closed the connection" : strerror(errno));
}

/* ---- commands ---- */

static void send_more(struct redis *r)
{
	while (r->sent < r->out.len) {
		size_t left = r->out.len - r->sent, n = left < BUF_MAX / 2 ? left : BUF_MAX / 2;
		enum io io = stream_write(&r->stream, r->out.ptr + r->sent, n);
		if (io == IO_ERR) {
			fail(r, "%s", strerror(errno));
			return;
		}
		r->sent += n;
		if (io == IO_WAIT)
			return;
	}
	str_reset(&r->out);
	r->sent = 0;
}

static bool say(struct redis *r, enum redis_topic topic, redis_done *done, void *arg,
		const struct view *words, size_t n)
{
	const char *argv[WORDS_MAX];
	size_t lens[WORDS_MAX];
	char *text = NULL;
	if (r->n_pending == REDIS_PENDING_MAX || n > WORDS_MAX || r->out.len > REDIS_ANSWER_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		argv[i] = words[i].ptr ? words[i].ptr : "";
		lens[i] = words[i].len;
	}
	long long len = redisFormatCommandArgv(&text, (int)n, argv, lens);
	if (len < 0)
		return false;
	str_put(&r->out, text, (size_t)len);
	free(text);
	if (r->out.overflow) {
		fail(r, "no memory");
		return false;
	}
	push(r, topic, done, arg);
	if (stream_pending(&r->stream) == 0)
		send_more(r);
	return true;
}

bool redis_ask(struct redis *r, enum redis_topic topic, redis_done *done, void *arg,
	       const struct view *words, size_t n)
{
	return r->state == REDIS_READY && say(r, topic, done, arg, words, n);
}

/* ---- a new connection ---- */

static void greet(struct redis *r)
{
	const struct redis_server *s = &r->server;
	struct view words[3] = {VIEW("PING")};
	size_t n = 1;
	r->reader = flat_reader_new();
	if (!r->reader) {
		fail(r, "no memory");
		return;
	}
	set_state(r, REDIS_GREETING);
	if (s->password.len) {
		words[0] = VIEW("AUTH");
		if (s->username.len)
			words[n++] = s->username;
		words[n++] = s->password;
	}
	(void)say(r, REDIS_PRESENCE, greeted, r, words, n);
}

static void on_connected(struct stream *stream, enum err err)
{
	struct redis *r = redis_of(stream);
	if (err == ERR_HANDSHAKE || err == ERR_UNTRUSTED)
		fail(r, "TLS failed: %s", *stream_why(stream) ? stream_why(stream) : err_text(err));
	else if (err)
		fail(r, "connect failed: %s", err_text(err));
	else
		greet(r);
}

static void on_drained(struct stream *stream)
{
	send_more(redis_of(stream));
}

static void on_broken(struct stream *stream)
{
	fail(redis_of(stream), "%s", strerror(errno));
}

static const struct stream_events events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

static void connect_to(struct redis *r, const struct addr *addr)
{
	bool connected;
	int fd;
	enum err err = socket_connect(addr, &fd, &connected);
	if (err) {
		fail(r, "connect failed: %s", err_text(err));
		return;
	}
	set_state(r, REDIS_CONNECTING);
	if (connected)
		stream_open(&r->stream, r->loop, &r->bufs, fd, &events, 0);
	else
		stream_open_connecting(&r->stream, r->loop, &r->bufs, fd, &events, 0);
	if (r->server.tls) {
		void *state = tls_connect(r->server.tls, r->server.host, NULL);
		if (state)
			stream_secure(&r->stream, &transport_tls_client, state);
		else
			fail(r, "no memory for TLS");
	} else if (connected) {
		greet(r);
	}
}

static void on_resolved(void *arg, const struct addr *addrs, size_t n)
{
	struct redis *r = arg;
	check_magic(r, REDIS_MAGIC);
	r->question = NULL;
	if (n)
		connect_to(r, &addrs[0]);
	else
		fail(r, "the name has no address");
}

static void begin(struct redis *r)
{
	const struct redis_server *s = &r->server;
	struct addr addr;
	char text[300];
	struct str t = str_fixed(text, sizeof(text));
	str_printf(&t, view_chr(s->host, ':') >= 0 ? "[" VIEW_FMT "]:%u" : VIEW_FMT ":%u",
		   VIEW_ARG(s->host), s->port);
	set_state(r, REDIS_RESOLVE);
	set_deadline(r, REDIS_TIMEOUT_US);
	if (addr_parse(str_as_view(&t), &addr)) {
		connect_to(r, &addr);
		return;
	}
	r->question = resolve_begin(r->loop, s->host, s->port, on_resolved, r);
	if (!r->question)
		fail(r, "no thread to look up the name");
}

static void on_timer(struct timer *timer)
{
	struct redis *r = container_of(timer, struct redis, timer);
	check_magic(r, REDIS_MAGIC);
	switch (r->state) {
	case REDIS_OFF:
		break;
	case REDIS_PAUSE:
		begin(r);
		break;
	case REDIS_RESOLVE:
	case REDIS_CONNECTING:
		fail(r, "no connection within 2 s");
		break;
	case REDIS_GREETING:
	case REDIS_READY:
		fail(r, "no answer within 2 s");
		break;
	}
}

/* ---- life ---- */

void redis_follow(struct redis *r, const struct redis_server *server)
{
	set_state(r, REDIS_OFF);
	disconnect(r);
	r->server = *server;
	r->why[0] = '\0';
	r->n_failed = 0;
	if (server->host.len)
		begin(r);
}

void redis_move(struct redis *r, const struct redis_server *server)
{
	r->server = *server;
}

bool redis_is_ready(const struct redis *r)
{
	return r->state == REDIS_READY;
}

bool redis_local(const struct redis *r, struct addr *out)
{
	*out = (struct addr){.len = sizeof(out->in6)};
	return r->state == REDIS_READY && getsockname(r->stream.io.fd, &out->sa, &out->len) == 0 &&
	       (out->sa.sa_family == AF_INET || out->sa.sa_family == AF_INET6);
}

const char *redis_why(const struct redis *r)
{
	return r->why[0] ? r->why : refusals_why(&r->refused);
}

struct redis *redis_new(struct loop *loop, redis_ready *ready, void *arg)
{
	struct redis *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->magic = REDIS_MAGIC;
	r->loop = loop;
	r->ready = ready;
	r->arg = arg;
	r->timer.fn = on_timer;
	r->stream.io.fd = -1;
	r->out = STR_INIT;
	rng_init(&r->rng, rng_entropy());
	buf_pool_init(&r->bufs, 16);
	return r;
}

void redis_free(struct redis *r)
{
	if (!r)
		return;
	set_state(r, REDIS_OFF);
	disconnect(r);
	timer_del(&r->timer);
	buf_pool_fini(&r->bufs);
	str_fini(&r->out);
	r->magic = 0;
	free(r);
}
