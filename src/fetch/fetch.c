/* SPDX-License-Identifier: MIT */
/*
 * One question: where it goes, and how it is asked; the answer is read in fetch_answer.c.  A fetch
 * that is over is only marked: its memory goes in the loop's next turn, so that whoever is still
 * inside one of its callbacks may look at it.
 */
#include "weir/fetch/fetch.h"

#include <errno.h>
#include <stdlib.h>

#include "question.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/net/proxy_protocol.h"
#include "weir/net/socket.h"

#define WRITE_BYTES (32 * 1024)

static void connect_next(struct fetch *x, const char *why);

/* ---- the answer ---- */

/* A kept connection may have been closed meanwhile: that says nothing. */
static void broke(struct fetch *x, const char *what)
{
	bool again =
	    x->conn->used && !x->answered && (x->req.repeat || method_is_idempotent(x->method));
	if (!again) {
		fetch_fail(x, FETCH_FAILED, "%s", what);
		return;
	}
	conn_close(x->conn);
	x->conn = NULL;
	x->state = FETCH_RESOLVING;
	loop_next_turn(x->fetcher->loop, &x->start);
}

static void on_eof(struct fetch *x)
{
	if (x->state == FETCH_BODY && h1_body_may_end(&x->body)) {
		x->keep = false;
		fetch_answered(x);
	} else if (x->state == FETCH_BODY) {
		fetch_fail(x, FETCH_FAILED, "the answer was cut off");
	} else {
		broke(x, "the connection was closed without an answer");
	}
}

static void on_readable(struct stream *stream)
{
	struct fetch_conn *conn = container_of(stream, struct fetch_conn, stream);
	struct fetcher *f = conn->fetcher;
	struct fetch *x = conn->user;
	size_t n;
	enum io io = stream_read(stream, f->scratch, sizeof(f->scratch), &n);
	if (io == IO_WAIT)
		return;
	if (!x) /* it ends, or says what nobody asked */
		conn_close(conn);
	else if (io == IO_OK)
		fetch_feed(x, f->scratch, n);
	else if (io == IO_EOF)
		on_eof(x);
	else
		broke(x, strerror(errno));
}

/* ---- the question ---- */

static void send_more(struct fetch *x)
{
	while (x->sent < x->out.len) {
		size_t left = x->out.len - x->sent, n = left < WRITE_BYTES ? left : WRITE_BYTES;
		enum io io = stream_write(&x->conn->stream, x->out.ptr + x->sent, n);
		if (io == IO_ERR) {
			broke(x, strerror(errno));
			return;
		}
		x->sent += n;
		if (io == IO_WAIT)
			return;
	}
	x->state = FETCH_WAITING;
}

static void send_request(struct fetch *x)
{
	timer_set(&x->fetcher->loop->timers, &x->timer, x->until_us);
	x->state = FETCH_SENDING;
	x->sent = 0;
	send_more(x);
}

static void on_connected(struct stream *stream, enum err err)
{
	struct fetch *x = container_of(stream, struct fetch_conn, stream)->user;
	if (err == ERR_HANDSHAKE || err == ERR_UNTRUSTED)
		fetch_fail(x, FETCH_NO_TLS, "TLS failed: %s",
			   *stream_why(stream) ? stream_why(stream) : err_text(err));
	else if (err)
		connect_next(x, err_text(err));
	else
		send_request(x);
}

static void on_drained(struct stream *stream)
{
	struct fetch *x = container_of(stream, struct fetch_conn, stream)->user;
	if (x && x->state == FETCH_SENDING)
		send_more(x);
}

static void on_broken(struct stream *stream)
{
	struct fetch_conn *conn = container_of(stream, struct fetch_conn, stream);
	if (conn->user)
		broke(conn->user, strerror(errno));
	else
		conn_close(conn);
}

static const struct stream_events events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

static uint64_t tls_id_of(const struct fetch *x)
{
	return x->url.tls ? tls_client_id(x->req.tls) : 0;
}

static void limit_connect(struct fetch *x)
{
	uint64_t until_us = clock_us() + x->req.connect_us;
	if (x->req.connect_us)
		timer_set(&x->fetcher->loop->timers, &x->timer,
			  until_us < x->until_us ? until_us : x->until_us);
}

/* The address of now is the one before the next. */
static void on_again(struct timer *timer)
{
	struct fetch_conn *conn = container_of(timer, struct fetch_conn, idle);
	const struct fetch *x = conn->user;
	if (stream_connect_again(&conn->stream, &x->addrs[x->next_addr - 1]))
		loop_timer(conn->fetcher->loop, timer, STREAM_AGAIN_US);
}

/* `err`: none, or that it is to be tried again. */
static void open_stream(struct fetch *x, int fd, bool connected, enum err err)
{
	const struct addr *addr = &x->addrs[x->next_addr - 1];
	struct fetcher *f = x->fetcher;
	limit_connect(x);
	x->conn = conn_new(f, x->req.line, str_as_view(&x->place), tls_id_of(x));
	x->conn->user = x;
	x->conn->idle.fn = on_again;
	if (err == ERR_BUSY) {
		stream_open_later(&x->conn->stream, f->loop, &f->bufs, fd, &events, 0);
		loop_timer(f->loop, &x->conn->idle, STREAM_AGAIN_US);
	} else if (connected) {
		stream_open(&x->conn->stream, f->loop, &f->bufs, fd, &events, 0);
	} else {
		stream_open_connecting(&x->conn->stream, f->loop, &f->bufs, fd, &events, 0);
	}
	if (x->req.send_proxy)
		proxy_send_local(&x->conn->stream, x->req.send_proxy);
	if (!x->url.tls) {
		if (connected)
			send_request(x);
		return;
	}
	struct view host = x->req.tls_host.len  ? x->req.tls_host
			   : addr_is_unix(addr) ? VIEW("")
						: x->url.host;
	void *state = tls_connect(x->req.tls, host, NULL);
	if (state)
		stream_secure(&x->conn->stream, &transport_tls_client, state);
	else
		fetch_fail(x, FETCH_FAILED, "no memory for TLS");
}

/* The next address; with none left it failed with `why`, which the last one said. */
static void connect_next(struct fetch *x, const char *why)
{
	conn_close(x->conn);
	x->conn = NULL;
	x->state = FETCH_CONNECTING;
	while (x->next_addr < x->n_addrs) {
		bool connected;
		int fd;
		const struct addr *addr = &x->addrs[x->next_addr++];
		enum err err = socket_connect_or_wait(addr, &fd, &connected);
		if (!err || err == ERR_BUSY) {
			socket_set_keepalive(fd, addr); /* a watch may hear nothing for minutes */
			open_stream(x, fd, connected, err);
			return;
		}
		why = err_text(err);
	}
	fetch_fail(x, FETCH_FAILED, "connect failed: %s", why);
}

static void on_resolved(void *arg, const struct addr *addrs, size_t n)
{
	struct fetch *x = arg;
	x->question = NULL;
	x->n_addrs = n;
	x->next_addr = 0;
	if (n) {
		memcpy(x->addrs, addrs, n * sizeof(*addrs));
		connect_next(x, "");
		return;
	}
	fetch_fail(x, FETCH_NO_NAME, "the name " VIEW_FMT " has no address", VIEW_ARG(x->url.host));
}

/* The address that the request names, or that its host is; false: the host is a name. */
static bool find_literal(const struct fetch *x, struct addr *addr)
{
	char text[300];
	struct str s = str_fixed(text, sizeof(text));
	if (x->req.at.len)
		return addr_parse(x->req.at, addr);
	str_printf(&s, view_chr(x->url.host, ':') >= 0 ? "[" VIEW_FMT "]:%u" : VIEW_FMT ":%u",
		   VIEW_ARG(x->url.host), x->url.port);
	return addr_parse(str_as_view(&s), addr);
}

static void find_address(struct fetch *x)
{
	struct addr addr;
	if (find_literal(x, &addr)) {
		on_resolved(x, &addr, 1);
		return;
	}
	if (x->req.at.len) {
		fetch_fail(x, FETCH_NO_NAME, "'" VIEW_FMT "' is no address", VIEW_ARG(x->req.at));
		return;
	}
	x->question = resolve_begin(x->fetcher->loop, x->url.host, x->url.port, on_resolved, x);
	if (!x->question)
		fetch_fail(x, FETCH_NO_NAME, "no thread to look up " VIEW_FMT,
			   VIEW_ARG(x->url.host));
}

/* False: it cannot be sent at all. */
static bool is_sendable(struct fetch *x)
{
	if (!x->url.host.len)
		fetch_fail(x, FETCH_FAILED, "'" VIEW_FMT "' is no URL of http or https",
			   VIEW_ARG(x->req.url));
	else if (x->url.tls && !x->req.tls)
		fetch_fail(x, FETCH_NO_TLS, "nobody said whom to trust with https");
	else if (x->out.overflow || x->place.overflow)
		fetch_fail(x, FETCH_FAILED, "no memory for the request");
	else
		return true;
	return false;
}

static void on_start(struct deferred *deferred)
{
	struct fetch *x = container_of(deferred, struct fetch, start);
	check_magic(x, FETCH_MAGIC);
	if (!is_sendable(x))
		return;
	x->conn = conn_take(x->fetcher, x->req.line, str_as_view(&x->place), tls_id_of(x));
	if (x->conn) {
		x->conn->user = x;
		send_request(x);
	} else {
		find_address(x);
	}
}

/* An answer that is there in time counts, however busy this thread was since. */
static void on_timeout(struct timer *timer)
{
	struct fetch *x = container_of(timer, struct fetch, timer);
	check_magic(x, FETCH_MAGIC);
	if (x->conn)
		stream_catch_up(&x->conn->stream);
	bool streams = x->state == FETCH_BODY && x->req.piece;
	if (x->state == FETCH_OVER || timer_is_set(timer) || (streams && !x->req.silence_us))
		return;
	if (x->state == FETCH_CONNECTING && clock_us() < x->until_us)
		connect_next(x, "no connection in time");
	else if (streams)
		fetch_fail(x, FETCH_SILENCE, "nothing was heard for %llu ms",
			   (unsigned long long)(x->req.silence_us / 1000));
	else
		fetch_fail(x, FETCH_TIMEOUT, "no whole answer within %llu ms",
			   (unsigned long long)(x->req.timeout_us / 1000));
}

/* ---- the request ---- */

static void put_host(const struct url *url, struct str *out)
{
	bool v6 = view_chr(url->host, ':') >= 0;
	str_printf(out, "%s" VIEW_FMT "%s", v6 ? "[" : "", VIEW_ARG(url->host), v6 ? "]" : "");
	if (url->port != (url->tls ? 443 : 80))
		str_printf(out, ":%u", url->port);
}

static void write_request(struct fetch *x, const struct fetch_request *req)
{
	struct str *out = &x->out;
	str_printf(out, VIEW_FMT " " VIEW_FMT " HTTP/1.1\r\nHost: ", VIEW_ARG(req->method),
		   VIEW_ARG(x->url.path));
	put_host(&x->url, out);
	str_text(out, "\r\nUser-Agent: weir/" WEIR_VERSION "\r\n");
	str_view(out, req->headers);
	if (req->body.len || x->method == METHOD_POST || x->method == METHOD_PUT)
		str_printf(out, "Content-Length: %zu\r\n", req->body.len);
	if (!req->keep)
		str_text(out, "Connection: close\r\n");
	str_text(out, "\r\n");
	str_view(out, req->body);
	str_printf(&x->place, "%u " VIEW_FMT " ", req->send_proxy, VIEW_ARG(req->at));
	put_host(&x->url, &x->place);
}

struct fetch *fetch_begin(struct fetcher *f, const struct fetch_request *req)
{
	struct fetch *x = calloc(1, sizeof(*x));
	check(x != NULL && req->done && (req->piece || req->body_max));
	x->magic = FETCH_MAGIC;
	x->fetcher = f;
	x->req = *req;
	x->req.url = view_own(req->url);
	x->req.at = view_own(req->at);
	x->req.tls_host = view_own(req->tls_host);
	x->req.method = x->req.headers = x->req.body = VIEW_NONE;
	if (req->tls)
		tls_client_get(req->tls);
	x->place = x->out = x->head = x->in = STR_INIT;
	x->method = method_of(req->method);
	x->timer.fn = on_timeout;
	deferred_init(&x->start, on_start);
	list_push_back(&f->running, &x->link);
	if (url_split(x->req.url, &x->url))
		write_request(x, req);
	else
		x->url.host = VIEW_NONE;
	x->until_us = clock_us() + req->timeout_us;
	timer_set(&f->loop->timers, &x->timer, x->until_us);
	loop_next_turn(f->loop, &x->start);
	return x;
}

/* ---- the client ---- */

struct tls_client *fetch_tls_new(struct fetcher *f, const struct fetch_tls_options *options,
				 struct str *why)
{
	struct tls_client_options to = {
	    .verify = !options->trust_all,
	    .ca = options->ca,
	    .sni = options->name,
	    .cert = options->cert,
	    .key = options->key,
	    .alpn = VIEW("\x08http/1.1"),
	};
	return tls_client_new(&f->tls, &to, why);
}

void fetcher_init(struct fetcher *f, struct loop *loop)
{
	f->loop = loop;
	f->n_kept = 0;
	buf_pool_init(&f->bufs, UINT32_MAX); /* few for each fetch: who asks bounds those */
	tls_local_init(&f->tls, loop, &f->bufs, 64);
	list_init(&f->kept);
	list_init(&f->running);
	list_init(&f->over);
	list_init(&f->closed);
	deferred_init(&f->reap, fetch_on_reap);
}

void fetcher_forget(struct fetcher *f)
{
	list_each_safe (it, tmp, &f->kept)
		conn_close(list_entry(it, struct fetch_conn, link));
}

void fetcher_fini(struct fetcher *f)
{
	list_each_safe (it, tmp, &f->running)
		fetch_cancel(list_entry(it, struct fetch, link));
	fetcher_forget(f);
	fetch_reap(f);
	deferred_clear(&f->reap);
	tls_local_fini(&f->tls);
	buf_pool_fini(&f->bufs);
}
