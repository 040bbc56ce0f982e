/* SPDX-License-Identifier: MIT */
/*
 * A client connection.  It speaks HTTP/1 until it turns out to speak HTTP/2:
 * then `h2` has its session and streams (client_h2.c), and the state is HTTP2.
 *
 *            first bytes          head complete
 *   +------+ ----------> +------+ -------------> +------+
 *   | IDLE |             | HEAD |                | BUSY | (one exchange, or its tunnel)
 *   +------+ <---------- +------+                +------+
 *      ^     one read holds it all: IDLE -> BUSY    |
 *      +--------------- keep-alive ------------------+
 *                                                   | close, but the peer may still send
 *                                                   v
 *                                                +--------+
 *                                                | LINGER | --> CLOSED
 *                                                +--------+
 *
 *   PROXY   the peer must say first who the client is (client_proxy.c); the header
 *           so far is in `in`                      timeouts.header
 *   HANDSHAKE  TLS comes before IDLE, see handshake.c    timeouts.handshake
 *   IDLE    nothing of a next request has come       deadline timeouts.keepalive, or max_age
 *           (header for the first request)
 *   HEAD    part of a head is in `in`                timeouts.header, from its first byte
 *   BUSY    the exchange has the deadlines; `in` holds pipelined bytes.  When the client
 *           has ended its direction          timeouts.half_closed, until its answer begins
 *   HTTP2   the session has the deadlines
 *   LINGER  our direction is shut, what comes is thrown away    2 s
 *   CLOSED  the descriptor is closed, nothing refers to it; from any state.  Its memory
 *           goes at the end of the turn, so whoever is still in its functions may ask
 *
 * An idle connection holds no buffer.
 */
#ifndef WEIR_PROXY_CLIENT_H
#define WEIR_PROXY_CLIENT_H

#include "exchange.h"

#include "weir/net/proxy_protocol.h"
#include "weir/net/socket.h"
#include "weir/net/stream.h"

#define CLIENT_MAGIC 0x434c4931

enum client_state {
	CLIENT_PROXY,
	CLIENT_HANDSHAKE,
	CLIENT_IDLE,
	CLIENT_HEAD,
	CLIENT_BUSY,
	CLIENT_HTTP2,
	CLIENT_LINGER,
	CLIENT_CLOSED,
};

/* handshake.c has the diagram. */
enum client_handshake { HANDSHAKE_SILENT, HANDSHAKE_WAITING, HANDSHAKE_SHAKING };

struct client_h2;

enum client_framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct client {
	void *slab_link;    /* only while free */
	struct timer timer; /* stays filed while free */
	uint32_t magic;
	uint8_t state;     /* enum client_state */
	uint8_t handshake; /* enum client_handshake, in HANDSHAKE */
	uint8_t framing;   /* enum client_framing of the response under way */
	uint8_t ip_len;
	bool keep : 1;       /* the connection goes on after this exchange */
	bool trusted : 1;    /* the peer is in trusted_proxies */
	bool tls_before : 1; /* the PROXY header says that the client came over TLS */
	bool body_paused : 1;
	bool half_closed : 1; /* the client has ended its direction: no more requests come */
	bool retired : 1;     /* its listener is gone from the configuration */
	bool watched : 1;     /* worker->hangups has it */
	struct stream stream;
	struct exchange *ex;  /* HTTP/1: the one under way */
	struct client_h2 *h2; /* HTTP/2: owns */
	struct buf *in;       /* incomplete head or pipelined bytes; owns */
	struct buf *proxy;    /* the PROXY header it began with, for backends; owns */
	struct worker *worker;
	struct gen_local *gl; /* counted; whose listener configuration applies */
	const struct conf_listener *conf;
	struct listener *listener;
	union {
		struct h1_body body; /* of the request under way */
		struct list shake;   /* HANDSHAKE: in a list of listener_local, or unlinked */
	};
	uint64_t head_from_us;
	uint32_t n_requests;
	uint32_t counted; /* its slot of per_client.h, 0: none */
	struct addr_packed peer;
	uint64_t id;
	uint64_t opened_us;
	uint64_t expires_us; /* timeouts.max_age is over; UINT64_MAX: never */
	struct list link;    /* worker->all_conns; CLOSED: worker->closed */
	char ip[ADDR_IP_TEXT_MAX];
};

extern const struct client_ops client_h1_ops;

/* Takes over an accepted descriptor; NULL when it is closed already. */
struct client *client_open(struct worker *w, int fd, const struct addr *peer,
			   const struct gen_listener *listener);
/* Requests under way on an HTTP/2 connection. */
uint32_t client_streams(const struct client *c);
/* Who is at the other end, and where it meant to go; borrows from the client. */
void client_origin(const struct client *c, struct proxy_header *out);
/* Nothing more is read of it for now: it is to be known all the same when it is gone. */
void client_watch_gone(struct client *c);
/* It is; for worker->hangups. */
void client_hung_up(void *client);
/* Who has just had an answer may have the next request on its way. */
#define CLIENT_IN_USE_US 1000000

/* How long it may be idle now: timeouts.keepalive, or what is left of its age, if long enough. */
static inline uint64_t client_idle_us(const struct client *c)
{
	uint64_t now = c->worker->loop.now_us, most = c->conf->timeouts.keepalive_us;
	uint64_t until =
	    c->expires_us > now + CLIENT_IN_USE_US ? c->expires_us : now + CLIENT_IN_USE_US;
	return until - now < most ? until - now : most;
}
/* Closes at once; ends a running exchange. */
void client_abort(struct client *c);
/* Closes when there is nothing under way. */
void client_drain(struct client *c);
/* The memory of all that were closed in this turn. */
void client_turn_end(struct worker *w);
/* Follows a new generation: the listener's new configuration, or its absence. */
void client_adopt(struct client *c);

#endif
