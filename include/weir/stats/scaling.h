/* SPDX-License-Identifier: MIT */
/*
 * Performance problem or scalability problem?  And what would one more backend
 * change?  Out of live traffic, with the evidence and its uncertainty.
 *
 * Every second each backend's state bins are folded into its struct
 * scaling_part; every ten seconds (insight.interval) scaling_look judges the
 * pool.  A verdict changes when three looks in a row agree.
 *
 *   scaling_part_fold(part, levels, n_workers, others);  // once a second
 *   scaling_count(scaling, requests);                    // once a second
 *   scaling_look(scaling, &input);                       // once in ten
 *   printf("%s: %s\n", verdict_name(scaling_verdict(scaling)), scaling_sentence(scaling));
 *
 * Curves are forgotten with a time constant of ten minutes of traffic, service
 * times at low load with one of an hour.  Control thread only; no I/O.
 *
 * Words: S is the service time of requests that met (almost) nobody at their
 * backend, measured; R the latency of all requests now; growth is R / S.
 */
#ifndef WEIR_STATS_SCALING_H
#define WEIR_STATS_SCALING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/rng.h"
#include "weir/base/view.h"
#include "weir/stats/fit.h"
#include "weir/stats/level.h"
#include "weir/stats/queueing.h"
#include "weir/stats/window.h"

enum verdict {
#define VERDICT(name, is_problem, sentence) VERDICT_##name,
#include "weir/tbl/verdicts.def"
#undef VERDICT
	N_VERDICTS
};

const char *verdict_name(enum verdict verdict);
const char *verdict_sentence(enum verdict verdict);
bool verdict_is_problem(enum verdict verdict);

#define SCALING_SENTENCE 480
#define SCALING_HOLD 3      /* looks that must agree before a verdict changes */
#define SCALING_SAMPLES 200 /* a side needs as many */

/* S or R: a latency and the 95 % interval of its p95. */
struct scaling_side {
	double n, p50_us, p95_us, p95_low_us, p95_high_us;
};

/* ---- of one backend ---- */

#define SCALING_LOADS 12      /* classes of pool load, by powers of two */
#define SCALING_LOAD_BINS 64u /* levels that are compared between them: below this */

/* A verdict and how long another one has been knocking. */
struct scaling_opinion {
	enum verdict verdict, next;
	unsigned agreed; /* looks in a row for `next` */
};

#define SCALING_ODD 144

struct scaling_part {
	struct scaling_opinion opinion;
	char odd[SCALING_ODD]; /* why it is the odd one out; goes before the opinion */
	char sentence[SCALING_SENTENCE];
	double time_s[LEVEL_BINS], done[LEVEL_BINS]; /* with forgetting */
	struct scaling_side alone, now;              /* at the last look */
	double rate, weight;
	/* of the last fold */
	uint64_t last_time_us[LEVEL_BINS], last_done[LEVEL_BINS];
	/* the same by the load of the other backends, for low levels */
	float load_time_s[SCALING_LOADS][SCALING_LOAD_BINS];
	float load_done[SCALING_LOADS][SCALING_LOAD_BINS];
	struct scaling_served {
		uint32_t last[HIST_BUCKETS];
		double weight[HIST_BUCKETS];
	} *served[LEVEL_CLASSES]; /* owns; NULL until the first sample */
};

/* What is said of it now; NULL is fine: nobody knows. */
enum verdict scaling_part_verdict(const struct scaling_part *part);
const char *scaling_part_sentence(const struct scaling_part *part);
/* It is odd, and why; "": it is not. */
void scaling_part_odd(struct scaling_part *part, const char *why);

/* NULL without memory. */
struct scaling_part *scaling_part_new(void);
void scaling_part_free(struct scaling_part *part); /* NULL is fine */

/*
 * Takes in what came since the last fold.  levels[i] is worker i's or NULL.
 * `others`: mean number in flight at the pool's other backends meanwhile.
 */
void scaling_part_fold(struct scaling_part *part, const struct levels *const *levels, size_t n,
		       double others);

/* ---- of one pool ---- */

/*
 * Does a backend get slower at the same level when the others have more to do?
 * A balancer that keeps all equally busy seldom shows: then nothing is known.
 */
struct scaling_shift {
	bool known, found;          /* found: the clearest pair of loads; else the widest */
	double change;              /* of the rate at equal level; -0.3: 30 % less */
	double se;                  /* standard error of it */
	double low_load, high_load; /* in flight at the others */
};

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

/* A forecast that met its event. */
struct scaling_score {
	uint64_t at_us; /* when it was scored */
	uint32_t from, to;
	double rate_then, rate_now;
	struct scaling_range p99_us;
	double actual_us;
	bool comparable; /* the load was the same within 20 % */
};

enum { FORECAST_LESS, FORECAST_MORE, FORECAST_DOUBLE, N_FORECASTS };
#define SCALING_SCORES 16
#define SCALING_SECONDS 64

struct scaling {
	struct scaling_opinion opinion;
	char sentence[SCALING_SENTENCE]; /* of opinion.verdict */
	char odd[SCALING_SENTENCE];      /* who is the odd one out; goes before the opinion */
	uint64_t looked_us;              /* 0: never */
	enum window window;              /* R is of this one */
	struct scaling_side alone, now;  /* S and R */
	double growth;                   /* p95 / p95; 0: not known */
	double now_p99_us;
	double rate;    /* requests per second now */
	double waiting; /* share of the mean spent in queue, connect, loop lag */
	double queue_us, connect_us, self_us, total_us; /* means */
	double cv2_arrivals, cv2_service;
	struct fit_point points[FIT_POINTS]; /* a typical backend's curve */
	size_t n_points;
	struct fit fit;
	struct scaling_range at_n_max; /* the model's rate there */
	struct scaling_shift shift;
	uint32_t n_backends;
	struct scaling_forecast forecasts[N_FORECASTS];
	struct scaling_score scores[SCALING_SCORES];
	unsigned n_scores; /* ever */
	/* private */
	struct spread service; /* S */
	uint32_t counts[SCALING_SECONDS];
	unsigned n_counts;
	struct scaling_score pending; /* at_us: when due; 0: none */
	struct rng rng;
};

struct scaling_member {
	struct view name;
	struct scaling_part *part;          /* NULL: left out */
	const struct windows *windows;      /* NULL: left out */
	const struct levels *const *levels; /* [n_levels], one a worker, or NULL */
	size_t n_levels;
	double weight;
	bool usable; /* takes requests */
};

struct scaling_input {
	const struct scaling_member *members;
	size_t n;
	uint64_t slo_p95_us; /* 0: none */
	bool pooled;         /* the strategy looks at load: backends act as one */
	uint64_t lag_us;     /* longest turn of a worker's loop in the last second */
	uint64_t now_us;
};

struct scaling *scaling_new(void); /* NULL without memory; freed by free() */
/* Once a second: requests of the pool in it. */
void scaling_count(struct scaling *scaling, uint32_t requests);
void scaling_look(struct scaling *scaling, const struct scaling_input *input);

/* As for a part. */
enum verdict scaling_verdict(const struct scaling *scaling);
const char *scaling_sentence(const struct scaling *scaling);
void scaling_odd(struct scaling *scaling, const char *who);

/* Median of |actual - predicted| / actual over the comparable scores; < 0: none. */
double scaling_median_error(const struct scaling *scaling);

#endif
