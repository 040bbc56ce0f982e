/* SPDX-License-Identifier: MIT */
/*
 * Pools: from a set of backends and a strategy to one lease per attempt.
 *
 *   struct pool         of one generation: immutable, shared by all workers
 *   struct pool_view    a worker's side of it: eligibility bits, strategy state
 *   struct pool_state   what outlives generations: queue, retry budget, counters
 *
 *   switch (pool_take(view, pw, &tried, key, &lease)) {
 *   case POOL_TAKEN: ... lease_drop(&lease, ...) exactly once;
 *   case POOL_FULL:  pool_queue_push(view, pw, &waiter);
 *   case POOL_EMPTY: answer 503;
 *   }
 */
#ifndef WEIR_POOL_POOL_H
#define WEIR_POOL_POOL_H

#include "weir/balance/strategy.h"
#include "weir/base/arena.h"
#include "weir/base/list.h"
#include "weir/conf/conf.h"
#include "weir/pool/backend.h"
#include "weir/pool/codel.h"
#include "weir/pool/learn.h"
#include "weir/pool/pin.h"
#include "weir/pool/worker.h"

struct pool_counters {
#define COUNTER(name, sentence) struct counter name;
#include "weir/tbl/pool_counters.def"
#undef COUNTER
};

/* ---- what outlives generations ---- */

enum wake_state { WAKE_IDLE, WAKE_POSTED, WAKE_RUNNING };

/* Classes of waiters: those of the configuration, and one behind them. */
#define QUEUE_CLASS_PATIENT N_CONF_PRIORITIES /* waits for one backend to come back */
#define N_QUEUE_CLASSES (QUEUE_CLASS_PATIENT + 1)

struct pool_state_local {
	struct list queue[N_QUEUE_CLASSES];  /* struct waiter, oldest first */
	struct codel codel;                  /* of all but the patient */
	uint32_t n_particular;               /* waiters that want one backend only */
	const struct pool_view *newest_view; /* of the last one that came; to compare */
	/* readers: other workers.  Class and since when of the head, 0: nobody waits */
	_Atomic uint64_t head_rank;
	struct pool_counters counters;
	uint64_t usual_us; /* mean time to the first byte of answers the pool usually gives */
	/* the letter with which others wake this queue */
	struct mail wake;
	_Atomic uint8_t wake_state; /* enum wake_state */
	struct pool_state *state;
	struct pool_worker *pw;
} CACHE_ALIGNED;

struct pool_state {
	/* control thread only */
	struct list registry_link;
	struct learned *learned; /* counted; of the newest generation that learns pins */
	struct view name;
	unsigned refs;
	unsigned n_workers;
	double budget;                                  /* share of requests that may be retries */
	uint64_t budget_requests[9], budget_retries[9]; /* totals at the last seconds */
	unsigned budget_at;
	double hedge_budget;      /* share of requests that may be hedged */
	uint64_t hedge_requests;  /* total at the last second */
	uint64_t ticked_requests; /* total at the last second */
	bool ticked;
	struct history *history; /* owns; the sum over its backends; NULL without memory */
	struct scaling *scaling; /* owns; NULL without memory */
	enum verdict told;       /* the verdict that an event has told of last */
	struct minute *minute;   /* owns; NULL: no history is kept, boot/keep.c */
	struct windows *windows; /* owns; of all backends it ever had; NULL without memory */
	/* control writes, workers read: median time to the first byte of an answer, 0: not
	 * enough of them */
	_Atomic uint64_t typical_us;
	_Atomic uint64_t hedge_after_us; /* retry.hedge.after as a quantile says, 0: not known */
	_Atomic uint32_t usual;          /* set of answers that most backends give */
	_Atomic bool watched;            /* somebody is suspected: answers count by stratum */
	/* every worker, but only when somebody waits or retries */
	_Atomic uint32_t n_queued CACHE_ALIGNED;
	_Atomic uint32_t n_patient; /* of them in QUEUE_CLASS_PATIENT */
	_Atomic int32_t retry_tokens;
	_Atomic int32_t hedge_milli;      /* thousandths of a hedge: a share of few is little */
	_Atomic uint32_t in_flight;       /* requests at all backends; only with hash.bound */
	struct pool_state_local *local[]; /* owns */
};

#define POOL_REGISTRY_KEYS 512 /* with ten thousand backends twenty are looked at */

/* Backends and pool states by name; control thread. */
struct pool_registry {
	struct list backends;
	struct list by_key[POOL_REGISTRY_KEYS]; /* struct backend, by key_hash */
	struct list states;
	unsigned n_workers;
	struct pool_worker **workers; /* [n_workers], borrowed */
	uint32_t last_serial;         /* of backends */
	uint32_t n_limiters;          /* backends with adaptive limits */
	char secret[32];              /* signs pins of pools without a key_file */
	bool deaf; /* there may be other nodes, and what they send is not known; cluster/ */
};

void pool_registry_init(struct pool_registry *reg, unsigned n_workers,
			struct pool_worker **workers);
void pool_registry_fini(struct pool_registry *reg);

/*
 * Once a second: folds statistics into windows and refills the retry budgets
 * (Finagle's form: a fifth of the requests of the last 10 s, and 10 a second).
 */
void pool_registry_tick(struct pool_registry *reg, uint64_t now_us);
/* Every LIMIT_WINDOW_US while reg->n_limiters is not 0: works out adaptive limits. */
void pool_registry_limits(struct pool_registry *reg, uint64_t now_us);

/*
 * Every insight.interval: judges the pool's speed anew (stats/scaling.h).  lag_us:
 * the longest turn of a worker's loop in the last second.
 */
struct pool;
void pool_look(struct pool *pool, uint64_t lag_us, uint64_t now_us);

/* ---- of one generation ---- */

/* Backends of one priority: 0 is the first choice, higher ones stand by. */
struct pool_tier {
	uint8_t priority;
	uint64_t *members;                     /* bitset */
	const struct strategy_table *table;    /* of its members; the others have weight 0 in it */
	const struct strategy_table *fallback; /* the same of pool.fallback */
};

struct pool {
	const struct conf_pool *conf;
	struct pool_state *state;  /* counted */
	struct backend **backends; /* counted, [n] */
	uint32_t *max_requests;    /* [n], 0: none */
	uint32_t *weights;         /* [n] as in effect, runtime changes included */
	uint8_t *priorities;       /* [n] */
	uint8_t *members;          /* [n] enum conf_member */
	uint32_t n;
	bool limited;  /* any max_requests, or adaptive */
	bool adaptive; /* limits.adaptive */
	const struct strategy *strategy;
	const struct strategy *fallback; /* for requests without a key; NULL: not hashed */
	struct strategy_options options;
	bool wants_reports; /* the strategy reads load reports: pool_note_report */
	struct strategy_loads loads, stream_loads; /* what requests, and streams, are spread by */
	struct pool_tier *tiers;
	uint32_t n_tiers;
	/* sticky, else NULL and 0 */
	const struct pins *pins;
	struct learned *learned; /* counted */
	uint64_t learn_ttl_s;
	struct pool_serial *by_serial; /* which index a serial number has */
	uint32_t serial_mask;
};

/* How many exchanges the backend may have in flight now; 0: no limit. */
static inline uint32_t pool_limit(const struct pool *pool, uint32_t i)
{
	uint32_t max = pool->max_requests[i];
	if (likely(!pool->adaptive))
		return max;
	const struct backend *b = pool->backends[i];
	uint32_t now = atomic_load_explicit(&b->limit, memory_order_relaxed);
	now += backend_streams(b); /* it was worked out from requests: streams come on top */
	return max && max < now ? max : now;
}

/*
 * What was changed at run time about one backend, by name: it outlives reloads, also
 * when the backend has another address then.
 */
struct pool_override {
	struct list link;
	struct view pool, backend;
	bool add, remove, has_weight, has_state;
	bool leaving;  /* it is to go once nothing is in flight there ... */
	bool forget;   /* ... as if it had never been added */
	uint8_t state; /* enum backend_state: draining or maintenance */
	uint32_t weight;
	uint64_t at_wall_us;       /* of the last change */
	struct conf_backend added; /* with `add` */
};

/* What its operator (NULL: nobody spoke) and its source want of a backend. */
enum backend_state pool_wanted_state(const struct pool_override *override, enum conf_member member);

/* Fills *pool out of the arena; takes references.  Control thread. */
void pool_build(struct pool *pool, const struct conf_pool *conf, struct pool_registry *reg,
		const struct list *overrides, struct arena *arena);
/* Gives back the references; the rest dies with the arena. */
void pool_release(struct pool *pool);
/* Once a second, control thread: works out state->typical_us. */
void pool_typical(struct pool *pool);
/* Index by name, or -1. */
int32_t pool_backend_index(const struct pool *pool, struct view name);

/* ---- a worker's side ---- */

#define CREDIT_ONE 65536

struct pool_view {
	struct pool *pool;
	uint64_t *eligible; /* bitset: takes new exchanges, weight above 0 */
	/* bitset: those who are ejected or avoided, for whom all others have failed; see
	 * eligible.c */
	uint64_t *resort;
	bool has_resort;  /* there is one */
	uint16_t *shares; /* [n] of its weight that counts, of SHARE_FULL; with `shared` */
	/* of those with less than all of it: */
	uint32_t *sharing, n_sharing;
	uint32_t *earns;    /* [n] picks due to it out of each of its tier, in 1/CREDIT_ONE */
	uint32_t *credits;  /* [n] picks it has not had */
	uint16_t *keeps;    /* [n] of its keys it has, of SHARE_FULL */
	uint8_t *tier_load; /* [n_tiers] percent of the exchanges that begin there */
	uint32_t first_tier;
	bool shared;   /* some eligible backend keeps less than all its picks */
	bool spread;   /* more than one tier has a load */
	bool plain;    /* one tier, no limits, no shares: the short way to a pick */
	bool panicked; /* health is ignored in some tier */
	void **locals; /* [n_tiers], of the strategy */
	void **fallback_locals;
	struct pool_state_local *sl;
	struct tls_client *tls; /* NULL: plain TCP; counted */
	/* see odd.h */
	uint32_t usual;
	bool watched;
	uint64_t try_us;  /* when to look for one to try; UINT64_MAX: there is none */
	uint64_t *to_try; /* bitset */
};

/* Control thread; the worker refreshes it when it takes over. */
void pool_view_init(struct pool_view *view, struct pool *pool, struct pool_worker *pw,
		    struct arena *arena);
/*
 * Reads the state of every backend anew into the eligibility bits, shares and
 * the loads of the tiers.  A backend to be avoided has no bit either, as long as
 * others have one.  True when somebody is avoided or warms up, so that another
 * look is due.
 */
bool pool_view_refresh(struct pool_view *view);

/*
 * Who may be picked, BITSET_WORDS(n) zeroed words, and percent of the exchanges that begin in
 * each tier, as far as states alone tell; all 0 when nothing is usable.  Any thread.
 */
void pool_candidates(const struct pool *pool, uint64_t *bits, uint8_t percent[]);

/* Backends this exchange has tried: never again for it. */
#define POOL_TRIED_MAX 8
struct pool_tried {
	uint32_t index[POOL_TRIED_MAX];
	uint32_t n;
	bool choosy; /* rather nobody than one that is ejected */
	bool wary;   /* it cannot be repeated: see struct strategy_input */
	bool stream; /* what it asks for is one */
};

struct lease {
	struct pool_view *view;
	struct backend *backend; /* NULL: not taken */
	uint32_t index;
	uint16_t tier;
	bool fallback;      /* picked by pool.fallback */
	bool streams;       /* lease_streams was called */
	uint16_t others;    /* requests in flight there when it was taken, at most 65535 */
	uint16_t elsewhere; /* at the pool's others; LEVEL_UNKNOWN: nobody has counted */
	bool served;        /* set before the drop: a whole response, and no error */
	bool faulty;        /* lease_fault was called */
	bool proved;        /* lease_prove was */
	bool broken;   /* set before lease_fault: it could not connect, or lost the connection */
	bool on_trial; /* holds the trial's place, see fault.h */
	/* see odd.h */
	bool is_try;
	bool bound;      /* a key or a pin brought it here */
	uint8_t answer;  /* enum answer_kind; ANSWER_NONE: none so far */
	uint8_t type;    /* enum answer_type; 0: nobody wants to know */
	uint8_t stratum; /* of what is asked, from 1; 0: nobody wants to know */
};

enum pool_verdict {
	POOL_TAKEN,
	POOL_FULL,    /* all that are eligible are at their limit, or others wait already */
	POOL_CROWDED, /* or one has a place, but limits.connecting connections to it are being
			 opened */
	POOL_EMPTY,   /* nobody is eligible */
};

/* `key` as strategy_key makes it; 0: the request has none. */
enum pool_verdict pool_take(struct pool_view *view, struct pool_worker *pw,
			    const struct pool_tried *tried, uint64_t key, struct lease *lease);

/* pool_take for those who have waited: does not step back behind the queue. */
enum pool_verdict pool_take_slot(struct pool_view *view, struct pool_worker *pw,
				 const struct pool_tried *tried, uint64_t key, struct lease *lease);

/*
 * A lease on the backend of a pin, and no other.  POOL_FULL: it is at its limit;
 * POOL_EMPTY: it does not take this pin's requests (design: `sticky.mode`).
 */
enum pool_verdict pool_take_pinned(struct pool_view *view, struct pool_worker *pw, uint32_t index,
				   struct lease *lease);
/* The sessions that keep a draining backend busy; control thread. */
struct pool_sessions {
	uint32_t n;       /* learned pins; 0 with cookies, which nobody counts */
	uint64_t quiet_s; /* since the last pinned request, or since it drains */
	bool over;        /* nobody is to be expected any more */
};
struct pool_sessions pool_sessions(const struct pool *pool, uint32_t i);
/* Index of the backend with this serial number, or -1. */
int32_t pool_serial_index(const struct pool *pool, uint32_t serial);

/*
 * What connecting to a backend came to.  After POOL_REFUSED_MAX failures in a row
 * this worker avoids it for POOL_AVOID_US: a dead backend is always the least
 * loaded one, and would draw every request to its end.  True when that has just
 * begun: the caller sees to a pool_view_refresh when it is over.
 */
#define POOL_REFUSED_MAX 3
#define POOL_AVOID_US 1000000
bool pool_note_refused(struct pool_view *view, struct pool_worker *pw, struct backend *backend);
/*
 * It asks to be left alone for a while: this worker does, for POOL_ASKED_MAX_US at
 * most, as long as there are others.  The caller sees to a pool_view_refresh.
 */
#define POOL_ASKED_MAX_US 60000000
void pool_note_asked(struct pool_view *view, struct pool_worker *pw, struct backend *backend,
		     uint64_t us);
static inline void pool_note_connected(struct backend_local *local)
{
	local->refused_row = 0;
}

/*
 * For adaptive limits, before the drop: the time to the first byte of a good
 * answer, or that the attempt broke off or timed out.
 */
void lease_note(const struct lease *lease, bool broke, uint64_t latency_us);

/*
 * The value of an endpoint-load-metrics field that the backend sent; false when it
 * is malformed or does not say how many requests are in flight.  Any thread.
 */
bool pool_note_report(struct backend *backend, struct view value, uint64_t now_us);

/*
 * The attempt failed by the backend's doing: `why` is a static sentence, `status`
 * that of the response or 0.  Once a lease: what fails later adds nothing.
 */
void lease_fault(struct lease *lease, const char *why, uint16_t status);
/* The head of an answer is here; `goes_on`: its body takes so long that it counts already. */
void lease_try_answered(struct lease *lease, bool goes_on);
static inline void lease_answered(struct lease *lease, unsigned status, bool goes_on)
{
	lease->answer = likely(status == 200) ? (uint8_t)ANSWER_full : answer_of(status);
	if (unlikely(lease->is_try))
		lease_try_answered(lease, goes_on);
}
/* It is a success already, however long it goes on: a tunnel is open, or a trial answered. */
void lease_prove(struct lease *lease);

/*
 * From now on it is a stream, no request: it holds its place under the limits, but is not
 * what strategies balance and levels count.
 */
void lease_streams(struct lease *lease);

/*
 * Exactly once a lease; wakes whoever waits for a slot.  `duration_us`: from the
 * request sent to the first byte of the response or the failure, 0: not known.
 */
void lease_drop(struct lease *lease, bool error, uint64_t duration_us);

/* ---- the queue ---- */

struct waiter {
	struct list link;
	struct pool_view *view;
	uint64_t since_us;
	const struct pool_tried *tried; /* borrowed while waiting */
	uint64_t key;                   /* as for pool_take */
	uint32_t only;                  /* index + 1 of the only one that will do, 0: any */
	uint8_t class;                  /* enum conf_priority, or QUEUE_CLASS_PATIENT */
	bool crowded;                   /* POOL_CROWDED sent it here: queue.length is not for it */
	/* a lease at last; the waiter is out of the queue already */
	void (*ready)(struct waiter *waiter, struct lease *lease);
	/* no lease, because of overload; the waiter is out of the queue; NULL: never */
	void (*shed)(struct waiter *waiter);
	/* its pool has this view in a newer generation, too: `view`, `only` and what is tried may
	 * be changed to what they are there; NULL: never */
	void (*renew)(struct waiter *waiter, struct pool_view *view);
};

/* ERR_FULL when the queue is off, or has queue.length waiters and this one is not `crowded`. */
enum err pool_queue_push(struct pool_view *view, struct waiter *waiter, uint64_t now_us);
void pool_queue_remove(struct waiter *waiter);
/* A new generation has this view: whoever waits may be served by it from now on. */
void pool_queue_renew(struct pool_view *view);
/* Something changed (a backend came up): serve whoever can be served. */
void pool_queue_serve(struct pool_state_local *sl);

/* ---- retries ---- */

/* Takes one retry out of the pool's budget. */
bool pool_retry_allowed(struct pool_state *state);
/* Gives it back: there was nobody to try. */
void pool_retry_unused(struct pool_state *state);
/* The same for a second attempt beside the first: out of both budgets. */
bool pool_hedge_allowed(struct pool_state *state);
void pool_hedge_unused(struct pool_state *state);

#endif
