/* SPDX-License-Identifier: MIT */
/*
 * Clients that speak what their listener does not: plain HTTP where TLS is due, TLS where it is
 * not, a PROXY header of somebody who is not to send one.  Most often a port or a setting is
 * wrong, so the log and the counters of rejects name it, and whoever can be told is told.
 */
#include <string.h>
#include <sys/socket.h>

#include "client.h"
#include "client_h1.h"

#include "weir/base/log.h"
#include "weir/net/tls.h"

#define DRAIN_BYTES 4096
#define DRAINS 16
#define METHOD_MIN 3
#define METHOD_MAX 16

/* ---- what it is ---- */

/* A word of capitals and a blank, as methods are. */
static bool is_http(struct view first)
{
	size_t n = 0;
	while (n < first.len && n <= METHOD_MAX && first.ptr[n] >= 'A' && first.ptr[n] <= 'Z')
		n++;
	return n >= METHOD_MIN && n <= METHOD_MAX && n < first.len && first.ptr[n] == ' ';
}

/* That it comes in pieces only the TLS library knows, which looks for some methods itself. */
static bool is_said_to_be_http(const char *why)
{
	return why && strcasestr(why, "http") && strcasestr(why, "request");
}

static enum reject found_at_tls(const struct stream *stream)
{
	struct view first = tls_given(stream->transport_state);
	if (proxy_is_begun(first))
		return REJECT_PROXY_UNEXPECTED;
	if (view_starts(first, VIEW("PRI * HTTP/2")))
		return REJECT_PLAIN_HTTP2_AT_TLS;
	return is_http(first) || is_said_to_be_http(stream_why(stream)) ? REJECT_PLAIN_AT_TLS
									: REJECT_NONE;
}

static bool is_client_hello(struct view first)
{
	return first.len > 2 && first.ptr[0] == 0x16 && first.ptr[1] == 0x03;
}

/* ---- who hears of it ---- */

static void log_misled(struct client *c, enum reject why)
{
	struct listener_local *local = &c->listener->local[c->worker->pool.id];
	if (log_due(&local->misled_logged_us, c->worker->loop.now_us))
		log_warn("listener " VIEW_FMT " (%s): refused a connection from %s: %s",
			 VIEW_ARG(c->conf->name), c->listener->text, c->ip, reject_sentence(why));
}

enum reject client_misled(struct client *c, struct view first, enum reject why)
{
	enum reject found = c->n_requests            ? REJECT_NONE
			    : proxy_is_begun(first)  ? REJECT_PROXY_UNEXPECTED
			    : is_client_hello(first) ? REJECT_TLS_AT_PLAIN
						     : REJECT_NONE;
	if (!found)
		return why;
	log_misled(c, found);
	return found;
}

#define SAID "This port speaks TLS: the request came without; use https://.\n"

static const char in_http1[] = "HTTP/1.1 400 Bad Request\r\n"
			       "Content-Type: text/plain\r\n"
			       "Content-Length: 62\r\n"
			       "Connection: close\r\n\r\n" SAID;
/* SETTINGS; GOAWAY of no stream, INADEQUATE_SECURITY, and why (RFC 9113 6.8) */
static const char in_http2[] = "\0\0\0\4\0\0\0\0\0"
			       "\0\0\106\7\0\0\0\0\0"
			       "\0\0\0\0\0\0\0\14" SAID;
_Static_assert(sizeof(SAID) - 1 == 62, "both say how long it is");

static void tell(int fd, struct view text)
{
	char room[DRAIN_BYTES];
	/* what is left unread would have the kernel take the answer back */
	for (int n = 0; n < DRAINS && recv(fd, room, sizeof(room), MSG_DONTWAIT) > 0; n++)
		;
	ssize_t sent = send(fd, text.ptr, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)sent; /* it is told or not: either way the connection ends */
	shutdown(fd, SHUT_WR);
}

void client_misled_to_tls(struct client *c)
{
	enum reject why = found_at_tls(&c->stream);
	if (!why)
		return;
	client_count_reject(c, why);
	log_misled(c, why);
	if (why == REJECT_PLAIN_AT_TLS)
		tell(c->stream.io.fd, view_of(in_http1, sizeof(in_http1) - 1));
	else if (why == REJECT_PLAIN_HTTP2_AT_TLS)
		tell(c->stream.io.fd, view_of(in_http2, sizeof(in_http2) - 1));
}
