/* SPDX-License-Identifier: MIT */
/* One health check: connect, perhaps TLS, ask, judge, within its time. */
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/health/health.h"
#include "weir/net/proxy_protocol.h"
#include "weir/net/socket.h"

const struct check_kind *const check_kinds[] = {
#define CHECK(symbol, keyword, sentence) &check_##symbol,
#include "weir/tbl/checks.def"
#undef CHECK
};

void prober_init(struct prober *p, struct loop *loop,
		 void (*done)(struct health_target *target, const struct check_result *result))
{
	p->loop = loop;
	p->done = done;
	fetcher_init(&p->fetcher, loop);
	buf_pool_init(&p->bufs, 4 * CHECKS_MAX);
	slab_init(&p->checks, sizeof(struct check), CHECKS_MAX);
	tls_local_init(&p->tls, loop, &p->bufs, CHECKS_MAX);
}

void prober_fini(struct prober *p)
{
	fetcher_fini(&p->fetcher);
	tls_local_fini(&p->tls);
	slab_fini(&p->checks);
	buf_pool_fini(&p->bufs);
}

static struct check *check_of(struct stream *stream)
{
	struct check *c = container_of(stream, struct check, stream);
	check_magic(c, CHECK_MAGIC);
	return c;
}

/* ---- the end ---- */

void check_cancel(struct check *c)
{
	check_magic(c, CHECK_MAGIC);
	timer_del(&c->timer);
	if (c->kind->fini)
		c->kind->fini(c);
	stream_close(&c->stream);
	buf_put(&c->prober->bufs, c->in);
	c->in = NULL;
	c->magic = 0;
	*c->running = NULL;
	slab_put(&c->prober->checks, c);
}

PRINTF_LIKE(3, 0) static void finish(struct check *c, bool ok, const char *fmt, va_list ap)
{
	struct prober *p = c->prober;
	struct health_target *target = c->target;
	char reason[BACKEND_REASON_MAX];
	struct str text = str_fixed(reason, sizeof(reason));
	str_vprintf(&text, fmt, ap);
	struct check_result result = {
	    .ok = ok,
	    .local = c->local,
	    .status = c->status,
	    .duration_us = clock_us() - c->began_us,
	    .reason = reason,
	};
	check_cancel(c);
	p->done(target, &result);
}

void check_pass(struct check *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	finish(c, true, fmt, ap);
	va_end(ap);
}

void check_fail(struct check *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	finish(c, false, fmt, ap);
	va_end(ap);
}

static uint64_t deadline_of(const struct check *c)
{
	return c->began_us + c->settings->conf.timeout_us;
}

/* The deadline, or the next time to connect. */
static void arm(struct check *c, bool later)
{
	struct loop *loop = c->prober->loop;
	uint64_t due = deadline_of(c), soon = loop->now_us + STREAM_AGAIN_US;
	timer_set(&loop->timers, &c->timer, later && soon < due ? soon : due);
}

static void on_timeout(struct timer *timer)
{
	struct check *c = container_of(timer, struct check, timer), **running = c->running;
	check_magic(c, CHECK_MAGIC);
	if (c->stream.later && c->prober->loop->now_us < deadline_of(c)) {
		bool later = stream_connect_again(&c->stream, &c->peer);
		if (*running == c)
			arm(c, later);
		return;
	}
	/* an answer that is there in time counts, however busy this thread was since */
	stream_catch_up(&c->stream);
	if (*running != c)
		return;
	uint64_t us = c->settings->conf.timeout_us;
	if (us % 1000000)
		check_fail(c, "timed out after %llu ms %s", (unsigned long long)(us / 1000),
			   c->doing);
	else
		check_fail(c, "timed out after %llu s %s", (unsigned long long)(us / 1000000),
			   c->doing);
}

/* ---- the connection ---- */

static void connect_failed(struct check *c, enum err err)
{
	c->local = err == ERR_FDS || err == ERR_NOMEM;
	if (err == ERR_REFUSED)
		check_fail(c, "connect refused");
	else if (err == ERR_HANDSHAKE || err == ERR_UNTRUSTED)
		check_fail(c, "TLS failed: %s",
			   *stream_why(&c->stream) ? stream_why(&c->stream) : err_text(err));
	else
		check_fail(c, "connect failed: %s", err_text(err));
}

static void on_connected(struct stream *stream, enum err err)
{
	struct check *c = check_of(stream);
	if (err)
		connect_failed(c, err);
	else
		c->kind->begin(c);
}

/* One read an event: what is left brings the next one. */
static void on_readable(struct stream *stream)
{
	struct check *c = check_of(stream);
	char *room = c->prober->scratch;
	size_t n;
	switch (stream_read(stream, room, sizeof(c->prober->scratch), &n)) {
	case IO_OK:
		c->kind->feed(c, room, n);
		break;
	case IO_WAIT:
		break;
	case IO_EOF:
		c->kind->end(c);
		break;
	case IO_ERR:
		check_fail(c, "the connection broke %s: %s", c->doing, strerror(errno));
	}
}

static void on_drained(struct stream *stream)
{
	(void)stream;
}

static void on_broken(struct stream *stream)
{
	struct check *c = check_of(stream);
	check_fail(c, "the connection broke %s: %s", c->doing, strerror(errno));
}

static const struct stream_events events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

bool check_send(struct check *c, const void *ptr, size_t len)
{
	if (stream_write(&c->stream, ptr, len) != IO_ERR)
		return true;
	check_fail(c, "the connection broke while the request was sent: %s", strerror(errno));
	return false;
}

/* The backend's address, with the port of the settings. */
static struct addr address_of(const struct check_job *job)
{
	struct addr addr = *job->address;
	uint16_t port = job->settings->conf.port;
	if (port && addr.sa.sa_family == AF_INET)
		addr.in4.sin_port = htons(port);
	else if (port && addr.sa.sa_family == AF_INET6)
		addr.in6.sin6_port = htons(port);
	return addr;
}

static bool begin_tls(struct check *c, const struct check_job *job)
{
	char ip[ADDR_IP_TEXT_MAX];
	struct view host =
	    addr_is_unix(job->address) ? VIEW("") : view_of(ip, addr_format_ip(job->address, ip));
	void *state = tls_connect(job->tls, host, NULL);
	if (!state)
		return false;
	c->tls = true;
	c->doing = "connecting with TLS";
	stream_secure(&c->stream, &transport_tls_client, state);
	return true;
}

/* The descriptor is there; connected, or about to be. */
static void begin(struct check *c, const struct check_job *job, int fd, bool connected, bool later)
{
	struct prober *p = c->prober;
	bool secure = job->tls && !c->kind->plain;
	if (connected)
		stream_open(&c->stream, p->loop, &p->bufs, fd, &events, 0);
	else if (later)
		stream_open_later(&c->stream, p->loop, &p->bufs, fd, &events, 0);
	else
		stream_open_connecting(&c->stream, p->loop, &p->bufs, fd, &events, 0);
	if (job->send_proxy)
		proxy_send_local(&c->stream, job->send_proxy);
	if (secure && !begin_tls(c, job)) {
		c->local = true;
		check_fail(c, "no memory for TLS");
	} else if (connected && !secure) {
		c->kind->begin(c);
	}
}

bool check_start(struct prober *p, const struct check_job *job)
{
	struct check *c = slab_get(&p->checks);
	if (!c)
		return false;
	memset(&c->magic, 0, sizeof(*c) - offsetof(struct check, magic));
	c->magic = CHECK_MAGIC;
	c->prober = p;
	c->target = job->target;
	c->settings = job->settings;
	c->kind = check_kinds[job->settings->conf.type];
	c->address = job->address_text;
	c->began_us = clock_us();
	c->doing = "connecting";
	c->timer.fn = on_timeout;
	c->stream.io.fd = -1;
	c->running = job->running;
	*c->running = c;
	c->peer = address_of(job);
	bool connected;
	int fd;
	enum err err = socket_connect_or_wait(&c->peer, &fd, &connected);
	arm(c, err == ERR_BUSY);
	if (err && err != ERR_BUSY)
		connect_failed(c, err);
	else
		begin(c, job, fd, connected, err == ERR_BUSY);
	return true;
}
