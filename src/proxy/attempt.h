/* SPDX-License-Identifier: MIT */
/*
 * An attempt: one try of an exchange on one backend.  It holds the lease, the
 * way to the backend (a connection, or a stream of one) and what is known of the
 * response so far.  The exchange embeds its first; a hedge is a second one beside
 * it, with deadlines of its own.
 *
 *                           a kept connection, or one that is shared
 *             +----------------------------------+
 *             |                                  v
 *           IDLE ----> CONNECTING ----------> SENDING -----> WAITING ----> RECEIVING
 *           ^  ^            |                   |               |              |
 *           |  +-- afresh, elsewhere, queued ---+---------------+              |
 *    tried  |               |                   |               |              |
 *    again  |               v                   v               v              |
 *           +------------ OVER <----------------+---------------+--------------+
 *
 *   IDLE        no connection yet, or none any more; what needs no wait is skipped
 *   CONNECTING  the connection is being opened           timeouts.connect
 *   SENDING     request bytes are on their way           timeouts.idle; body_idle while the
 *                                                        client has to send more
 *   WAITING     all of the request is out, nothing of    retry.attempt_timeout, once;
 *               the final response was given on          timeouts.response
 *   RECEIVING   the client has the head, the body        timeouts.idle; write_idle while the
 *               follows; a tunnel is open                client has to take bytes
 *   OVER        connection and lease are let go of
 *
 * What becomes of it is told by events (struct attempt_events), and the exchange
 * decides what follows: an attempt never answers the client or ends an exchange.
 * What happens on the way to the backend goes through struct backend_ops, so that
 * nothing else asks which HTTP version a connection speaks.
 *
 * Thread: the worker of the exchange.
 */
#ifndef WEIR_PROXY_ATTEMPT_H
#define WEIR_PROXY_ATTEMPT_H

#include "weir/http/h1.h"
#include "weir/pool/pool.h"
#include "weir/pool/upconn.h"
#include "weir/proxy/outcome.h"
#include "weir/proxy/worker.h"

struct attempt;
struct exchange;

/* A part of a request body, as payload and as HTTP/1 sends it. */
struct request_part {
	struct span data;
	struct span wire;  /* `data` with its chunk framing, if there is any; or the trailers */
	bool has_trailers; /* only with `end` */
	bool end;
};

/* The backend's side of an attempt, whatever HTTP version the connection speaks. */
struct backend_ops {
	/*
	 * Sends what the exchange has of its request (ex->direct or ex->req): the
	 * attempt is SENDING or WAITING, or over and perhaps begun anew.
	 */
	void (*send)(struct attempt *at);
	/*
	 * More of the body.  IO_WAIT: the rest is kept, client_ops->resume comes.
	 * IO_ERR: the backend takes no more; it may have answered all the same.
	 */
	enum io (*body)(struct attempt *at, const struct request_part *part);
	/* Bytes of a tunnel. */
	enum io (*raw)(struct attempt *at, struct span bytes);
	void (*raw_end)(struct attempt *at);
	size_t (*pending)(const struct attempt *at); /* bytes the kernel has not taken */
	size_t (*unsent)(const struct attempt *at);  /* and those the backend has not */
	/* The response is held back, because the client is slow; and goes on. */
	void (*pause)(struct attempt *at);
	void (*resume)(struct attempt *at);
	/*
	 * Lets go of the connection; `keep`: request and response are whole, it may
	 * be used again.
	 */
	void (*finish)(struct attempt *at, bool keep);
};

enum attempt_state {
	ATTEMPT_IDLE,
	ATTEMPT_CONNECTING,
	ATTEMPT_SENDING,
	ATTEMPT_WAITING,
	ATTEMPT_RECEIVING,
	ATTEMPT_OVER,
};

const char *attempt_state_name(enum attempt_state state);

/* What it tells the exchange, which may begin it anew, let go of it, or end. */
struct attempt_events {
	/* It ended with this outcome; its connection and lease are still held. */
	void (*over)(struct attempt *at, enum outcome outcome);
	/*
	 * It would end so, but can go on: its answer is late (backend_timeout), or of a
	 * status that another backend may spare the client (backend_refused).  True: it
	 * was given up, or begun anew; the caller must not go on with it.
	 */
	bool (*may_end)(struct attempt *at, enum outcome outcome);
	/* Its connection cannot serve it, through no fault of anybody. */
	void (*moved)(struct attempt *at);
	/* It takes more of the request's body. */
	void (*takes_more)(struct attempt *at);
	/* All of the request is out; only told where retry.hedge is on. */
	void (*sent)(struct attempt *at);
	/* The head of an answer is here that is for the client, and there is a second attempt. */
	void (*answered)(struct attempt *at);
};

/* What an attempt says of the backend, beside its lease's fault. */
enum attempt_mark {
	ATTEMPT_UNMARKED,
	ATTEMPT_BUSY, /* it answered that it has too much to do */
	ATTEMPT_LATE, /* cut off by a deadline, when others would have answered */
};

struct attempt {
	void *slab_link;    /* only while free */
	struct timer timer; /* of the state; stays filed while free */
	/* from here on: zeroed for each exchange */
	struct exchange *ex;
	const struct attempt_events *on;
	const struct backend_ops *ops; /* NULL: no connection */
	struct upconn *up;             /* owns while `ops` is set; shared with HTTP/2 */
	struct backend_stream *h2;     /* HTTP/2: owns while `ops` is set */
	struct lease lease;
	struct backend_local *local; /* of the backend; valid while ex->gl is held */
	uint8_t state;               /* enum attempt_state */
	uint8_t mark;                /* enum attempt_mark */
	uint8_t trace_slot;          /* of ex->trace: index + 1 of its span, 0: none */
	uint8_t n_crowded;           /* times that it sought another place: `crowded` */
	bool reused;                 /* the connection served others before */
	/* of this try; attempt_reset forgets them */
	bool crowded;       /* too many connections to its backend are being opened */
	bool made_room;     /* clients were closed for its descriptor */
	bool stale_retried; /* this lease has had its second connection */
	bool late;          /* retry.attempt_timeout is over, and it goes on */
	bool unsent;        /* not one byte of the request went out */
	bool unseen;        /* some did, and the backend did nothing with it */
	bool counted;       /* it is in the backend's request counter */
	bool upload_dead;   /* the backend stopped reading: drop what still comes */
	bool resp_started;  /* a byte of the response has been seen */
	bool resp_keep;     /* the connection may be used again */
	bool may_stream;    /* its answer does not say how long it is */
	bool event_stream;  /* and that it is one */
	uint32_t n_interim; /* responses with 1xx so far */
	struct h1_body resp_body;
	struct buf *resp_in;      /* an incomplete head; owns */
	uint64_t connect_from_us; /* 0: not connecting */
	uint64_t send_from_us;    /* its first part was sent, 0: it went in one piece */
	uint64_t sent_us;         /* request handed to the kernel */
	uint64_t first_byte_us;   /* of the response */
	uint64_t late_us;         /* WAITING: when retry.attempt_timeout is over, 0: never */
	uint64_t give_up_us;      /* WAITING: when timeouts.response is over, 0: not known yet */
	uint64_t silent_us;       /* RECEIVING: when nothing will have come for too long */
	uint64_t look_us;         /* RECEIVING: of the next look, 0: none; see streaming.h */
	uint64_t look_out;        /* ex->body_out at the last one */
};

/* ---- for the exchange ---- */

/* `at` is of a slab, or of an exchange from there; zeroed from `ex` on. */
void attempt_init(struct attempt *at, struct exchange *ex, const struct attempt_events *on);
/* OVER, and to be tried again: forgets all that is known of it. */
void attempt_reset(struct attempt *at);
/* It will be repeated: what it took is kept apart. */
void attempt_keep_times(struct attempt *at);
/* The only way to change its state; sets the deadline that fits. */
void attempt_set_state(struct attempt *at, enum attempt_state state);
/* There was progress: the deadline of its state begins anew. */
void attempt_arm(struct attempt *at);
/* Before the lease goes: tells the pool when this outcome is the backend's doing. */
void attempt_judge(struct attempt *at, enum outcome outcome);
/* Lets go of its connection and keeps the lease: another one is to follow. */
void attempt_disconnect(struct attempt *at);
/*
 * OVER: lets go of the connection and the lease.  `error`: it failed, which says
 * something about the backend only if it was judged so, or by its own answer.
 * More than once is fine.
 */
void attempt_finish(struct attempt *at, bool keep, bool error);

static inline bool attempt_is_over(const struct attempt *at)
{
	return at->state == ATTEMPT_OVER;
}

/* Bytes of the request that wait for the backend to take them. */
static inline size_t attempt_upload_pending(const struct attempt *at)
{
	return at->ops ? at->ops->pending(at) : 0;
}

/* connect.c, with a lease: takes a connection, or opens one, and sends the request. */
void attempt_connect(struct attempt *at, bool may_reuse);

/* ---- for the versions: backend_*.c ---- */

extern const struct stream_events backend_h1_events;
extern const struct backend_ops backend_h1_ops;
void backend_h1_send(struct attempt *at);

/* The request is out for the first time in this attempt. */
static inline void attempt_count(struct attempt *at)
{
	at->unsent = false;
	if (likely(!at->counted)) /* not again for a stale connection */
		counter_add(&at->local->counters.requests, 1);
	at->counted = true;
}
/* It ended.  The exchange may be over after this, or the attempt begun anew. */
void attempt_over(struct attempt *at, enum outcome outcome);
/* The connect of this attempt has ended: sends the request, or is over. */
void attempt_connected(struct attempt *at, enum err err);
/* The connection could not be opened. */
void attempt_connect_failed(struct attempt *at, enum outcome outcome);
/* Its connection takes no further requests, and did nothing with this one. */
void attempt_moved(struct attempt *at);
/* Nothing more is sent: from now on an answer is waited for. */
void attempt_waits(struct attempt *at);
/* The same, because all of the request is out. */
void attempt_sent(struct attempt *at);
/* The first byte of the response is here. */
void attempt_answered(struct attempt *at);
/* Of a gRPC call, 200 so far: trailers, or a head, are in worker->resp and tell how it really went.
 */
void attempt_grpc_status(struct attempt *at);
/*
 * A head is here, an interim one or the final one, in worker->resp.  False when it is
 * not for the client: another backend is asked, because of its status (retry.on); the
 * attempt is over, or was begun anew, and worker->resp let go.
 */
bool attempt_head(struct attempt *at);
/*
 * The head in worker->resp is an interim one: passes it on and lets go of it.  False when it is one
 * too many, or the client is gone: the attempt is over.
 */
bool attempt_interim(struct attempt *at);
/* Why bytes could not be sent, as errno has it: weir or the kernel has no room, and the backend,
 * which waits for them, does nothing wrong. */
bool attempt_lacks_room(void);
/*
 * After bytes were given to the client.  True when reading may go on; false
 * when it is over, or has to wait for the client.
 */
bool attempt_relayed(struct attempt *at, enum io io, bool end);

#endif
