/* SPDX-License-Identifier: MIT */
/*
 * Run-time state of one backend: what outlives a generation.  It is found by
 * pool name, backend name and address, so a reload that keeps these three keeps
 * in-flight counts, statistics, state and idle connections.
 *
 * Sharing: the control thread creates, counts and frees it; workers touch
 * `in_flight` and `n_upconns` (atomics, on a cache line of their own) and their
 * own struct backend_local.
 */
#ifndef WEIR_POOL_BACKEND_H
#define WEIR_POOL_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/balance/strategy.h"
#include "weir/base/addr.h"
#include "weir/base/list.h"
#include "weir/base/view.h"
#include "weir/net/tls.h"
#include "weir/pool/fault.h"
#include "weir/pool/limit.h"
#include "weir/pool/odd.h"
#include "weir/stats/counter.h"
#include "weir/stats/hist.h"
#include "weir/stats/history.h"
#include "weir/stats/level.h"
#include "weir/stats/minute.h"
#include "weir/stats/rate.h"
#include "weir/stats/scaling.h"
#include "weir/stats/slow.h"
#include "weir/stats/window.h"

enum backend_state {
#define BACKEND_STATE(name, takes_new, sentence) BACKEND_##name,
#include "weir/tbl/backend_states.def"
#undef BACKEND_STATE
	N_BACKEND_STATES,
};

const char *backend_state_name(enum backend_state state);
bool backend_state_takes_new(enum backend_state state);

struct backend_counters {
#define COUNTER(name, sentence) struct counter name;
#include "weir/tbl/backend_counters.def"
#undef COUNTER
};

/* Of a pool with `protocol: auto`. */
enum backend_speaks { BACKEND_SPEAKS_UNKNOWN, BACKEND_SPEAKS_HTTP1, BACKEND_SPEAKS_H2 };

/* What one worker keeps about one backend. */
struct backend_local {
	struct list idle;              /* struct upconn, most recently used first */
	struct list fresh;             /* the same, idle since turn `fresh_turn`; see upconn.h */
	uint64_t fresh_turn;           /* of the loop */
	struct list shared;            /* upconns that carry many exchanges, with room for more */
	uint32_t h2_streams;           /* it allows on such a connection; 0: not known yet */
	uint8_t speaks;                /* enum backend_speaks: what it chose the last time */
	uint32_t n_idle;               /* length of `idle` and `fresh` */
	_Atomic uint32_t n_idle_shown; /* the same for readers of other threads */
	/* Refused connections in a row make this worker leave the backend alone for a
	 * moment; the first success forgets them. */
	uint8_t refused_row;
	uint64_t avoid_until_us;
	uint64_t avoid_logged_us;
	uint64_t limit_logged_us; /* a response of it passed a limit */
	bool retired;             /* no generation in use names it: connections are not kept */
	struct tls_slot tls;      /* its last session */
	struct backend_counters counters;
	struct fault_local fault;
	struct odd_local odd;
	struct hist_set ok;     /* phases of successful attempts */
	struct hist_set failed; /* phases of failed ones */
	/* made when first used; owns; the writer releases, readers acquire */
	_Atomic(struct levels *) levels; /* speed at each number in flight */
} CACHE_ALIGNED;

#define BACKEND_REASON_MAX 120

/* A share of everything. */
#define SHARE_FULL 256
/* As much as all, but counted: it has no more than its weight's part, however fast it seems. */
#define SHARE_HELD (SHARE_FULL - 1)

struct health_target;

/* What connecting to a backend came to last; below backend.connect_row. */
enum { CONNECT_ROW_UNKNOWN, CONNECT_ROW_OPENS };

struct backend {
	/* const */
	struct view key; /* "pool\0name\0address" */
	uint64_t key_hash;
	struct view pool_name;
	struct view name;
	struct view address_text;
	struct addr address;
	unsigned n_workers;
	uint32_t serial; /* from 1, never used again */
	/* control thread only */
	struct list registry_link, key_link;
	unsigned refs;
	uint32_t weight;   /* in the newest generation */
	uint8_t told;      /* enum backend_state, by operators and sources; up: nothing said */
	bool is_circle;    /* a listener of this weir, boot/circles.c */
	uint64_t since_us; /* wall clock of the last change of state, as health told it */
	char reason[BACKEND_REASON_MAX];
	uint8_t ejected_for;     /* enum ejection, while it is ejected: what `reason` is about */
	struct windows *windows; /* owns; latency of successes, folded once a second */
	struct windows *failed;  /* owns; the same of failures */
	struct rate rate;        /* of requests */
	struct history *history; /* owns; NULL without memory */
	struct scaling_part *scaling;            /* owns; NULL without memory */
	struct minute *minute;                   /* owns; NULL: no history is kept, boot/keep.c */
	uint64_t ticked_requests, ticked_errors; /* totals at its last row */
	uint64_t ticked_area_us, ticked_us;
	/* the question that tells the process before what state it is in here, 0: it knows; and
	 * the last one whose answer had a row about it */
	uint32_t before_untold, before_said;
	bool before_news; /* it is told with the next one */
	/* of other nodes; in flight fades as their words get older; see cluster/ */
	double others_in_flight, others_rate; /* requests a second */
	struct health_target *health;         /* of health/; NULL: nobody watches it */
	/* control writes, health reads (relaxed): requests in 1000 s, and where the pool has
	 * outlier.latency_factor waits of the last 10 s and their median */
	_Atomic uint64_t rate_milli, n_waits, wait_p50_us;
	/* the same: median wait of the last second, where few come of ten or of a minute, 0: none;
	 * and how long ago it began */
	_Atomic uint64_t newest_us, newest_span_us;
	/* health writes, workers read (relaxed; followed by a letter to each worker) */
	_Atomic uint8_t state; /* enum backend_state */
	/* ejected, but its check passes or it has none: better than nobody */
	_Atomic bool resort;
	/* 0..256: the share of its picks it keeps, 256 = all; less for one that is slow
	 * beside the others */
	_Atomic uint16_t health_share;
	/* monotonic time at which it came back and slow start began, 0: none */
	_Atomic uint64_t ramp_from_us;
	/* any worker writes, rarely: shortest idle time after which the backend was
	 * seen closing kept connections; UINT64_MAX: not known */
	_Atomic uint64_t learned_idle_us;
	/* the same: those it closed lately, how long they had been idle, and what was learned
	 * before; a restart closes all at once (pool/idle_close.c) */
	struct {
		_Atomic uint64_t began_us, least_us, most_us, known_us;
	} closes;
	/* any worker writes, rarely: static text, why the last TLS handshake failed; NULL:
	 * none has, or one has succeeded since */
	_Atomic(const char *) tls_error;
	/* the slowest exchanges; made by the worker that has the first; owns */
	_Atomic(struct slow_ring *) slow;
	/* adaptive concurrency: the limit in force, 0: none; and what works it out, made
	 * by the control thread when a pool asks for it; owns */
	_Atomic uint32_t limit;
	_Atomic(struct limiter *) limiter;
	/* requests and streams that the process before this one still has there; control writes,
	 * pool/before.c */
	_Atomic uint32_t before;
	/* any worker, while it is draining: when a pinned request came last; 0: never */
	_Atomic uint64_t pinned_us;
	struct fault_shared fault;
	struct odd_shared odd;
	/* every worker writes */
	_Atomic uint64_t in_flight CACHE_ALIGNED; /* requests and streams, see FLIGHT_STREAM */
	_Atomic uint32_t others; /* that other nodes have in flight there; control writes */
	/* limits.connecting is reached, as far as was seen last: upconn_way knows */
	_Atomic bool crowded;
	_Atomic uint64_t level_since_us;          /* of the last change of in_flight; same line */
	struct strategy_memory memory;            /* written when in_flight is anyway */
	_Atomic uint32_t n_upconns CACHE_ALIGNED; /* changes only at connect and close */
	_Atomic uint32_t n_opening;               /* of them not usable yet */
	/* what the last connects came to: CONNECT_ROW_*, and above it one for each that
	 * failed since one succeeded */
	_Atomic uint32_t connect_row;
	/* per worker, side by side; owns */
	struct backend_local *local[];
};

/* What other nodes have there.  Control thread. */
static inline void backend_set_others(struct backend *b, double in_flight, double rate, double part)
{
	b->others_in_flight = in_flight;
	b->others_rate = rate;
	atomic_store_explicit(&b->others, (uint32_t)(in_flight * part + 0.5), memory_order_relaxed);
}

/* Requests and streams of this process. */
static inline uint32_t backend_own_in_flight(const struct backend *b)
{
	return flight_all(atomic_load(&b->in_flight));
}

/* The same, and those that the process before this one still has. */
static inline uint32_t backend_in_flight(const struct backend *b)
{
	return backend_own_in_flight(b) + atomic_load_explicit(&b->before, memory_order_relaxed);
}

/* Nothing is in flight there, and nothing can get there from a process that has not heard yet
 * that it takes no more.  Control thread. */
static inline bool backend_is_idle(const struct backend *b)
{
	return backend_in_flight(b) == 0 && !b->before_untold;
}

/* Streams of them. */
static inline uint32_t backend_streams(const struct backend *b)
{
	return flight_streams(atomic_load_explicit(&b->in_flight, memory_order_relaxed));
}

/* Of its picks, as health_share. */
static inline uint32_t backend_share(const struct backend *b)
{
	uint32_t share = atomic_load_explicit(&b->health_share, memory_order_relaxed);
	bool held = atomic_load_explicit(&b->odd.held, memory_order_relaxed);
	return held && share > SHARE_HELD ? SHARE_HELD : share;
}

static inline enum backend_state backend_state(const struct backend *b)
{
	return (enum backend_state)atomic_load_explicit(&b->state, memory_order_relaxed);
}

#endif
