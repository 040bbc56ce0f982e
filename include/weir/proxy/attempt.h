/* SPDX-License-Identifier: MIT */
/*
 * An attempt: one try of an exchange on one backend.  It holds the lease, the
 * way to the backend (a connection, or a stream of one) and what is known of the
 * response so far.  The exchange embeds its first; each attempt points back to
 * its exchange, so there may be a second one beside it.
 *
 *   attempt_begin --> lease --> connection --> ops->send --> events of the response
 *                       |           |             |                |
 *                       +-----------+-- failed ---+                |
 *                                       |                          |
 *                        attempt_failed: retry or give up          |
 *                                                                  v
 *                                                           attempt_finish
 *
 * What happens on the way to the backend goes through struct backend_ops, so
 * that nothing else asks which HTTP version a connection speaks.
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
	struct span wire;               /* `data` with its chunk framing, if there is any */
	const struct message *trailers; /* only with `end`; NULL: none */
	bool end;
};

/* The backend's side of an attempt, whatever HTTP version the connection speaks. */
struct backend_ops {
	/*
	 * Sends what the exchange has of its request (ex->direct or ex->req) and
	 * moves the exchange to SENDING or WAITING; or fails the attempt.
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

/* What an attempt says of the backend, beside its lease's fault. */
enum attempt_mark {
	ATTEMPT_UNMARKED,
	ATTEMPT_BUSY, /* it answered that it has too much to do */
	ATTEMPT_LATE, /* cut off by a deadline, when others would have answered */
};

struct attempt {
	struct exchange *ex;
	const struct backend_ops *ops; /* NULL: no connection */
	struct upconn *up;             /* owns while `ops` is set; shared with HTTP/2 */
	struct backend_stream *h2;     /* HTTP/2: owns while `ops` is set */
	struct lease lease;
	struct backend_local *local; /* of the backend; valid while ex->gl is held */
	bool reused;                 /* the connection served others before */
	bool stale_retried;          /* this lease has had its second connection */
	bool stepped_back;           /* its backend opened too many connections: it waited */
	bool made_room;              /* clients were closed for its descriptor */
	bool unsent;                 /* not one byte of the request went out */
	bool counted;                /* it is in the backend's request counter */
	bool upload_dead;            /* the backend stopped reading: drop what still comes */
	bool resp_started;           /* a byte of the response has been seen */
	bool resp_keep;              /* the connection may be used again */
	uint8_t mark;                /* enum attempt_mark */
	uint32_t n_interim;          /* responses with 1xx so far */
	uint8_t trace_slot;          /* of ex->trace: index + 1 of its span, 0: none */
	struct h1_body resp_body;
	struct buf *resp_in;      /* an incomplete head; owns */
	uint64_t connect_from_us; /* 0: not connecting */
	uint64_t send_from_us;    /* its first part was sent, 0: it went in one piece */
	uint64_t sent_us;         /* request handed to the kernel */
	uint64_t first_byte_us;   /* of the response */
};

/* ---- for the exchange ---- */

/* Picks a backend and sends the request. */
void attempt_begin(struct exchange *ex);
/* Waiting for the backend of its pin is over: true when another one has it now. */
bool attempt_elsewhere(struct exchange *ex);
/* Its connection cannot serve it, through no fault of anybody: takes another one. */
void attempt_move(struct attempt *at);
/* The connect of this attempt has ended. */
void attempt_connected(struct attempt *at, enum err err);
/* It failed before any response byte; tries again or gives up. */
void attempt_failed(struct attempt *at, enum outcome outcome);
/* No answer within the time for one attempt: true when it goes on elsewhere. */
bool attempt_moves_on(struct attempt *at);
/* With a lease: takes a connection and sends the request. */
void attempt_connect(struct attempt *at);
/* The back-off is over. */
void attempt_again(struct exchange *ex);
/* Before the lease goes: tells the pool when this outcome is the backend's doing. */
void attempt_judge(struct attempt *at, enum outcome outcome);
/*
 * Lets go of the connection and the lease.  `error`: it failed, which says
 * something about the backend only if it was judged so, or by its own answer.
 */
void attempt_finish(struct attempt *at, bool keep, bool error);

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
/*
 * The head of a final answer is here.  True when it is not for the client: another
 * backend is asked, because of its status (retry.on); the attempt is gone.
 */
bool attempt_retries_status(struct attempt *at, struct message *resp);
/* All of the request is out. */
void attempt_sent(struct attempt *at);
/* The first byte of the response is here. */
void attempt_answered(struct attempt *at);
/* A head is here, an interim one or the final one, in worker->resp. */
void attempt_count_status(struct attempt *at, unsigned status);
/*
 * The head in worker->resp is an interim one: passes it on.  False when it is one too
 * many, or the client is gone: the attempt is over.
 */
bool attempt_interim(struct attempt *at);
/*
 * After bytes were given to the client.  True when reading may go on; false
 * when the exchange is over, moved on, or has to wait for the client.
 */
bool attempt_relayed(struct attempt *at, enum io io, bool end);

#endif
