/* SPDX-License-Identifier: MIT */
/*
 * Health: who takes traffic.  The only writer of backends' states.  Three voices,
 * the first that speaks wins:
 *
 *   operator   draining, maintenance
 *   checks     up, down, unknown     active: weir asks (pool key `health`)
 *   traffic    ejected               passive: weir watches (pool key `outlier`)
 *
 *   struct health *h = health_new(&control->loop, &host);
 *   health_follow(h, gen->pools, gen->n_pools);      // before a generation is published
 *   health_set_admin(h, backend, BACKEND_draining);
 *   health_free(h);                                  // before backends go
 *
 * One prober a process, on the control thread's loop, however many workers there
 * are.  At most CHECKS_MAX checks run at once; what is due meanwhile waits its
 * turn.  Nothing here blocks.  Thread: control.
 */
#ifndef WEIR_HEALTH_HEALTH_H
#define WEIR_HEALTH_HEALTH_H

#include "weir/base/str.h"
#include "weir/conf/conf.h"
#include "weir/loop/loop.h"
#include "weir/pool/pool.h"

#define CHECKS_MAX 256
#define CHECKS_KEPT 5

struct health;

struct health_host {
	void *ctx;
	/*
	 * The state of `b` is another one than `was`; `why` is a sentence.  Workers are
	 * to look again, soon: many changes may come together.
	 */
	void (*changed)(void *ctx, struct backend *b, enum backend_state was, const char *why);
	/* Its state is the same, but workers are to look again; `what` is a sentence. */
	void (*noted)(void *ctx, struct backend *b, const char *what);
	/* A backend that was passed over for a moment takes requests: who waits may go on. */
	void (*reopened)(void *ctx);
};

/* `host` is copied. */
struct health *health_new(struct loop *loop, const struct health_host *host);
void health_free(struct health *h); /* NULL is fine */

/* False and a sentence when something in `health` of some pool cannot be used. */
bool health_accepts(const struct conf *conf, struct str *why);

/*
 * These are the pools from now on.  Backends that stay keep what is known about
 * them; checks whose settings changed begin anew, their verdicts stay.
 */
void health_follow(struct health *h, const struct pool *pools, uint32_t n);

/* draining, maintenance, or up: as checks and traffic say. */
void health_set_admin(struct health *h, struct backend *b, enum backend_state admin);

/* ---- what is known, for the API ---- */

/* EJECTION(symbol, sentence): why traffic got a backend ejected; a label of metrics. */
#define EJECTION_ROWS(EJECTION)                                       \
	EJECTION(consecutive_errors, "errors in a row")               \
	EJECTION(success_rate, "a success rate far below the others") \
	EJECTION(failures, "nearly everything failed")                \
	EJECTION(trial, "the one request that tried it afterwards failed")

enum ejection {
#define EJECTION_ENUM(symbol, sentence) EJECTION_##symbol,
	EJECTION_ROWS(EJECTION_ENUM)
#undef EJECTION_ENUM
	    N_EJECTIONS
};

const char *ejection_name(enum ejection cause);

struct health_check {
	uint64_t at_wall_us; /* its end */
	uint64_t duration_us;
	uint16_t status; /* of the response; 0: none */
	bool ok;
	char reason[BACKEND_REASON_MAX];
};

struct health_facts {
	bool checked; /* there are active checks */
	struct health_check checks[CHECKS_KEPT];
	uint32_t n_checks; /* of these in use, newest first */
	uint64_t n_passed, n_failed;
	bool asked_load; /* there are load probes */
	uint64_t n_loads, n_loads_lost;
	uint64_t ejections[N_EJECTIONS];
};

/* NULL when health does not know the backend. */
const struct health_facts *health_facts(const struct backend *b);

#endif
