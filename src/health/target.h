/* SPDX-License-Identifier: MIT */
/*
 * What health keeps about a pool and about a backend.  Private to health/;
 * health thread.
 */
#ifndef WEIR_HEALTH_TARGET_H
#define WEIR_HEALTH_TARGET_H

#include "check.h"
#include "settings.h"
#include "vitals.h"

#include "weir/base/rng.h"
#include "weir/health/health.h"

/* Why a pool is watched, and how long: somebody is suspected, or leads (odd_lead.c). */
struct odd_watch {
	uint64_t until_us; /* since there was a suspicion */
	uint64_t ask_until_us, ask_again_us;
};

struct health_pool {
	struct list link;
	struct health *health;
	struct view name;                 /* owns */
	struct health_settings *settings; /* owns; NULL: no active checks */
	struct tls_client *tls;           /* counted; NULL: checks go over plain TCP */
	struct tls_client *load_tls;      /* the same for load probes */
	unsigned send_proxy;              /* version of the PROXY header of checks; 0: none */
	struct list targets;
	uint32_t n_targets;
	bool seen; /* while following a generation */
	struct conf_outlier outlier;
	struct timer sweep;
	/* odd.c */
	struct pool_state *state; /* of the newest generation, which counts it */
	struct timer odd_look;
	uint64_t looked_us;
	uint64_t period_us; /* what is compared came since then */
	struct odd_watch watch;
	bool tries; /* ejected ones are tried once a second */
};

/* Of a backend that is watched. */
struct odd_evidence {
	/* up to this period, by stratum: owns those of the bits of `strata` */
	uint32_t (*counted)[N_ANSWER_COLUMNS];
	uint32_t strata;
	struct odd_case proof[ODD_SPANS];
};

/* What odd.c knows of a backend. */
struct odd_target {
	uint32_t totals[N_ANSWERS]; /* at the last look */
	double came, latest;        /* answers since the look before; of the last moments, fading */
	struct odd_recent recent[ODD_SPANS]; /* fading */
	struct odd_evidence *evidence;       /* owns; NULL: never watched */
	bool is_cause;                       /* ejected for it */
	unsigned answer;                     /* it is blamed for this one, or ODD_ANY */
	double bad, others; /* its share of bad answers when it was, and that of the others */
	unsigned n_tried, n_failed; /* tries since it was ejected for the first time in a row */
	bool is_suspect;            /* avoided by the strategy, and tried: see follow_suspect */
	unsigned n_tries;
	uint64_t cleared_us; /* when tries have last shown that it is well */
	struct odd_trial trial;
	bool leads;        /* see odd_lead.c */
	uint64_t back_us;  /* since it was ejected last; 0: never */
	double told;       /* answers since somebody is asked */
	bool is_voice;     /* it is asked, to be compared to somebody who leads */
	uint64_t tried_us; /* the last try that came to something; 0: none */
	uint64_t peace_until_us;
	unsigned n_peace;
	uint64_t named_us;
	char why[BACKEND_REASON_MAX]; /* it is odd, but is not left alone */
};

/*
 * What the control thread is to know of a target: a letter that goes to and fro, so that
 * there is one a target at most, however long nobody reads it.
 *
 *   HOME --target_tell--> AWAY --control has read it--> HOME, or AWAY again when stale
 */
struct health_news {
	struct mail mail;
	atomic_bool away; /* its content is the control thread's */
	bool stale;       /* AWAY: something has changed since; health thread */
	bool gone;        /* AWAY: the target is; whoever reads it frees it */
	/* content */
	struct health_facts facts;
	struct health_change change;
	uint64_t since_us;
	char reason[BACKEND_REASON_MAX];
	enum ejection ejected_for;
	char why[BACKEND_REASON_MAX];
	char note[BACKEND_REASON_MAX]; /* empty: none */
	char odd[SCALING_ODD];
	/* control thread */
	struct health_facts shown;
	enum backend_state shown_state;
};

struct health_target {
	struct list link;
	struct health *health;
	struct health_pool *pool;
	struct backend *backend; /* lives as long as a generation names it; see health_follow */
	uint32_t index;          /* in its pool */
	uint32_t weight;         /* 0: it gets no new exchanges */
	bool seen;
	enum backend_state admin; /* draining, maintenance, gone, or up: nothing said */
	const char *admin_why;    /* static */
	/* active checks */
	struct timer due;
	struct list waiting;   /* due, but CHECKS_MAX others run */
	struct check *running; /* or NULL */
	uint32_t n_runs;       /* since the settings changed */
	struct vitals vitals;
	struct health_facts facts;
	char reason[BACKEND_REASON_MAX]; /* of its state */
	char why[BACKEND_REASON_MAX];    /* it became so */
	char note[BACKEND_REASON_MAX];   /* not told yet */
	uint64_t since_us;
	struct health_news news;
	struct load_probe *load; /* owns; NULL: not asked for its load */
	/* what live traffic says */
	bool ejected, on_trial;
	uint32_t n_ejected; /* ejections in a row; a good interval takes one away */
	struct timer back;  /* first when all workers know of the ejection, then its end */
	uint64_t open_at_us, back_at_us;
	uint64_t told_by;    /* host.said of the ejection */
	uint64_t ejected_us; /* since */
	enum ejection eject_cause;
	bool eject_broken; /* about connections: a check that passes ends it */
	bool was_down;     /* checks failed since */
	char eject_reason[BACKEND_REASON_MAX];
	uint64_t swept_served, swept_faults; /* totals at the last sweep */
	uint32_t n_slow;                     /* sweeps in a row that found it slow */
	struct odd_target odd;
};

struct health {
	struct loop *loop;
	struct health_host host;
	struct rng rng;
	struct list pools;
	struct list waiting; /* struct health_target, longest first */
	bool starting;
	bool control_waits; /* for the call at hand: what is away is not being read */
	struct prober prober;
};

/* traffic.c */

/* The pool's settings are these, and its backends. */
void pool_follow_outlier(struct health_pool *hp, const struct conf_outlier *conf);
void pool_stop_outlier(struct health_pool *hp);
/* A target that is new, or about to be freed. */
void target_watch_traffic(struct health_target *t);
void target_unwatch_traffic(struct health_target *t);

/* eject.c */

void target_eject_init(struct health_target *t);
/* A check of an ejected one is over; it began at this time. */
void target_checked(struct health_target *t, bool ok, uint64_t began_us);
/* The process before has ejected it, until then. */
void target_stay_ejected(struct health_target *t, uint64_t back_at_us);

/* One may always go, unless nobody is left then; more only up to max_ejected. */
bool target_may_eject(const struct health_target *t);
/* `reason` is in t->eject_reason. */
void target_eject(struct health_target *t, enum ejection cause);
/* Of its ejection: they pass it over. */
bool target_all_know(const struct health_target *t);
void target_set_trial(struct health_target *t, enum trial trial);
void target_bring_back(struct health_target *t, enum trial trial, const char *why);

/* odd.c */

/* These are the settings of the pool, and its state. */
void pool_follow_odd(struct health_pool *hp, const struct pool *pool);
/* A new one: what its backend was counted before is not evidence. */
void target_begin_odd(struct health_target *t);
void target_free_odd(struct health_target *t);
/* A request that tried it has told. */
void odd_note_try(struct health_target *t, bool failed);

/* odd_state.c */

/* Between two tries of an ejected one. */
#define ODD_TRY_US 1000000
/* A request is to try it, so long from now. */
void odd_try_in(struct health_target *t, uint64_t us);
/* What speaks against it when it is tried: bad answers, and the likes of this one. */
void odd_blame(struct health_target *t, unsigned answer);
/* It has been ejected, for whatever cause; and is back. */
void odd_ejected(struct health_target *t, enum ejection cause);
void odd_back(struct health_target *t);
/* Its ejection ends when tries say so, not by time. */
bool odd_is_tried(const struct health_target *t);

/* settle.c */

/* As what is known now makes it. */
enum backend_state target_state(const struct health_target *t);
/* Works out the state anew and publishes it when it changed; `why` is a sentence. */
void target_settle(struct health_target *t, const char *why);

/* news.c */

/* Something about it is to be known: the control thread hears of it. */
void target_tell(struct health_target *t);
/* The same, and workers are to look again; `what` is a sentence for people. */
void target_note(struct health_target *t, const char *what);
void target_news_init(struct health_target *t);
/* Frees it: now, or once its letter has been read. */
void target_news_fini(struct health_target *t);

#endif
