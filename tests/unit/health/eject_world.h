/* SPDX-License-Identifier: MIT */
/* A pool with the judge of its faults, by a clock of the test's own. */
#ifndef TESTS_UNIT_HEALTH_EJECT_WORLD_H
#define TESTS_UNIT_HEALTH_EJECT_WORLD_H

#include <criterion/criterion.h>
#include <string.h>

#include "../pool/world.h"
#include "health/target.h"
#include "weir/base/bitset.h"
#include "weir/health/health.h"

#define S UINT64_C(1000000)

static struct world world;
static struct world_gen gen;
static struct loop watcher;
static struct health *health;
static unsigned n_changed, n_noted, n_looked;
static bool broken; /* the faults are about connections */
static bool asleep; /* a worker, which looks at nothing */

static inline void on_changed(void *ctx, struct backend *b, const struct health_change *change)
{
	(void)ctx;
	(void)b;
	cr_assert_neq(change->now, change->was);
	cr_assert(*change->why);
	n_changed++;
}

static inline void on_noted(void *ctx, struct backend *b, const char *what)
{
	(void)ctx;
	(void)b;
	cr_assert(*what);
	n_noted++;
}

static inline void on_look(void *ctx)
{
	(void)ctx;
	n_looked++;
}

static inline uint64_t said(void *ctx)
{
	(void)ctx;
	return n_looked;
}

static inline uint64_t seen(void *ctx)
{
	(void)ctx;
	return asleep ? 0 : n_looked;
}

static inline void follow_pools(uint32_t n)
{
	struct health_clients *clients = health_clients_new(health, &gen.pool, n);
	health_follow(health, &gen.pool, n, clients);
	health_clients_free(clients);
}

static inline void follow(void)
{
	follow_pools(1);
}

static inline void begin(size_t n, double max_ejected)
{
	static const struct health_host host = {.changed = on_changed,
						.noted = on_noted,
						.look = on_look,
						.said = said,
						.seen = seen,
						.loop = &watcher};
	n_changed = n_noted = n_looked = 0;
	broken = asleep = false;
	world_init(&world, 1, n);
	world.conf.slow_start_us = 60 * S;
	world.conf.outlier = (struct conf_outlier){
	    .on = true,
	    .consecutive_errors = 5,
	    .interval_us = 10 * S,
	    .eject_us = 30 * S,
	    .max_eject_us = 300 * S,
	    .max_ejected = max_ejected,
	};
	world_build(&world, &gen);
	cr_assert_eq(loop_init(&watcher, "watcher"), ERR_OK);
	watcher.now_us = 1000 * S;
	timer_wheel_init(&watcher.timers, watcher.now_us);
	health = health_new(&watcher, &host);
	follow();
}

static inline void end(void)
{
	health_free(health);
	loop_read_mail(&watcher);
	world_release(&world, &gen);
	loop_fini(&watcher);
	world_fini(&world);
}

static inline struct backend *backend(uint32_t i)
{
	return gen.pool.backends[i];
}

static inline bool is_ejected(uint32_t i)
{
	return backend_state(backend(i)) == BACKEND_ejected;
}

static inline uint8_t trial_of(uint32_t i)
{
	return atomic_load(&backend(i)->fault.trial);
}

static inline void read_mail(void)
{
	while (loop_read_mail(&watcher))
		;
}

static inline void pass(uint64_t us)
{
	for (uint64_t until = watcher.now_us + us; watcher.now_us < until;) {
		watcher.now_us += S / 10;
		timer_wheel_run(&watcher.timers, watcher.now_us);
		read_mail();
	}
}

static inline void fail(uint32_t i, unsigned times, bool on_trial)
{
	const struct fault_facts facts = {"it failed", 0, on_trial, true, broken};
	for (unsigned k = 0; k < times; k++)
		fault_note(&backend(i)->fault, &backend(i)->local[0]->fault, &facts);
}

static inline void serve(uint32_t i)
{
	fault_note_served(&backend(i)->fault, &backend(i)->local[0]->fault);
}

/* Seconds until it is back, in tenths. */
static inline double time_out(uint32_t i)
{
	uint64_t from = watcher.now_us;
	while (is_ejected(i) && watcher.now_us < from + 1000 * S)
		pass(S / 10);
	return (double)(watcher.now_us - from) / S;
}

#endif
