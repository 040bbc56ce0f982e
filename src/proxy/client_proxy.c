/* SPDX-License-Identifier: MIT */
/*
 * The PROXY header of a connection from listeners[].proxy_protocol.from: read
 * before anything else, TLS included, and not one byte further.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "client_h1.h"

#include "weir/base/check.h"
#include "weir/base/log.h"
#include "weir/net/tls.h"

bool client_proxy_expected(const struct conf_listener *conf, const struct addr *peer)
{
	return conf->proxy_protocol.on &&
	       cidr_any(conf->proxy_protocol.from.rows, conf->proxy_protocol.from.n, peer);
}

void client_proxy_refuse(struct client *c, const char *why)
{
	struct worker *w = c->worker;
	counter_add(&w->counters.proxy_headers_refused, 1);
	if (log_due(&w->proxy_logged_us, w->loop.now_us))
		log_warn("listener " VIEW_FMT ": closed a connection from %s: %s",
			 VIEW_ARG(c->conf->name), c->ip, why);
	client_close(c);
}

/* From now on the client is who the header says. */
static void believe(struct client *c, const struct proxy_header *header)
{
	if (header->local)
		return;
	client_set_peer(c, &header->source);
	c->tls_before = header->tls;
}

static bool header_complete(struct client *c, struct view bytes, const struct proxy_header *header)
{
	struct buf_pool *bufs = &c->worker->pool.bufs;
	believe(c, header);
	if (unlikely(c->conf->limits.connections_per_client) && !header->local &&
	    !client_count(c)) {
		client_close(c);
		return false;
	}
	buf_put(bufs, c->in);
	c->in = NULL;
	if (c->gl->gen->sends_proxy && !header->local &&
	    !buf_append(bufs, &c->proxy, bytes.ptr, header->len)) {
		client_close(c);
		return false;
	}
	return true;
}

/* Takes from the socket what was only looked at. */
static bool consume(struct client *c, char *at, size_t n)
{
	return n == 0 || recv(stream_fd(&c->stream), at, n, 0) == (ssize_t)n;
}

bool client_proxy_read(struct client *c)
{
	char *at = c->worker->from_client.data;
	size_t have = c->in ? c->in->len : 0;
	struct proxy_header header;
	const char *why;
	if (have)
		memcpy(at, buf_view(c->in).ptr, have);
	ssize_t n = recv(stream_fd(&c->stream), at + have, PROXY_HEADER_MAX - have, MSG_PEEK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		client_close(c);
		return false;
	}
	struct view bytes = view_of(at, have + (size_t)n);
	switch (proxy_parse(bytes, &header, &why)) {
	case PROXY_OK:
		if (consume(c, at + have, header.len - have))
			return header_complete(c, bytes, &header);
		client_close(c);
		break;
	case PROXY_MORE:
		if (!consume(c, at + have, (size_t)n) ||
		    !buf_append(&c->worker->pool.bufs, &c->in, at + have, (size_t)n))
			client_close(c);
		break;
	default:
		client_proxy_refuse(c, why);
	}
	return false;
}

void client_origin(const struct client *c, struct proxy_header *out)
{
	const char *why;
	struct addr own;
	memset(out, 0, sizeof(*out));
	if (c->proxy) /* it was fine once */
		check(proxy_parse(buf_view(c->proxy), out, &why) == PROXY_OK);
	else if (socket_local_addr(stream_fd(&c->stream), &own))
		out->destination = own;
	addr_unpack(&c->peer, &out->source);
	if (c->stream.transport == &transport_plain)
		return;
	const struct tls_info *tls = tls_info(c->stream.transport, c->stream.transport_state);
	out->tls = true;
	out->alpn = stream_alpn(&c->stream);
	out->authority = tls->sni;
}
