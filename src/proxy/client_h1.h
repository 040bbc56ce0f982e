/* SPDX-License-Identifier: MIT */
/* Private to proxy/: what reading and writing of a client connection share. */
#ifndef WEIR_PROXY_CLIENT_H1_H
#define WEIR_PROXY_CLIENT_H1_H

#include "weir/proxy/client.h"

/* Closes the connection (CLOSED); no exchange may be under way. */
void client_close(struct client *c);
/*
 * Closing while the client still sends would answer its bytes with RST, and RST
 * may overtake the response: ends our direction and reads on for a moment.
 */
void client_linger(struct client *c);
/* How a request on this connection presents itself; `client`: room for an address. */
struct exchange_request client_request(struct client *c, const struct message *msg,
				       struct addr *client);

/* Reads no more of the request until client_ops->resume. */
void client_pause_body(struct client *c);
/* client_ops->ended: keep-alive and the next request, lingering close, or close. */
void client_exchange_ended(struct exchange *ex);

/* The connection's own bytes may come: TLS or requests. */
void client_start(struct client *c);
void client_close(struct client *c);

/* client_proxy.c: whether its peer has to begin with a PROXY header. */
bool client_proxy_expected(const struct conf_listener *conf, const struct addr *peer);
void client_proxy_read(struct client *c);
void client_proxy_refuse(struct client *c, const char *why);

/* The handshake has failed: who has sent plain HTTP gets a 400; the caller closes. */
void client_refuse_plain(struct client *c);

#endif
