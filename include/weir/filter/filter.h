/* SPDX-License-Identifier: MIT */
/*
 * The filter contract: what happens to an exchange between its route and its pool, and
 * to its response on the way back.
 * A filter is one file and one row of tbl/filters.def; a key of a route that is
 * written switches it on, and where nothing is written nothing is asked.
 *
 *   applies  control thread: whether a route's keys switch it on
 *   build    control thread: what it needs for a route, for as long as a generation
 *            lives; NULL with a sentence in `why`
 *   release  control thread: gives that back
 *   request  worker, on the way of a request: no malloc, no lock, no system call.
 *            It reads the head and answers
 *              FILTER_GO_ON   the next filter, then the pool
 *              FILTER_ANSWER  call->answer is for the client, the exchange ends
 *              FILTER_WAIT    it has to ask somebody: the caller keeps the head, and calls
 *                             `begin`
 *              FILTER_ASK     a pool has to be asked: the caller keeps the head and sends
 *                             what call->question says, instead of `begin`
 *
 *   begin    worker, within the same event: asks, and says in what time there must be an
 *            answer (wait->until_us).  FILTER_WAIT: it calls wait->ready once, later, on
 *            this worker; or what is known by now
 *   again    worker, with the head at hand: the answer is there, or the time is over
 *            (`late`; `cancel` came before).  After FILTER_ASK call->heard is what the pool
 *            answered, and FILTER_RELAY gives that to the client.  Neither WAIT nor ASK
 *   cancel   worker: nobody waits any more; wait->ready is not called after this
 *            A filter that never waits has none of these three, one that asks only `again`.
 *
 *   response   worker: the head of the final answer is here, and may be edited; what it
 *            returns stands for the body, NULL: the body goes as it is
 *   transform  worker: a piece of the body comes in, and all of it goes out: nothing waits
 *            for the next piece, so a slow backend's bytes reach the client, and the client's
 *            backpressure reaches the backend
 *   finish     worker: gives that back, once, whether the response is whole or not
 *            At most one filter of the table has these three; they may take memory within a
 *            bound of their own.
 *
 * What a filter says beside that (counters, who was refused) is its own, with one
 * writer for each worker.  Filters know nothing of exchanges, pools and connections:
 * proxy/ asks them.
 */
#ifndef WEIR_FILTER_FILTER_H
#define WEIR_FILTER_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"
#include "weir/filter/passwords.h"
#include "weir/http/message.h"
#include "weir/loop/loop.h"

enum filter_id {
#define FILTER(symbol, where, outcome, sentence) FILTER_##symbol,
#include "weir/tbl/filters.def"
#undef FILTER
	N_FILTERS,
};

enum filter_verdict { FILTER_GO_ON, FILTER_ANSWER, FILTER_WAIT, FILTER_ASK, FILTER_RELAY };

/* Why a client gets an answer: what its exchange ends with. */
enum filter_reason {
	FILTER_REFUSED, /* the outcome of its row */
	FILTER_BUSY,    /* it could not be found out now */
	FILTER_FAILED,  /* who was asked did not answer as it should */
	FILTER_LATE,    /* or not in time */
};

#define FILTER_FIELDS_MAX 8
#define FILTER_ROOM 512

/* What the client gets in place of its answer. */
struct filter_answer {
	uint16_t status;
	enum filter_reason reason;
	const char *sentence; /* of the page; NULL: that of the outcome */
	unsigned n_fields;
	struct header fields[FILTER_FIELDS_MAX];
	struct str room; /* for what is put together, FILTER_ROOM bytes */
	char bytes[FILTER_ROOM];
};

/*
 * A GET for `path` at a pool, about the request at hand: all of its fields, and what it is
 * (X-Forwarded-Method, X-Forwarded-Uri), without its body.
 */
struct filter_question {
	const struct conf_route *route; /* of the filter's state: names the pool and the time */
	struct view path;
};

/* What was answered; the caller's until `again` has led to something. */
struct filter_heard {
	struct message *head; /* NULL: nothing, or nothing that is an answer */
	struct view body;
	uint16_t status; /* what a client is told then: 502, 503, 504 */
	const char *why; /* and the operator; a static sentence */
};

/* One request at one filter; all of it is the caller's until `request` returns. */
struct filter_call {
	void *state; /* of `build` */
	const struct conf_route *route;
	struct message *msg;
	const struct addr *client; /* as far as what proxies say is trusted; len 0: unknown */
	unsigned worker;
	struct loop *loop; /* of the worker */
	uint64_t now_us;
	bool changed; /* fields that others may have noted came or went */
	struct filter_question question;
	const struct filter_heard *heard;
	struct mirror *mirror;       /* of a request that is to be copied; NULL: it is not */
	uint8_t mark;                /* for `response`, which no longer has the request */
	struct filter_answer answer; /* begun by filter_answer_begin */
};

/* What a filter waits for: one of an exchange at a time, from `begin` to `again` or `cancel`. */
struct filter_wait {
	void (*ready)(struct filter_wait *wait); /* the caller's */
	uint64_t until_us;                       /* the filter's, as all below */
	bool result;
	union {
		struct password_wait password;
	} room;
};

struct filter_response {
	const struct conf_route *route;
	struct message *resp;
	uint8_t mark; /* of `request` */
	unsigned worker;
	bool is_head; /* of a HEAD request: no body comes */
	bool end;     /* the body is whole: `len` bytes */
	size_t len;
	char room[256]; /* for a field that is put together */
};

struct filter_stream;

/* FILTER_MORE: `out` is full, the same again.  FILTER_BROKEN: the response cannot go on. */
enum filter_step { FILTER_DONE, FILTER_MORE, FILTER_BROKEN };

/* What comes in, of which the filter takes from the front; where it goes. */
struct filter_piece {
	const char *in;
	size_t in_len;
	bool end; /* of the body */
	char *out;
	size_t cap, len;
};

struct filter {
	const char *name;
	bool (*applies)(const struct conf_route *route);
	void *(*build)(const struct conf *conf, const struct conf_route *route, unsigned n_workers,
		       struct str *why);
	void (*release)(void *state);
	enum filter_verdict (*request)(struct filter_call *call);
	enum filter_verdict (*begin)(struct filter_call *call, struct filter_wait *wait);
	enum filter_verdict (*again)(struct filter_call *call, struct filter_wait *wait, bool late);
	void (*cancel)(struct filter_wait *wait);
	struct filter_stream *(*response)(struct filter_response *response); /* or NULL */
	enum filter_step (*transform)(struct filter_stream *stream, struct filter_piece *piece);
	void (*finish)(struct filter_stream *stream);
};

#define FILTER_ROW(symbol) .name = #symbol

/* In the order of the table. */
const struct filter *filter_at(enum filter_id id);

/* An answer without fields yet. */
void filter_answer_begin(struct filter_call *call, unsigned status, const char *sentence);
/* A field whose value is put together as by printf; what does not fit is left out. */
void filter_answer_field(struct filter_call *call, enum hdr_id id, const char *name,
			 const char *fmt, ...) PRINTF_LIKE(4, 5);

/* ---- of a generation ---- */

/* By filter and route; NULL where it does not apply. */
struct filter_set {
	size_t n_routes;
	bool responses; /* a filter of responses is in use */
	void **state[N_FILTERS];
};

/*
 * Builds all that the routes of `conf` switch on and writes conf_route.filters, or
 * gives back what it has built, with a sentence in `why`.
 */
bool filter_set_build(struct filter_set *set, struct conf *conf, unsigned n_workers,
		      struct arena *arena, struct str *why);
void filter_set_release(struct filter_set *set);

#endif
