/* SPDX-License-Identifier: MIT */
/*
 * The exchange: one request and its response, the unit of everything.  Born and
 * ended on one worker.
 *
 *         ASKING
 *        ^  |   from then on as from NEW
 *        |  v           local answer, error
 *        +--------------------------------------------+
 *        |                                            v
 *   NEW -+-> QUEUED ----> RUNNING ------------------> FLUSH --> ENDED
 *        |    ^  |        ^ |  | |                                ^
 *        |    |  +--------|-|--|-|--------------------------------+
 *        |    +---retry---|-+  | +-----> TUNNEL ------------------+
 *        |                |    v                                  |
 *        +----------------+-- BACKOFF ----------------------------+
 *
 *   NEW         the head is here, nothing decided
 *   ASKING      a filter has to find something out first (asking.h); no more of the body
 *               is taken, nothing of it is answered         that of the filter
 *   GATHERING   from NEW and on as from NEW: the body is gathered first (request_buffer)
 *                                                      body_idle, timeouts.body, limits.body_rate
 *   QUEUED      in the pool queue; no lease            deadline queue.timeout
 *   BACKOFF     no lease, waits before another try        retry.backoff
 *   RUNNING     its attempt (attempt.h) is under way   that of the attempt; retry.hedge.after
 *   TUNNEL      101 relayed, bytes both ways           timeouts.idle
 *   FLUSH       backend done, lease dropped, the client still has to take bytes
 *                                                      write_idle
 *   ENDED       counted and logged; its memory goes when its client has taken note
 *
 * Besides, timeouts.total holds in every state.  An end marks: exchange_end may be called
 * by anybody at any time, the exchange stays where it is until its client's side frees it
 * (exchange_request.ended, at the end of the turn, or in the client's own code).  Once it has
 * ended, whatever the client's side still says to it is ignored.
 *
 *   birth.c           the beginning of any
 *   exchange.c        birth, tunnel, deadlines: what the client's side says
 *   body.c            the request's body
 *   place.c           a backend, or a place in the queue
 *   retry.c           what follows when an attempt is over
 *   end.c             the end
 *   exchange_state.c  states
 */
#ifndef WEIR_PROXY_EXCHANGE_H
#define WEIR_PROXY_EXCHANGE_H

#include "attempt.h"

#include "weir/proxy/generation.h"
#include "weir/route/identity.h"
#include "weir/route/strict.h"

#define EXCHANGE_MAGIC 0x45584331

enum exchange_state {
	EXCHANGE_NEW,
	EXCHANGE_ASKING,
	EXCHANGE_GATHERING,
	EXCHANGE_QUEUED,
	EXCHANGE_BACKOFF,
	EXCHANGE_RUNNING,
	EXCHANGE_TUNNEL,
	EXCHANGE_FLUSH,
	EXCHANGE_ENDED,
};

#define REQUEST_ID_MAX 128

struct asking;
struct exchange;
struct exchange_request;
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
	/* Whether the client can be given this final head or 101; NULL: any. */
	bool (*takes)(const struct exchange *ex, struct message *resp);
	/* 1xx other than 101. */
	enum io (*interim)(struct exchange *ex, struct message *resp);
	/* 101: raw bytes from now on, after exchange_tunnel; not given, it is no tunnel. */
	enum io (*upgrade)(struct exchange *ex, struct message *resp, struct span bytes);
	enum io (*raw)(struct exchange *ex, struct span bytes);
	void (*raw_end)(struct exchange *ex); /* no more raw bytes from the backend */
	/* The request body may flow again. */
	void (*resume)(struct exchange *ex);
	size_t (*pending)(const struct exchange *ex); /* bytes the kernel has not taken */
	size_t (*unsent)(const struct exchange *ex);  /* and those the peer has not */
	/* Who the client is, for the PROXY protocol; borrows until the callback ends. */
	void (*origin)(const struct exchange *ex, struct proxy_header *out);
};

/*
 * Who follows an exchange without a part in it: the other way round it knows nothing of them.
 * No reference to it is left after `ended`.
 */
struct follower {
	/* A piece of the request's body; `complete`: that is all of it. */
	void (*asked)(struct follower *f, struct span body, bool complete);
	/* A piece of the answer's body, as the backend sent it. */
	void (*answered)(struct follower *f, struct span body);
	void (*ended)(struct follower *f);
};

/* As much of a request line as GET /v1/pools/P/slow shows. */
#define EXCHANGE_LINE_MAX 112

struct exchange {
	void *slab_link;      /* only while free */
	struct timer timer;   /* stays filed while free */
	struct attempt first; /* with a timer likewise */
	/* from the rest of `first` to request_id: zeroed for each exchange */
	uint32_t magic;
	enum exchange_state state;
	struct worker *worker;
	const struct client_ops *client_ops;
	const struct client_ops *plain_ops;  /* those of its version, behind a filter's; or NULL */
	struct filter_stream *filter_stream; /* of the response; owns */
	void *client;                        /* the connection, for client_ops */
	void (*ended)(struct exchange *ex);  /* of exchange_request */
	struct gen_local *gl;                /* counted */
	struct gen_local *pools; /* counted; `view` is of this newer one; NULL: of `gl` */
	const struct conf_route *route;
	const struct conf_listener *listener;
	uint64_t total_deadline_us; /* 0: none */

	/* the way to a backend */
	struct pool_view *view;
	struct list link;       /* ENDED: worker->ended; ASKING: worker->asked, or unlinked */
	struct attempt *at;     /* the one that serves the client; never NULL */
	struct attempt *hedge;  /* the other one while it is under way, see src/proxy/hedge.h */
	struct attempt *second; /* beside `first`; either may be either; owns */
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
	uint8_t n_hedges;     /* sent to one more backend at the same time */
	uint64_t hedge_at_us; /* RUNNING: when the answer is late enough for one, 0: never */
	bool client_deadline; /* total_deadline_us is the client's */
	uint16_t stamp_at[2]; /* where in the head what is left is written, 0: nowhere */
	uint16_t n_retries;
	uint16_t n_replaced; /* sent again to the same backend: its kept connection was closed */
	uint8_t stratum;     /* of what is asked, see pool/odd.h */
	bool asks_less;      /* for a part, or for what has changed */

	/* the request */
	struct span direct;        /* head and body still in the receive area; or empty */
	struct buf *req;           /* head and body bytes for sending (again); owns */
	struct buf_queue gathered; /* body bytes that `req` is followed by; owns */
	struct buf *gathered_tail; /* and the trailer section; owns */
	uint64_t gathered_us;      /* of dawdle_us: before there was a backend */
	uint32_t req_head_len;     /* of `req` */
	uint64_t never;            /* of its fields: see message.h */
	enum method method;
	uint8_t client_minor; /* HTTP/1.x of the client */
	bool client_h2;       /* it speaks HTTP/2 */
	bool req_chunked;     /* towards the backend */
	bool req_complete;    /* the whole body has come, and nothing of it is in `gathered` */
	bool replayable;      /* `req` holds everything sent so far */
	bool gathers;         /* what comes of the body goes into `gathered` */
	bool gathered_end;    /* and that is all of it */
	bool te_trailers;     /* the client said TE: trailers */
	bool ends_trailers;   /* its Connection named fields: they may come as trailers */
	bool grpc;            /* errors are told as gRPC does */
	bool wants_json;      /* Accept prefers JSON: error answers */
	bool close_client;    /* the client's connection cannot go on */
	bool wants_upgrade;   /* Upgrade was asked for */
	bool client_eof;      /* TUNNEL: the client ended its direction */
	bool backend_eof;     /* TUNNEL: the backend did */

	/* the response */
	uint16_t status;         /* what the client got; 0: nothing yet */
	struct view rest;        /* FLUSH: of a page of weir's, still to be given */
	bool head_relayed;       /* the client has a final head */
	bool resp_complete;      /* and all of the response */
	bool ends_resp_trailers; /* as ends_trailers */
	uint8_t filter_mark;     /* for the filter of the response */
	uint8_t not_given;       /* why, where it was not the client who left; else OUTCOME_ok */
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
	uint64_t dawdle_us, dawdle_from_us;  /* SENDING: weir waited for it; since, 0: does not */
	uint64_t failed_wait_us;             /* spent waiting in attempts that were repeated */
	uint32_t queue_met;                  /* waiters in the queue when this one joined them */
	uint64_t bytes_in, bytes_out;
	uint64_t body_out;          /* of bytes_out: payload */
	uint64_t in_seen, out_seen; /* bytes_in and body_out before the last event: see bulk.h */
	struct backend *backend;    /* of the last attempt; valid while gl and pools are held */
	struct trace *trace;        /* while tracing is on; owns */
	struct asking *held;        /* ASKING: the head, and who is asked; owns */
	/* its head is at hand, in worker->req: this came with it; else NULL */
	const struct exchange_request *asking;
	struct follower *follower; /* a copy of its request (copy.h); or NULL */
	struct buf *values;        /* of variables, see src/proxy/values.h; owns */
	uint8_t n_values;
	struct buf *note; /* for the access log; owns */
	bool logged;      /* its end is to be in the access log */
	bool is_aside;    /* it has no client: src/proxy/aside.h, or a copy, src/proxy/copy.h */
	bool is_copy;     /* it never comes twice, waits for nobody, and says nothing of health */
	uint16_t note_split; /* where its second part begins */
	uint8_t request_id_len;
	uint8_t line_len; /* 0: `req` has it */
	char request_id[REQUEST_ID_MAX];
	char line[EXCHANGE_LINE_MAX]; /* the beginning of a request line whose `req` was let go */
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
	/*
	 * At the end of the turn in which the exchange has ended: its client takes note of
	 * that (ex->resp_complete: it has a whole response) and calls exchange_free.  May
	 * begin the next exchange.
	 */
	void (*ended)(struct exchange *ex);
	const struct conf_listener *listener;
	const struct addr *peer; /* the client, as far as what proxies say is trusted */
	struct identity who;
	const struct tls_info *tls; /* NULL: no TLS; lives as long as the connection */
	uint64_t start_us;
	uint64_t bytes_in;
	uint64_t body_least; /* so long is a body without a length as far as it is announced */
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
	return attempt_upload_pending(ex->at);
}
/* The client has sent all of its request. */
static inline bool exchange_request_came(const struct exchange *ex)
{
	return ex->req_complete || unlikely(ex->gathered_end);
}
/* ASKING, at the end of a turn: what was asked is known. */
void exchange_go_on(struct exchange *ex);
/* Raw bytes of a tunnel, and their end. */
enum io exchange_raw(struct exchange *ex, struct span bytes);
void exchange_raw_end(struct exchange *ex);
/* The client is gone. */
void exchange_client_gone(struct exchange *ex);
/* It broke off: the backend of a tunnel is told in the same way. */
void exchange_client_reset(struct exchange *ex);
/* Everything the client had pending is out. */
void exchange_client_drained(struct exchange *ex);

/* measure.c: the phases until the answer of a stream began (streaming.h); its end adds nothing. */
void exchange_measure_stream(const struct exchange *ex);
/* measure.c: the phases of an exchange that has ended, into histograms and rings. */
void exchange_measure(struct exchange *ex);

/*
 * Ends it, whatever its state; the first end counts.  A client that can still be told
 * is told, in the words of `detail` if there are any.  What is given back here: the
 * connection, the lease; the exchange itself only by exchange_free.
 */
void exchange_end(struct exchange *ex, enum outcome outcome);
void exchange_refuse(struct exchange *ex, enum outcome outcome, const char *detail);
/* ENDED: its memory goes. */
void exchange_free(struct exchange *ex);
/* Tells the clients' sides of all that have ended. */
void exchange_turn_end(struct worker *w);

static inline bool exchange_is_over(const struct exchange *ex)
{
	return ex->state == EXCHANGE_ENDED;
}

/* What it does, in a word: its state, or that of its attempt. */
const char *exchange_state_name(const struct exchange *ex);

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

/* exchange_state.c, but for exchange_progress, which is with the attempts */
/* timeouts.response and timeouts.idle as they apply to this exchange. */
static inline uint64_t exchange_response_timeout(const struct exchange *ex)
{
	if (unlikely(ex->route->timeouts.response_set))
		return ex->route->timeouts.response_us;
	return ex->view->pool->conf->timeouts.response_us;
}
uint64_t exchange_idle_timeout(const struct exchange *ex);
/* limits.body_bytes of the route, else of the listener; 0: none. */
static inline uint64_t exchange_body_limit(const struct exchange *ex)
{
	if (ex->route && ex->route->limits.body_bytes_set)
		return ex->route->limits.body_bytes;
	return ex->listener->limits.body_bytes;
}
/* The same before there is a route; 0: not known yet, since routes have limits of their own. */
static inline uint64_t body_limit_of_all(const struct worker *w, const struct conf_listener *conf)
{
	return w->gen->gen->limits_bodies ? 0 : conf->limits.body_bytes;
}
/* So long is the body at least; `announced`: of one without a length, by what is here of it. */
static inline uint64_t body_least(const struct message *msg, uint64_t announced)
{
	return msg->body == BODY_LENGTH ? msg->content_length : announced;
}
/* The only way to change its state; sets the deadline that fits. */
void exchange_set_state(struct exchange *ex, enum exchange_state state);
/* The client has the head of 101: what comes from now on goes through. */
static inline void exchange_tunnel(struct exchange *ex)
{
	ex->head_relayed = true;
	exchange_set_state(ex, EXCHANGE_TUNNEL);
}
void exchange_arm(struct exchange *ex);
/* Bytes moved: the deadline begins anew, that of the attempt while it is RUNNING. */
void exchange_progress(struct exchange *ex);
/*
 * A peer that takes bytes slowly is not a peer that stopped: what the kernel still
 * holds counts as well.  Whether the client has taken some since the last look.
 */
bool exchange_client_progress(struct exchange *ex);
/* What it ends with when the client leaves now. */
enum outcome exchange_outcome_gone(const struct exchange *ex);

/* retry.c */
extern const struct attempt_events exchange_attempt_events;

/* filtered.c: the response is over, and what a filter holds for it goes. */
void filtered_end(struct exchange *ex);
/* What filters of responses need of a worker; false: there is no memory. */
bool filtered_prepare(struct worker *w);

/* end.c: an answer of weir itself was given to the client, with this result. */
void exchange_answered(struct exchange *ex, enum io io, enum outcome outcome);
/* The whole response was. */
void exchange_delivered(struct exchange *ex);
/* For status only; this worker alone writes it. */
void exchange_show(struct worker *w);

/* send_proxy.c: how to introduce the client to a backend. */
void send_proxy_intro(const struct exchange *ex, struct upconn_intro *intro);

/* policy.c: what is changed in heads on their way. */
/*
 * First of all: what the client may not say goes, what weir says comes (see
 * weir/route/identity.h), and what is needed later is noted: the request id (made when
 * missing), wants_json.
 */
void policy_take(struct exchange *ex, const struct exchange_request *req, struct message *msg);
bool policy_request(struct exchange *ex, struct h1_out *out);
void policy_response(struct exchange *ex, struct message *resp);
/* response_headers of the route alone, for answers of weir itself. */
void policy_edit_response(struct exchange *ex, struct message *resp);
/* And in trailer sections, parsed into `msg`. */
void policy_request_trailers(struct exchange *ex, struct message *msg);
void policy_response_trailers(struct exchange *ex, struct message *msg);
/* The time as Date says it, put together once a second. */
struct view policy_date(struct worker *w);
/* Max-Forwards counts one less; false: the request ends here (RFC 9110 7.6.2). */
bool policy_max_forwards(struct exchange *ex, struct message *msg);
/* Via names as many weirs as limits.hops allows, or more: it goes round. */
bool policy_is_loop(const struct exchange *ex, struct message *msg);
/* Whether a request for this authority belongs on a connection made for tls->sni. */
bool policy_is_for(const struct tls_info *tls, struct view authority);
/* Content-Type is that of gRPC itself: not of gRPC-Web, which has errors of HTTP. */
bool policy_is_grpc(struct view content_type);
/* Whether an Accept field asks for JSON rather than text. */
bool policy_prefers_json(struct view accept);
/* A request id for answers that belong to no exchange. */
size_t policy_make_id(struct worker *w, char out[REQUEST_ID_MAX]);

#endif
