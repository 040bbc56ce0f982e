/* SPDX-License-Identifier: MIT */
/*
 * Health: who takes traffic.  The only writer of backends' states.  Three voices,
 * the first that speaks wins:
 *
 *   operator   draining, maintenance
 *   checks     up, down, unknown     active: weir asks (pool key `health`)
 *   traffic    ejected               passive: weir watches (pool key `outlier`)
 *
 *   struct health *h = health_new(&loop, &host);
 *   clients = health_clients_new(h, gen->pools, gen->n_pools);
 *   health_follow(h, gen->pools, gen->n_pools, clients); // before a generation is published
 *   health_clients_free(clients);
 *   health_set_admin(h, backend, BACKEND_draining, why);
 *   health_free(h);                                      // before backends go
 *
 * One prober a process, on a thread of its own, however many workers there are: no
 * reader of the API, no reload and no slow disk makes it late, since none of them
 * happens there, and nothing here blocks.  At most CHECKS_MAX checks run at once; what
 * is due meanwhile waits its turn.
 *
 * Thread: that of `loop`, unless a function says otherwise; health_follow,
 * health_set_admin, health_pack, health_unpack and health_free while the control thread
 * waits (boot/probing.c).
 */
#ifndef WEIR_HEALTH_HEALTH_H
#define WEIR_HEALTH_HEALTH_H

#include "weir/base/pack.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"
#include "weir/loop/loop.h"
#include "weir/pool/pool.h"

#define CHECKS_MAX 256
#define CHECKS_KEPT 5

struct health;

/* What has become of a state since it was told the last time. */
struct health_change {
	enum backend_state was, now;
	const char *why; /* a sentence */
};

struct health_host {
	void *ctx;
	struct loop *loop; /* of the control thread */
	/* Control thread, for people. */
	void (*changed)(void *ctx, struct backend *b, const struct health_change *change);
	/* The same; `what` is a sentence.  Of many in no time the last. */
	void (*noted)(void *ctx, struct backend *b, const char *what);
	/*
	 * Health thread: workers are to look at states and shares again, soon; many changes
	 * may come together.
	 */
	void (*look)(void *ctx);
	/*
	 * Health thread: a number for what was said with `look` so far, and the number up to
	 * which all workers have looked.  NULL: they are as quick as one may be.
	 */
	uint64_t (*said)(void *ctx);
	uint64_t (*seen)(void *ctx);
};

/* `host` is copied. */
struct health *health_new(struct loop *loop, const struct health_host *host);
void health_free(struct health *h); /* NULL is fine */

/* False and a sentence when something in `health` of some pool cannot be used. */
bool health_accepts(const struct conf *conf, struct str *why);

/*
 * TLS for the checks and load probes of these pools.  It takes reading files: control
 * thread.
 */
struct health_clients;
struct health_clients *health_clients_new(struct health *h, const struct pool *pools, uint32_t n);
/* After health_follow, which leaves there what it no longer needs.  Control thread. */
void health_clients_free(struct health_clients *clients);

/*
 * These are the pools from now on.  Backends that stay keep what is known about
 * them; checks whose settings changed begin anew, their verdicts stay.
 */
void health_follow(struct health *h, const struct pool *pools, uint32_t n,
		   struct health_clients *clients);

/* draining, maintenance, or up: as checks and traffic say. */
void health_set_admin(struct health *h, struct backend *b, enum backend_state admin,
		      const char *why);

/* For the process that takes over, which reads it after its first health_follow. */
void health_pack(const struct health *h, struct str *out);
void health_unpack(struct unpack *in, struct health *h);

/* ---- what is known, for the API ---- */

/* EJECTION(symbol, sentence): why traffic got a backend ejected; a label of metrics. */
#define EJECTION_ROWS(EJECTION)                                       \
	EJECTION(consecutive_errors, "errors in a row")               \
	EJECTION(success_rate, "a success rate far below the others") \
	EJECTION(failures, "nearly everything failed")                \
	EJECTION(odd, "answers that the others do not give")          \
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

/* Tells at once what is on its way to the control thread.  Control thread. */
void health_show(struct backend *b);

/*
 * The state as it was told the last time: what its reason and facts belong to, while
 * backend_state may be ahead of them.  Control thread.
 */
enum backend_state health_state(const struct backend *b);

/* NULL when health does not know the backend.  Control thread. */
const struct health_facts *health_facts(const struct backend *b);

#endif
