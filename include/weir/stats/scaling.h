/* SPDX-License-Identifier: MIT */
/*
 * Performance problem or scalability problem?  And what would one more backend
 * change?  Out of live traffic, with the evidence and its uncertainty.
 *
 * Every second what the workers have counted (stats/level.h) is folded into each backend's
 * struct scaling_part; every insight.interval scaling_look judges the pool.  A verdict
 * changes when three looks in a row agree.
 *
 *   scaling_count(scaling, arrivals);                    // once a second, then
 *   scaling_part_fold(part, scaling, levels, n_workers); // each backend
 *   scaling_look(scaling, &input);                       // once in ten
 *   printf("%s: %s\n", verdict_name(scaling_verdict(scaling)), scaling_sentence(scaling));
 *
 * Memory is time, not looks: a curve forgets with a time constant of ten minutes, and of
 * what was served the shortest of several spans that holds enough is used, so that "alone"
 * and "now" are of the same time wherever that is possible.  A change of members, weights,
 * limits or strategy, and a mark, begin a new epoch.  Control thread only; no I/O.
 *
 * Several nodes: scaling_others and scaling_part_others say, before the second is counted, what
 * others send to the same backends.  Demand is the sum.  The level that a request met is its
 * own node's and as many of the others as come there while one like it is served (Little's law
 * at each level: in a queue those before one are as many as those who come behind it), so no
 * level of another node need be known to the millisecond.  Who was alone had next to nobody of
 * the others there.  Sharing is looked for only while the others send next to nothing.
 *
 * Words: S is the service time (waiting for the backend and its answer, without the
 * client's time) of requests that met nobody, measured; R that of all requests now; growth
 * is R / S.
 */
#ifndef WEIR_STATS_SCALING_H
#define WEIR_STATS_SCALING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/rng.h"
#include "weir/base/view.h"
#include "weir/stats/failing.h"
#include "weir/stats/fit.h"
#include "weir/stats/level.h"
#include "weir/stats/queueing.h"
#include "weir/stats/sparse.h"
#include "weir/stats/window.h"

struct scaling;

enum verdict {
#define VERDICT(name, is_problem, sentence) VERDICT_##name,
#include "weir/tbl/verdicts.def"
#undef VERDICT
	N_VERDICTS
};

const char *verdict_name(enum verdict verdict);
const char *verdict_sentence(enum verdict verdict);
bool verdict_is_problem(enum verdict verdict);

#define SCALING_SENTENCE 640
#define SCALING_HOLD 3      /* looks that must agree before a verdict changes */
#define SCALING_SAMPLES 200 /* a side needs as many */

/* S or R: a latency and the 95 % interval of its p95. */
struct scaling_side {
	double n, p50_us, p95_us, p95_low_us, p95_high_us;
	double p95_least_us; /* if all who may have met another node's were the slowest */
};

/* ---- what was served, by time ---- */

/* The counts of between one and two spans. */
struct recent {
	uint64_t since_us[2]; /* when they begin */
	double n[2];
	struct sparse weight[2]; /* of this span and the one before; owns */
};

#define RECENT_NOW 3   /* 5 s, 30 s, 5 min */
#define RECENT_ALONE 3 /* 30 s, 5 min, 30 min */
#define RECENT_PART 2  /* of one backend: the first two */

/* ---- of one backend ---- */

/* A verdict and how long another one has been knocking. */
struct scaling_opinion {
	enum verdict verdict, next;
	unsigned agreed;  /* looks in a row for `next` */
	unsigned against; /* and not for `verdict`, whatever for */
	/* the last of slow on its own and under load, whatever came after it; 0: neither */
	enum verdict cause;
};

#define SCALING_ODD 144

/* Seconds in a row in each of which next to all that it completed had waited. */
struct scaling_waited {
	double n, waited, level;        /* of this second; level: the sum of their logarithms */
	double last_n, last_level;      /* of the one before, which was full */
	double sum, sum_level, seconds; /* of those before that, since the last sample */
	bool broken;                    /* not all since then were */
};

/* Seconds in which it was full: of one size of the pool and one power of two of its level. */
struct scaling_full {
	uint16_t backends, octave; /* 0 backends: free */
	float n, log, log2, level; /* logarithms of completions per second, and of levels */
	uint64_t at_us;
};
#define SCALING_FULL 16

struct scaling_company {
	float n[LEVEL_SPLIT], us[LEVEL_SPLIT]; /* by own level, of some ten seconds */
	double
	    beyond[LEVEL_BINS]; /* of the curve: how far the levels of a bin are off it, summed */
};

/* LEVEL_BLOCK levels side by side. */
struct scaling_bin {
	double n, us;             /* by level at arrival, with forgetting */
	float usual_n, usual_log; /* logarithms of durations, with forgetting */
	uint64_t last_n, last_us; /* of the last fold */
	struct scaling_split {
		uint32_t n[2], elsewhere[2], log[2];
		uint64_t log2;
	} last_split;
};
struct scaling_bins {
	struct scaling_bin bin[LEVEL_BLOCK];
};

/* What it takes longer than the others at the same level: logarithms, weighted. */
struct scaling_peer {
	double apart, w;
	float fresh_n[LEVEL_SPLIT], fresh_log[LEVEL_SPLIT]; /* not compared yet, by level */
};

struct scaling_part {
	struct scaling_opinion opinion;
	double slower;         /* a bad host: so many times as long as the others; 0: it is none */
	char odd[SCALING_ODD]; /* why it is the odd one out; goes before the opinion */
	char sentence[SCALING_SENTENCE];
	struct scaling_bins *bins[LEVEL_BLOCKS]; /* owns; NULL: there was never anything */
	struct scaling_side alone, now;          /* at the last look */
	double rate, weight;
	double others_rate, others_sum, others_s; /* of other nodes: now; since the last look */
	struct scaling_company *company;          /* owns; NULL: no other node sent anything */
	unsigned epoch;                           /* of the pool, when it was last folded */
	uint64_t block_n;                         /* served until the last block */
	unsigned size_epoch;
	struct scaling_waited full;
	struct scaling_full cells[SCALING_FULL];
	struct sparse served[LEVEL_CLASSES]; /* at the last look, modulo 2^32; owns */
	struct scaling_peer peer;
	struct scaling_recents {
		struct recent now[RECENT_PART], alone[RECENT_PART];
	} *recents; /* owns; NULL until the first sample */
};

/* NULL: there was never anything in it, or in its neighbours. */
static inline struct scaling_bin *scaling_part_bin(const struct scaling_part *part, uint32_t level)
{
	struct scaling_bins *bins = part->bins[level / LEVEL_BLOCK];
	return bins ? &bins->bin[level % LEVEL_BLOCK] : NULL;
}

/* What is said of it now; NULL is fine: nobody knows. */
enum verdict scaling_part_verdict(const struct scaling_part *part);
const char *scaling_part_sentence(const struct scaling_part *part);
/* It is odd, and why; "": it is not. */
void scaling_part_odd(struct scaling_part *part, const char *why);

/* NULL without memory. */
struct scaling_part *scaling_part_new(void);
void scaling_part_free(struct scaling_part *part); /* NULL is fine */
/* A mark of this backend alone: what was learned about its speed is of another time. */
void scaling_part_begin_epoch(struct scaling_part *part);

/* What other nodes send there, per second; until it is called again. */
void scaling_part_others(struct scaling_part *part, double rate);

/* Takes in what came since the last fold.  levels[i] is worker i's or NULL. */
void scaling_part_fold(struct scaling_part *part, struct scaling *scaling,
		       const struct levels *const *levels, size_t n);

/* ---- of one pool ---- */

/*
 * Is a request slower at the same level of its backend when the others have more to do, in
 * the same seconds?  Mean logarithms within strata of time, backend and level.
 */
struct scaling_shift {
	bool known, found; /* known and not found: the upper bound is below 10 % */
	bool measured;     /* change and z stand on something */
	double change;     /* of the duration at equal level; 0.3: 30 % longer */
	double se;         /* standard error of it */
	double z, samples; /* samples: as many pairs as it weighs */
};

/* Requests that met hardly anybody: logarithms of their durations, with forgetting. */
struct scaling_quiet {
	double n, log, log2;
};

/* A size of the pool. */
struct scaling_size {
	uint32_t backends;
	uint64_t at_us;                        /* when it was last full; 0: never */
	struct scaling_quiet quiet, when_full; /* now, and as it was then */
};
#define SCALING_SIZES 8

/* Does a full backend do less in a larger pool, and is as quick as before when alone? */
struct scaling_fall {
	bool found;
	uint32_t from, to;         /* so many backends; 0: nothing to compare */
	double rate_from, rate_to; /* of each, per second */
	double fall, z;            /* a logarithm, without what it is slower alone */
};

/* Logarithms of durations about their means: squares, and of how many. */
struct scaling_varied {
	double squares, n;
};

/* Everybody at equal level, since a moment. */
struct scaling_change {
	uint64_t at_us, at_wall_us; /* 0: none */
	double factor;              /* of the durations */
	bool of_kind;               /* other requests than before, not the same ones slower */
	bool behind;                /* they do less than before; over with the waiting */
	/* Who met nobody, until it was noticed; was.n is 0 when its kind is known. */
	struct scaling_varied was, last;
};

/* Sums over requests: x is the logarithm of the level that was met, y that of the duration. */
struct scaling_slope {
	double n, x, y, xx, xy;
};

/* The logarithm of what the levels of now make of durations, in the same seconds. */
struct scaling_load {
	bool varies; /* the levels differ: else nothing is known */
	double n;    /* requests of now */
	double explains, se;
};

/* Five seconds of all backends: the strata of one block of time. */
struct scaling_block {
	double share, share_w;      /* the others' load: weighted differences and weights */
	double reach;               /* what sharing everything would have made of it */
	double drift, drift_w;      /* against what is usual at the level */
	double spread, spread_n;    /* squares within levels, and of how many */
	double alone, alone_n;      /* the same of those who met nobody */
	double rate, served;        /* per second: what came, what was done */
	double others;              /* of what came, by other nodes */
	struct scaling_slope slope; /* xx and xy: about the means of strata */
};
#define SCALING_BLOCK_S 5
#define SCALING_BLOCKS 120

struct scaling_range {
	double low, mid, high;
};

struct scaling_forecast {
	uint32_t backends;   /* with so many; 0: no forecast */
	const char *refusal; /* NULL: it stands; else why not, static text */
	bool saturated;      /* the load is more than they can take */
	double rate;         /* it holds for this load, per second */
	double utilisation;  /* of workers, or of the highest rate */
	struct scaling_range p50_us, p99_us;
	double capacity_low, capacity_high; /* per second */
	bool capacity_at_least;             /* capacity_high is a lower bound */
};

/* Quantiles of simulated minutes. */
#define SCALING_RUNS 24
struct scaling_runs {
	double p50_us[SCALING_RUNS], p99_us[SCALING_RUNS], fall_us[SCALING_RUNS];
	double requests; /* of each, about */
	unsigned n;      /* ever */
};

/* A forecast that met its event. */
struct scaling_score {
	uint64_t at_us; /* when it was scored */
	uint32_t from, to;
	double rate_then, rate_now;
	struct scaling_range p99_us, p50_us;
	double actual_us;
	bool comparable; /* the load was the same within 20 % */
	bool of_p50;     /* too few for a p99: this is about the median */
};

enum {
	FORECAST_LESS,
	FORECAST_MORE,
	FORECAST_DOUBLE,
	FORECAST_HALF_MORE_LOAD,
	FORECAST_TWICE_THE_LOAD,
	N_FORECASTS
};
#define SCALING_SCORES 16
#define SCALING_SECONDS 64

struct scaling {
	struct scaling_opinion opinion;
	char sentence[SCALING_SENTENCE];      /* of opinion.verdict */
	char odd[SCALING_SENTENCE];           /* who is the odd one out; goes before the opinion */
	struct failing failing;               /* as do most answers; goes before it as well */
	char failing_text[FAILING_TEXT];      /* "": they do not */
	uint64_t looked_us;                   /* 0: never */
	double window_s;                      /* R is of so many seconds, */
	uint64_t now_since_us;                /* of those since then */
	struct scaling_side alone, now;       /* S and R */
	bool alone_in_pool;                   /* S is of those who were alone in the whole pool */
	double seen_p95_us, seen_p95_high_us; /* with queue, connecting and weir itself */
	double growth;                        /* p95 / p95; 0: not known */
	unsigned missed;                      /* looks in a row that saw the objective missed, */
	char missed_by[64];                   /* and by how much: goes before the sentence */
	double now_p99_us;
	double rate;        /* requests per second now, of all nodes */
	double demand;      /* of a minute at most: what is forecast is meant for it */
	unsigned rate_s;    /* of so many seconds, in which the load was like now */
	bool rate_changes;  /* in the last seconds: there is no telling where to */
	double swing;       /* of the rate in them: standard deviation by mean, beyond chance */
	double others_rate; /* of them, by other nodes, as they last said */
	bool deaf;          /* what other nodes send is not known */
	bool looked_deaf;   /* nor was it at the last look */
	double waiting;     /* share of the mean spent in queue, connect, loop lag */
	double queue_us, connect_us, self_us, total_us; /* means */
	double cv2_arrivals, cv2_service;
	double served_s;              /* in this second, here */
	float grown[SCALING_SECONDS]; /* by so many more in flight here, each second */
	bool closed;   /* about as many are in flight at all times: who asks waits for his answer */
	double bursts; /* how much the rate of seconds varies: standard deviation by mean */
	struct fit_point points[FIT_POINTS]; /* a typical backend's curve */
	size_t n_points;
	struct fit fit;
	struct rng at_n_max; /* what its interval is drawn with, when somebody asks */
	struct scaling_shift shift;
	struct scaling_fall fall;
	struct scaling_load load;
	struct scaling_change change;
	double drifting;        /* factor of the last ten seconds at equal level; 1: none */
	uint64_t drift_from_us; /* it was none until then */
	bool drifted;           /* and explains most of what is slower than alone */
	uint64_t fine_us;       /* the last look that saw no slowness */
	uint64_t alike_us;      /* the last that saw p95 about as it is alone */
	uint64_t grown_us;      /* the last that saw it less than twice as that */
	uint64_t slowed_us;     /* the last that said load to be the cause */
	double fine_rate;       /* what they did per second with none, at most; forgets */
	double fine_p95_us;     /* at most, the same */
	double fine_usual; /* and what they had to do, for long; 0: not known, or they were full */
	const char *epoch_cause; /* what began it, static text; NULL: the start */
	uint64_t epoch_us;
	uint64_t drained_us; /* until then some are served that came before the members changed */
	uint32_t n_backends;
	struct scaling_forecast forecasts[N_FORECASTS], today;
	struct scaling_score scores[SCALING_SCORES];
	unsigned n_scores, n_comparable, n_held; /* ever */
	/* private */
	unsigned epoch;
	uint64_t signature;    /* of what is comparable only within an epoch */
	struct spread service; /* S */
	uint32_t counts[SCALING_SECONDS], others[SCALING_SECONDS]; /* others: of counts */
	unsigned n_counts;
	bool one_is_free;  /* a request is as quick when it meets one other */
	double met_n, met; /* of those filed as alone, who may have met another node's */
	struct scaling_block blocks[SCALING_BLOCKS];
	unsigned n_blocks, first_block; /* ever; the first of what is comparable */
	unsigned peers_block;           /* that were there at the last comparison of backends */
	unsigned member_block;          /* the first of these members, weights and limits */
	struct scaling_size sizes[SCALING_SIZES];
	unsigned size_epoch;
	uint64_t sampled_us, looked_members, rules; /* signatures of the last look */
	double alone_us;                            /* the mean of S; 0: not known */
	struct recent recent_now[RECENT_NOW], recent_alone[RECENT_ALONE], recent_solo[RECENT_ALONE];
	struct spread since;          /* R since then, for the score */
	uint64_t since_us;            /* 0: R does not count yet */
	struct scaling_score pending; /* at_us: from when on R counts; 0: none */
	struct scaling_runs runs[N_FORECASTS], runs_today;
	struct rng rng;
};

struct scaling_member {
	struct view name;
	struct scaling_part *part;          /* NULL: left out */
	const struct windows *windows;      /* NULL: left out */
	const struct levels *const *levels; /* [n_levels], one a worker, or NULL */
	size_t n_levels;
	double weight;
	uint32_t limit; /* limits.requests; 0: none */
	bool usable;    /* takes requests */
};

struct scaling_input {
	struct view pool; /* its name */
	const struct scaling_member *members;
	size_t n;
	uint64_t slo_p95_us; /* 0: none */
	bool pooled;         /* the strategy looks at load: backends act as one */
	uint64_t lag_us;     /* longest turn of a worker's loop in the last second */
	uint64_t now_us, wall_us;
};

struct scaling *scaling_new(void);          /* NULL without memory */
void scaling_free(struct scaling *scaling); /* NULL is fine */
/* The model's rate at the highest level that was seen, worked out anew each time. */
struct scaling_range scaling_at_n_max(const struct scaling *scaling);
/*
 * What other nodes send to the pool, per second; until it is called again.  Not known: what is
 * seen meanwhile is not learned from, and nothing is forecast.
 */
void scaling_others(struct scaling *scaling, double rate, bool known);
/* Once a second, before the parts are folded: requests that came to the pool in it, here. */
void scaling_count(struct scaling *scaling, uint32_t arrivals);
/*
 * What was learned about speed is of another time: a mark, a deploy.  `cause` is static
 * text.  scaling_look finds other changes (members, weights, limits) by itself.
 */
void scaling_begin_epoch(struct scaling *scaling, const char *cause, uint64_t now_us);
/* Something behind the backends is shared, by either test. */
static inline bool scaling_is_shared(const struct scaling *scaling)
{
	return scaling->shift.found || scaling->fall.found;
}
void scaling_look(struct scaling *scaling, const struct scaling_input *input);

/* As for a part. */
enum verdict scaling_verdict(const struct scaling *scaling);
const char *scaling_sentence(const struct scaling *scaling);
void scaling_odd(struct scaling *scaling, const char *who);
/*
 * What is wrong beside a verdict that does not say so; NULL: nothing is.  Requests fail, but
 * there is another problem; the objective is missed, or everybody has become slower at equal load,
 * and the cause is not known yet: this goes before scaling_sentence.
 */
const char *scaling_failing_beside(const struct scaling *scaling);
const char *scaling_slow_beside(const struct scaling *scaling);
/* Once a second: what became of its requests ever, by kind. */
void scaling_answers(struct scaling *scaling, const double totals[N_FAILING], uint64_t wall_us);

/* Median of |actual - predicted| / actual over the comparable scores; < 0: none. */
double scaling_median_error(const struct scaling *scaling);

#endif
