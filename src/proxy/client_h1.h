/* SPDX-License-Identifier: MIT */
/* Private to proxy/: what the files of client connections share; client.c unless said. */
#ifndef WEIR_PROXY_CLIENT_H1_H
#define WEIR_PROXY_CLIENT_H1_H

#include "client.h"

#include "weir/base/check.h"

/* By state: the moves that make sense, as bits of the next state. */
extern const uint8_t client_moves[];

/* The only way to change its state. */
static inline void client_set_state(struct client *c, enum client_state state)
{
	check(client_moves[c->state] & (1u << state));
	c->state = (uint8_t)state;
}
/* Who the client is: the socket's peer, or whom a PROXY header names; whether it is believed is
 * what the listener's configuration of now says. */
void client_set_peer(struct client *c, const struct addr *peer);
/* limits.connections_per_client: false: its client has enough; the caller closes. */
bool client_count(struct client *c);
/* A request that never becomes an exchange, because of what it is. */
void client_count_reject(struct client *c, enum reject why);
/* Such a one is answered, with so many bytes: counted, and logged where that is wanted. */
void client_refused(struct client *c, const struct reply_page *page, size_t body_len);
/* Closes the connection (CLOSED); no exchange may be under way. */
void client_close(struct client *c);
/*
 * Closing while the client still sends would answer its bytes with RST, and RST
 * may overtake the response: ends our direction and reads on for a moment.
 */
void client_linger(struct client *c);
/*
 * How a request on this connection presents itself, into `req`, but for ops and ended;
 * `client`: room for an address.
 */
void client_request(struct client *c, const struct message *msg, struct addr *client,
		    struct exchange_request *req);

/* Reads no more of the request until client_ops->resume. */
void client_pause_body(struct client *c);

/* Bytes that came ahead wait in `in`; false: no memory, and the client or its exchange ends. */
bool client_keep_in(struct client *c, const char *ptr, size_t len);

/* client_h1.c: the connection is there, its handshake or its first request comes. */
void client_start(struct client *c);
/* timeouts.header is over and it is not whole. */
void client_head_late(struct client *c);
/* Events of its stream. */
void client_readable(struct stream *stream);
void client_drained(struct stream *stream);
void client_broken(struct stream *stream);

/* client_h1_body.c: the body has bytes, as far as there is room for them. */
void client_read_body(struct client *c);
/* The same of a tunnel. */
void client_read_raw(struct client *c);
/* Its trailer section; IO_ERR when it is refused. */
enum io client_give_trailers(struct client *c, struct view raw);

/* client_proxy.c: whether its peer has to begin with a PROXY header. */
bool client_proxy_expected(const struct conf_listener *conf, const struct addr *peer);
/* More of it may be there.  True: it is whole, and the connection's own bytes may come. */
bool client_proxy_read(struct client *c);
void client_proxy_refuse(struct client *c, const char *why);

/* client_misled.c: the handshake has failed; whoever has sent plain HTTP is told.  The caller
 * closes. */
void client_misled_to_tls(struct client *c);
/* The first bytes are no request because of `why`: or because they are of something else? */
enum reject client_misled(struct client *c, struct view first, enum reject why);

#endif
