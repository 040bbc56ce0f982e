/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread, one loop, and everything a request touches on its way.
 * All of it belongs to that thread, except for what says otherwise.
 */
#ifndef WEIR_PROXY_WORKER_H
#define WEIR_PROXY_WORKER_H

#include <pthread.h>

#include "weir/base/clock.h"
#include "weir/http/h1.h"
#include "weir/http/h2_window.h"
#include "weir/loop/loop.h"
#include "weir/net/hangup.h"
#include "weir/net/pipe.h"
#include "weir/pool/pool.h"
#include "weir/proxy/access_log.h"
#include "weir/proxy/generation.h"
#include "weir/proxy/outcome.h"

/* What a worker takes memory for: weir_memory_bytes. */
enum memory_kind {
#define MEMORY(kind, sentence) MEMORY_##kind,
#include "weir/tbl/memory.def"
#undef MEMORY
	N_MEMORY_KINDS,
};

struct worker_counters {
#define COUNTER(name, sentence) struct counter name;
#include "weir/tbl/worker_counters.def"
#undef COUNTER
	struct counter outcomes[N_OUTCOMES];
	struct counter rejects[REJECT_N];
};

/*
 * A receive area: bytes are read to `data`; the room in front of it takes a head
 * or chunk framing that has to go out before them, the room behind it a chunk's
 * end.  One hot area per direction instead of a buffer per connection.
 */
#define AREA_FRONT (64 * 1024)
#define AREA_DATA (64 * 1024)
/* A usual head more where an answer begins: a body of 64 KiB then comes in one receive, and
 * goes in one send.  All of it still fits a buffer (BUF_MAX) with what weir adds. */
#define AREA_ANSWER (AREA_DATA + 2048)
#define AREA_BACK 64
/* What is rewritten of a head is no longer than the head, and what weir says itself. */
#define TEXTS_ROOM (AREA_DATA + 1024)

/* The values of variables in one head of a response. */
#define VALUES_ROOM (64 * 1024)

struct area {
	char *base; /* owns */
	char *data; /* base + AREA_FRONT */
};

/*
 * Bytes in a receive area.  There is room for HEAD_ROOM bytes in front of them
 * and AREA_BACK behind, so framing is put around them where they lie.
 */
struct span {
	char *ptr;
	size_t len;
};

/* Limits of one worker, out of the configuration at start. */
struct worker_limits {
	uint32_t conns, upconns, bufs, pipes;
	int fds; /* accepting stops at this descriptor number */
};

/*
 * What every request needs for a moment and none for longer: one function at a time has
 * it.  It lets go before it calls what may answer, end or begin an exchange, and at the latest
 * with the turn.
 */
enum scratch {
	SCRATCH_HEAD,  /* worker->head */
	SCRATCH_FRONT, /* from_backend.base, AREA_FRONT bytes: texts that go into no body */
	SCRATCH_REQ,   /* worker->req */
	SCRATCH_RESP,  /* worker->resp */
	N_SCRATCHES,
};

struct worker {
	struct pool_worker pool; /* id, buffers, upconns, random numbers */
	struct loop loop;
	struct hangups hangups; /* clients of which nothing is read */
	struct tls_local tls;
	struct gen_local *gen; /* current; counted */
	struct list gens;      /* struct gen_local not let go yet, newest last */
	struct area from_client, from_backend;
	struct area filtered;   /* of a response behind a filter; NULL until one is in use */
	struct pipe_pool pipes; /* large bodies pass through one */
	char *head;             /* where heads are put together, HEAD_ROOM bytes; owns */
	struct message req, resp;
	/* where fields of the request head at hand are rewritten, TEXTS_ROOM bytes; owns */
	struct str texts;
	struct str values; /* of variables in the response head at hand, VALUES_ROOM bytes; owns */
	char length[24];   /* Content-Length of an answer of weir */
	char own_address[ADDR_TEXT_MAX];   /* where a request without a Host came to */
	char date[6 + CLOCK_HTTP_LEN + 2]; /* the line of Date */
	uint64_t date_until_us;
	char stamp[CLOCK_RFC3339_LEN + 1]; /* the time of the last line of the access log */
	uint64_t stamp_s;                  /* its second */
	char set_cookie[256];              /* the pin of the response head at hand */
	char server_timing[160], proxy_status[256]; /* diagnose.c, of the same head */
	struct route_scratch *routes;
	struct slab conns, exchanges;
	struct slab attempts; /* second ones of exchanges (hedging) */
	unsigned (*make_room)(
	    struct worker *w); /* room.h; for those who must not know of clients */
	struct list ended;     /* struct exchange: to be freed at the end of the turn */
	struct list asked;  /* struct exchange that may go on, see src/proxy/asking.h; and copies */
	struct list copies; /* struct copy, see src/proxy/copy.h */
	struct list closed; /* struct client: the same */
	struct list all_conns;          /* struct client */
	uint32_t n_clients;             /* in it */
	struct client_h2_worker *h2;    /* owns */
	struct backend_h2 *backends_h2; /* HTTP/2 towards backends; owns */
	struct h2_budget h2_windows;    /* of all streams of HTTP/2, both sides */
	struct h2_budget h2_heads;      /* of those of clients */
	struct {
		uint64_t used, limit;
	} gathered; /* bytes of bodies that wait for a backend: request_buffer */
	struct access_log log;
	struct slab traces;      /* struct trace */
	struct ring *trace_ring; /* NULL until tracing is first on; control makes and frees it */
	bool draining;
	int fd_limit;
	uint64_t accept_logged_us;  /* the last warning about it */
	uint64_t proxy_logged_us;   /* the same about PROXY headers */
	uint64_t regex_logged_us;   /* and about routes whose regex reached its limit */
	uint64_t loop_logged_us;    /* and about requests that go round */
	uint64_t accept_blocked_us; /* out of descriptors since; 0: no */
	struct timer refresh_timer;
	struct timer accept_timer;
	struct mail room_mail;     /* another worker needs descriptors: see src/proxy/room.h */
	_Atomic bool room_asked;   /* the letter is on its way */
	struct slab_watch memory;  /* all slabs; readers: any thread */
	struct timer memory_timer; /* set while there may be something to give back */
	uint64_t memory_looked_us;
	struct list accepts;   /* struct accept_watch */
	struct worker **peers; /* all workers, this one too; for hand-over; borrowed */
	unsigned n_peers;
	struct loop *control;                          /* where reports go */
	void (*on_gen_released)(struct gen_local *gl); /* posted to control by gen_put */
	pthread_t thread;
	bool running; /* the thread exists; control thread */
	/* readers: other workers and control, relaxed */
	_Atomic uint32_t n_conns CACHE_ALIGNED;
	_Atomic uint32_t n_exchanges;
	_Atomic bool takes_handovers; /* it has a generation and is not draining */
#ifdef WEIR_CHECK_SLOW
	const char *holders[N_SCRATCHES]; /* the function that has it; NULL: nobody */
#endif
	struct worker_counters counters CACHE_ALIGNED;
};

#define HEAD_ROOM AREA_FRONT

#ifdef WEIR_CHECK_SLOW
void scratch_take_by(struct worker *w, enum scratch what, const char *who);
#define scratch_take(w, what) scratch_take_by(w, what, __func__)
void scratch_drop(struct worker *w, enum scratch what);
/* Ends the process where something is still held: nobody holds it from turn to turn. */
void scratch_all_dropped(const struct worker *w);
#else
static inline void scratch_take(struct worker *w, enum scratch what)
{
	(void)w;
	(void)what;
}
static inline void scratch_drop(struct worker *w, enum scratch what)
{
	(void)w;
	(void)what;
}
static inline void scratch_all_dropped(const struct worker *w)
{
	(void)w;
}
#endif

/* What is left of a body that makes it bulk, and what a turn has moved of one without a length:
 * others come first (src/proxy/bulk.h). */
#define BULK_BYTES (64 * 1024 + 1)
#define BULK_TURN (16 * 1024)

/* One that could not begin (ERR_FDS, ERR_NOMEM) is for worker_fini as well. */
enum err worker_init(struct worker *w, unsigned id, const struct worker_limits *limits);
void worker_fini(struct worker *w);

/* A letter for every worker to switch to its part of a generation. */
void worker_adopt(struct worker *w, struct gen_local *gl);

static inline struct gen_local *gen_get(struct gen_local *gl)
{
	gl->refs++;
	return gl;
}
void gen_put(struct gen_local *gl);

/* Backends' states changed: looks again, in every generation still in use. */
void worker_refresh(struct worker *w);
/* The same after a while: a backend that was avoided gets its next chance. */
#define WORKER_REFRESH_US 100000
void worker_refresh_later(struct worker *w, uint64_t after_us);

/* No new connections, close idle ones, answers say Connection: close. */
void worker_drain(struct worker *w);
/* Cuts everything that is left. */
void worker_abort_all(struct worker *w);
/* Lets go of the generation and every kept upstream connection; nothing may be
 * under way any more. */
void worker_leave(struct worker *w);

#endif
