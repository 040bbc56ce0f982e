/* SPDX-License-Identifier: MIT */
/*
 * The strategy contract: which backend gets the next attempt.  Pure functions
 * over dense indices 0..n-1, weights and eligibility bits; no lock, no clock,
 * no health, no protocol type.
 *
 *   build   control thread, whenever membership or weights change.  The table
 *           lives in the arena, is const afterwards and shared by all workers.
 *   local   one per worker and table, `local_size` zeroed bytes prepared by
 *           local_init (for a random phase and the like).
 *   pick    worker, on the request path: no malloc, no lock, no system call.
 *           Returns an index whose eligible bit is set, or STRATEGY_NONE when
 *           there is no such bit.  A weight of 0 is never picked.
 *   done    optional feedback of one attempt, same worker that picked.  May write
 *           to loads->memory, with relaxed atomics: a lost sample is harmless.
 *   dump    optional: the table and what is remembered as JSON members for the
 *           API; control thread.
 *
 * Eligibility (up, not ejected, not draining, below its limit, not yet tried by
 * this exchange) is one bit per backend, kept by pool/.
 */
#ifndef WEIR_BALANCE_STRATEGY_H
#define WEIR_BALANCE_STRATEGY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/arena.h"
#include "weir/base/json.h"
#include "weir/base/pack.h"
#include "weir/base/view.h"

#define STRATEGY_NONE UINT32_MAX

enum strategy_needs {
	NEEDS_NOTHING = 0,
	NEEDS_RANDOM = 1 << 0, /* input.random is 64 fresh random bits */
	NEEDS_LOADS = 1 << 1,  /* loads is valid */
	NEEDS_KEY = 1 << 2,    /* input.key is the hash of the request's key */
	NEEDS_NOW = 1 << 3,    /* input.now_us is set */
	NEEDS_WARMTH = 1 << 6, /* one slow answer is remembered: who warms up gets its share all the
				  same */
	NEEDS_REPORTS = 1 << 5, /* load reports of backends go to memory->report */
	NEEDS_CRC = 1 << 4,     /* with NEEDS_KEY: the key is made by strategy_key as a CRC-32 */
};

struct strategy_member {
	struct view name; /* stable identity, unique in the pool */
	uint32_t weight;  /* 0..65535; 0: never picked */
};

struct strategy_input {
	uint64_t random;
	uint64_t key;
	uint64_t now_us;
	bool wary; /* it must not be lost: rather another request finds out who has recovered */
};

/*
 * What strategies remember of a backend: shared by all workers, on the cache
 * line of its in-flight count (so that writing it when an attempt ends costs no
 * second line), and older than any table: it survives a reload.  All zero: nothing
 * is known.  Each field belongs to the strategy that it names.
 */
#define STRATEGY_TAGS 8

struct strategy_memory {
	_Atomic uint32_t level;       /* auto: see auto.c */
	_Atomic uint32_t errors;      /* auto: in a row */
	_Atomic uint64_t explored_us; /* auto: when it was last tried though slow */
	_Atomic uint64_t peak;        /* peak-ewma: see peak_ewma.c */
	/* prequal, partly on the next line */
	_Atomic uint64_t report;                /* strategy_report_pack; 0: none yet */
	_Atomic uint64_t averse_us;             /* until when, after an error */
	_Atomic uint64_t asked_us;              /* of the last answer, or of a try to get one */
	_Atomic uint32_t tagged[STRATEGY_TAGS]; /* latency by in flight, in powers of two */
};

/* For the process that takes over; before any worker runs there. */
void strategy_memory_pack(const struct strategy_memory *memory, struct str *out);
void strategy_memory_unpack(struct unpack *in, struct strategy_memory *memory);

/* Nothing is known any more; any thread: a sample that comes meanwhile may stay. */
void strategy_forget(struct strategy_memory *memory);
/* The same of errors only: whoever is slow stays so. */
void strategy_forgive(struct strategy_memory *memory);

/* What a backend said of itself in a load report. */
struct strategy_report {
	uint32_t in_flight; /* requests from everybody */
	uint64_t at_us;     /* monotonic */
};

/* Time in units of 16 us: 48 bits are enough for 142 years. */
static inline uint64_t strategy_report_pack(struct strategy_report report)
{
	uint64_t in_flight = report.in_flight < UINT16_MAX ? report.in_flight : UINT16_MAX;
	return report.at_us >> 4 << 16 | in_flight;
}

static inline struct strategy_report strategy_report_unpack(uint64_t packed)
{
	return (struct strategy_report){(uint32_t)(packed & UINT16_MAX), packed >> 16 << 4};
}

/*
 * What is in flight at a backend, over all workers: requests in the low half of a word,
 * streams in the high one.  A stream (an event stream, a tunnel, a response that goes on and
 * on) holds a connection and a place, but is hardly any work.
 */
#define FLIGHT_SHIFT 32
#define FLIGHT_STREAM (UINT64_C(1) << FLIGHT_SHIFT)

static inline uint32_t flight_requests(uint64_t word)
{
	return (uint32_t)word;
}

static inline uint32_t flight_streams(uint64_t word)
{
	return (uint32_t)(word >> FLIGHT_SHIFT);
}

static inline uint32_t flight_all(uint64_t word)
{
	return flight_requests(word) + flight_streams(word);
}

/* Exchanges in flight per backend, each on its own cache line. */
struct strategy_loads {
	const _Atomic uint64_t *const *in_flight; /* [n]; words as above */
	uint32_t streams; /* 1: they count, too, for what asks for one; it is a request itself
			   * until it is answered */
	const _Atomic uint32_t *const
	    *others; /* [n] those of other nodes; NULL: they do not count */
	struct strategy_memory *const *memory; /* [n] */
	const _Atomic uint32_t *total;         /* all requests; only with options.bound */
};

/* What the configuration says to a strategy. */
struct strategy_options {
	uint32_t bound_percent; /* of the mean load that a hashed key may find, over 100; 0: any */
	uint32_t tau_ms;        /* peak-ewma: its memory; 0: 5000 */
	uint32_t hot_percent;   /* prequal: quantile above which a backend is hot; 0: 50 */
};

/* How an attempt went. */
struct strategy_result {
	bool error;           /* for which the backend is to blame */
	uint64_t duration_us; /* request sent to first byte of the response, or to the
			       * failure; 0: not known, as when the client left */
	uint64_t now_us;
	uint32_t others; /* requests in flight besides it when it was picked */
};

/* What is in flight at backend i, of what counts here. */
static inline uint32_t strategy_load(const struct strategy_loads *loads, uint32_t i)
{
	uint64_t word = atomic_load_explicit(loads->in_flight[i], memory_order_relaxed);
	uint32_t n = flight_requests(word) + loads->streams * flight_streams(word);
	if (unlikely(loads->others != NULL))
		n += atomic_load_explicit(loads->others[i], memory_order_relaxed);
	return n;
}

struct strategy_table; /* each strategy casts it to its own type */

struct strategy {
	const char *keyword;
	const char *sentence;
	unsigned needs; /* enum strategy_needs */
	const struct strategy_table *(*build)(const struct strategy_member *members, uint32_t n,
					      const struct strategy_options *options,
					      struct arena *arena);
	size_t (*local_size)(const struct strategy_table *table); /* NULL: no local state */
	void (*local_init)(const struct strategy_table *table, void *local, uint64_t random);
	uint32_t (*pick)(const struct strategy_table *table, void *local,
			 const struct strategy_input *input, const uint64_t *eligible,
			 const struct strategy_loads *loads);
	void (*done)(const struct strategy_table *table, void *local,
		     const struct strategy_loads *loads, uint32_t index,
		     const struct strategy_result *result);
	void (*dump)(const struct strategy_table *table, const struct strategy_loads *loads,
		     struct json *out);
};

/* All rows in the order of strategies.def; NULL ends the list. */
extern const struct strategy *const strategies[];

/*
 * The key of a request out of what the configuration hashes; never 0, which says
 * that there is none.  The same in every process.
 */
uint64_t strategy_key(const struct strategy *strategy, struct view text);

/* By keyword or synonym; NULL when unknown. */
const struct strategy *strategy_find(struct view keyword);

#endif
