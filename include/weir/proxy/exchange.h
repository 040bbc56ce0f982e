/* SPDX-License-Identifier: MIT */
/*
 * The exchange: one request and its response, the unit of everything.  Born and
 * ended on one worker.
 *
 *                    local answer, error
 *        +-------------------------------------------+
 *        |                                           v
 *   NEW -+-> QUEUED --> CONNECTING --> SENDING --> FLUSH --> (ended)
 *        |      ^           |  ^          |          ^
 *        |      +--- retry -+--+- retry --+          |
 *        |                  |             v          |
 *        +------------------+--------> WAITING ------+
 *                                         |          |
 *                                         v          |
 *                                      TRANSFER -----+
 *                                         |
 *                                         v
 *                                       TUNNEL --> (ended)
 *
 *   NEW         the head is here, nothing decided
 *   QUEUED      in the pool queue; no lease            deadline queue.timeout
 *   BACKOFF     no lease, waits before another attempt    retry.backoff
 *   CONNECTING  lease taken, connect in progress       timeouts.connect
 *   SENDING     request bytes are on their way         body_idle / timeouts.idle
 *   WAITING     request sent, no final response head   timeouts.response
 *   TRANSFER    response head relayed, body follows    timeouts.idle / write_idle
 *   TUNNEL      101 relayed, bytes both ways           timeouts.idle
 *   FLUSH       backend done, lease dropped, the client still has to take bytes
 *                                                      write_idle
 *
 * Everything that ends it goes through exchange_end with one outcome.
 */
#ifndef WEIR_PROXY_EXCHANGE_H
#define WEIR_PROXY_EXCHANGE_H

#include "weir/proxy/attempt.h"
#include "weir/proxy/generation.h"
#include "weir/route/identity.h"
#include "weir/route/strict.h"

#define EXCHANGE_MAGIC 0x45584331

enum exchange_state {
	EXCHANGE_NEW,
	EXCHANGE_QUEUED,
	EXCHANGE_BACKOFF,
	EXCHANGE_CONNECTING,
	EXCHANGE_SENDING,
	EXCHANGE_WAITING,
	EXCHANGE_TRANSFER,
	EXCHANGE_TUNNEL,
	EXCHANGE_FLUSH,
	EXCHANGE_ENDED,
};

const char *exchange_state_name(enum exchange_state state);

#define REQUEST_ID_MAX 128
/* A longer body of a request that may not be repeated is sent from where it was received. */
#define DIRECT_MIN 2048

struct exchange;
struct trace;

/* The client's side of an exchange, whatever HTTP version it speaks. */
struct client_ops {
	/* Final response head with what is there of the body; `end`: that is all. */
	enum io (*head)(struct exchange *ex, struct message *resp, struct span body, bool end);
	enum io (*data)(struct exchange *ex, struct span body, bool end);
	/*
	 * Whether body bytes of the stream can reach the client by a pipe; the pipe, which
	 * it takes over.  NULL: never.
	 */
	bool (*takes_pipe)(const struct exchange *ex, const struct stream *from);
	enum io (*piped)(struct exchange *ex, struct pipe *pipe);
	/* Ends the body with trailer fields. */
	enum io (*trailers)(struct exchange *ex, const struct message *trailers);
	/* 1xx other than 101. */
	enum io (*interim)(struct exchange *ex, struct message *resp);
	/* 101: raw bytes from now on. */
	enum io (*upgrade)(struct exchange *ex, struct message *resp, struct span bytes);
	enum io (*raw)(struct exchange *ex, struct span bytes);
	void (*raw_end)(struct exchange *ex); /* no more raw bytes from the backend */
	/* The request body may flow again. */
	void (*resume)(struct exchange *ex);
	/*
	 * The exchange is over and its memory gone; `complete`: the client has a
	 * whole response.  May begin the next exchange.
	 */
	void (*ended)(void *client, bool complete);
	size_t (*pending)(const struct exchange *ex); /* bytes the kernel has not taken */
	size_t (*unsent)(const struct exchange *ex);  /* and those the peer has not */
	/* Who the client is, for the PROXY protocol; borrows until the callback ends. */
	void (*origin)(const struct exchange *ex, struct proxy_header *out);
};

struct exchange {
	void *slab_link;    /* only while free */
	struct timer timer; /* stays filed while free */
	/* from here to request_id: zeroed for each exchange */
	uint32_t magic;
	enum exchange_state state;
	struct worker *worker;
	const struct client_ops *client_ops;
	void *client;         /* the connection, for client_ops */
	struct gen_local *gl; /* counted */
	const struct conf_route *route;
	const struct conf_listener *listener;
	uint64_t total_deadline_us; /* 0: none */

	/* the way to a backend */
	struct pool_view *view;
	struct attempt *at; /* the one that serves the client; never NULL */
	struct attempt first;
	struct attempt *hedge; /* a second one beside it, see src/proxy/hedge.h; owns */
	struct waiter waiter;
	struct pool_tried tried;
	uint64_t hash_key;    /* for a hashing strategy; 0: none */
	uint64_t pin_session; /* key of the learned session it belongs to, 0: none */
	uint32_t pin;         /* index + 1 of the backend it is to go to, 0: any */
	uint32_t pin_given;   /* the same as the client brought it */
	bool pin_fresh;       /* the client's cookie need not be renewed */
	bool pin_waits;       /* it waits for its backend to come back (sticky.wait) */
	bool pin_kept;        /* served elsewhere this once: the pin stays */
	bool secure;          /* the client speaks TLS */
	bool has_grpc_timeout;
	bool hedged;          /* there has been a second one */
	uint64_t hedge_us;    /* when the answer is late enough for one, 0: never */
	uint64_t waited_us;   /* WAITING: what earlier steps of the deadline took */
	bool client_deadline; /* total_deadline_us is the client's */
	uint16_t stamp_at[2]; /* where in the head what is left is written, 0: nowhere */
	uint16_t n_retries;
	uint16_t n_replaced; /* sent again to the same backend: its kept connection was closed */
	uint8_t stratum;     /* of what is asked, see pool/odd.h */

	/* the request */
	struct span direct;    /* head and body still in the receive area; or empty */
	struct buf *req;       /* head and body bytes for sending (again); owns */
	uint32_t req_head_len; /* of `req` */
	enum method method;
	uint8_t client_minor; /* HTTP/1.x of the client */
	bool req_chunked;     /* towards the backend */
	bool req_complete;    /* the whole body has come from the client */
	bool replayable;      /* `req` holds everything sent so far */
	bool te_trailers;     /* the client said TE: trailers */
	bool ends_trailers;   /* its Connection named fields: they may come as trailers */
	bool grpc;            /* errors are told as gRPC does */
	bool wants_json;      /* Accept prefers JSON: error answers */
	bool close_client;    /* the client's connection cannot go on */
	bool wants_upgrade;   /* Upgrade was asked for */
	bool wants_websocket; /* to websocket, which HTTP/2 has a way for */
	bool client_eof;      /* TUNNEL: the client ended its direction */
	bool backend_eof;     /* TUNNEL: the backend did */

	/* the response */
	uint16_t status;         /* what the client got; 0: nothing yet */
	bool head_relayed;       /* the client has a final head */
	bool resp_complete;      /* and all of the response */
	bool ends_resp_trailers; /* as ends_trailers */
	bool write_blocked;      /* the client is slow: reading from the backend is paused */
	size_t unsent_mark;      /* bytes the slow side had not taken at the last look */

	/* facts */
	enum outcome outcome;
	uint64_t start_us; /* first request byte */
	uint64_t queue_from_us, queue_us;
	uint64_t connect_us;
	uint64_t last_byte_us;
	uint64_t blocked_from_us, client_us; /* the client read slowly */
	uint64_t upload_us;                  /* it sent slowly */
	uint64_t failed_wait_us;             /* spent waiting in attempts that were repeated */
	uint32_t queue_met;                  /* waiters in the queue when this one joined them */
	uint64_t bytes_in, bytes_out;
	uint64_t body_out;       /* of bytes_out: payload */
	struct backend *backend; /* of the last attempt; valid while gl is held */
	struct trace *trace;     /* while tracing is on; owns */
	struct buf *note;        /* for the access log; owns */
	uint16_t note_split;     /* where its second part begins */
	uint8_t request_id_len;
	char request_id[REQUEST_ID_MAX];
};

/* ---- from the client's side ---- */

/*
 * A new exchange for the request in worker->req.  Routes it and either answers
 * it or begins the first attempt.  `body` is what came with the head, already
 * decoded; `complete` tells whether that is all.  NULL when memory is out (the
 * caller answers 503).  The exchange may have ended when this returns.
 */
struct exchange_request {
	const struct client_ops *ops;
	void *client;
	const struct conf_listener *listener;
	const struct addr *peer; /* the client, as far as what proxies say is trusted */
	struct identity who;
	const struct tls_info *tls; /* NULL: no TLS; lives as long as the connection */
	uint64_t start_us;
	uint64_t bytes_in;
};
struct exchange *exchange_new(struct worker *w, const struct exchange_request *req);
void exchange_begin(struct exchange *ex, const struct exchange_request *req, struct span body,
		    bool complete);

/* More of the body.  IO_WAIT: hold back until client_ops->resume. */
enum io exchange_body(struct exchange *ex, struct span body, bool complete);
/* The last of a chunked body came with trailer fields, parsed into `trailers`. */
enum io exchange_body_trailers(struct exchange *ex, struct message *trailers);
/* How many body bytes may be given to exchange_body at once. */
size_t exchange_body_room(const struct exchange *ex);
/* Bytes of the request that wait for the backend to take them. */
static inline size_t exchange_upload_pending(const struct exchange *ex)
{
	return ex->at->ops ? ex->at->ops->pending(ex->at) : 0;
}
/* Raw bytes of a tunnel, and their end. */
enum io exchange_raw(struct exchange *ex, struct span bytes);
void exchange_raw_end(struct exchange *ex);
/* The request body cannot be read on: refused or timed out. */
void exchange_body_failed(struct exchange *ex, enum outcome outcome, const char *detail);
/* The client is gone. */
void exchange_client_gone(struct exchange *ex);
/* Everything the client had pending is out. */
void exchange_client_drained(struct exchange *ex);

/* measure.c: the phases of an exchange that has ended, into histograms and rings. */
void exchange_measure(struct exchange *ex);

/* Ends it, whatever its state. */
void exchange_end(struct exchange *ex, enum outcome outcome);

/* ---- inside proxy/ ---- */

/* How large heads and trailers of clients may be. */
static inline struct h1_limits head_limits(const struct conf_listener *conf)
{
	return (struct h1_limits){conf->limits.header_bytes, conf->limits.line_bytes,
				  conf->limits.header_count};
}

/* The same for what comes from the backend. */
static inline struct h1_limits response_limits(const struct exchange *ex)
{
	const struct conf_pool *conf = ex->view->pool->conf;
	return (struct h1_limits){.head_bytes = conf->limits.response_header_bytes,
				  .line_bytes = conf->limits.response_header_bytes,
				  .n_headers = conf->limits.response_header_count};
}

/* What is still in the receive area goes to `req`, because it has to wait. */
bool exchange_keep_request(struct exchange *ex);

/* timeouts.response as it applies to this exchange. */
uint64_t exchange_response_timeout(const struct exchange *ex);
void exchange_set_state(struct exchange *ex, enum exchange_state state);
/* Sets the deadline that fits the state. */
void exchange_arm(struct exchange *ex);

/* send_proxy.c: how to introduce the client to a backend. */
void send_proxy_intro(const struct exchange *ex, struct upconn_intro *intro);

/* reply.c: answers of weir itself. */
void reply_error(struct exchange *ex, enum outcome outcome, const char *detail);
void reply_route(struct exchange *ex, const struct exchange_request *req);

/* policy.c: what is changed in heads on their way. */
/*
 * First of all: what the client may not say goes, what weir says comes (see
 * weir/route/identity.h), and what is needed later is noted: the request id (made when
 * missing), wants_json.
 */
void policy_take(struct exchange *ex, const struct exchange_request *req, struct message *msg);
bool policy_request(struct exchange *ex, struct h1_out *out);
void policy_response(struct exchange *ex, struct message *resp);
/* And in trailer sections, parsed into `msg`. */
void policy_request_trailers(struct exchange *ex, struct message *msg);
void policy_response_trailers(struct exchange *ex, struct message *msg);
/* Whether a request for this authority belongs on a connection made for tls->sni. */
bool policy_is_for(const struct tls_info *tls, struct view authority);
/* Whether an Accept field asks for JSON rather than text. */
bool policy_prefers_json(struct view accept);
/* A request id for answers that belong to no exchange. */
size_t policy_make_id(struct worker *w, char out[REQUEST_ID_MAX]);

#endif
