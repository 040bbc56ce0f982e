/* SPDX-License-Identifier: MIT */
/*
 * Workers take leases of few slots, wait, leave the queue and give back, each on
 * its own thread and loop, while the control thread takes backends out and in
 * and folds statistics.  At no moment has a backend more than its limit, waiters
 * of a worker are served in order, and when nobody begins anything new everybody
 * who waits is served: a lost wake-up hangs and fails by the alarm.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../unit/pool/world.h"

#define WORKERS 4
#define BACKENDS 2
#define LIMIT 2
#define CLIENTS 6
#define PHASES 100
#define ROUNDS 600

enum client_state { IDLE, WAITING, HOLDING };

struct client {
	struct waiter waiter;
	struct lease lease;
	enum client_state state;
	uint64_t ticket; /* place in this worker's line */
};

struct worker {
	struct mail step;
	unsigned id, rounds;
	uint64_t next_ticket, last_served;
	struct client clients[CLIENTS];
	pthread_t thread;
};

static struct world world;
static struct world_gen gen;
static struct worker workers[WORKERS];
static _Atomic int n_held[BACKENDS]; /* counted by the test, not by the pool */
static _Atomic int n_failures;
static _Atomic int n_running;
static _Atomic unsigned n_waited;

static void expect(bool ok, const char *what)
{
	if (!ok && atomic_fetch_add(&n_failures, 1) < 10)
		fprintf(stderr, "FAIL: %s\n", what);
}

static struct worker *worker_of(struct waiter *waiter)
{
	return &workers[waiter->view->sl->pw->id];
}

static void hold(struct client *c)
{
	expect(atomic_fetch_add(&n_held[c->lease.index], 1) < LIMIT, "limit passed");
	expect(atomic_load(&c->lease.backend->in_flight) <= LIMIT, "counted past the limit");
	c->state = HOLDING;
}

static void drop(struct client *c)
{
	atomic_fetch_sub(&n_held[c->lease.index], 1);
	lease_drop(&c->lease, false, 1);
	c->state = IDLE;
}

static void on_lease(struct waiter *waiter, struct lease *lease)
{
	struct client *c = container_of(waiter, struct client, waiter);
	struct worker *w = worker_of(waiter);
	expect(c->state == WAITING, "served without waiting");
	expect(c->ticket > w->last_served, "served out of order");
	w->last_served = c->ticket;
	c->lease = *lease;
	hold(c);
	if (c->ticket % 5 == 0) /* fails at once, inside the callback */
		drop(c);
}

static void begin(struct worker *w, struct client *c)
{
	struct pool_view *view = &gen.views[w->id];
	switch (pool_take(view, &world.pws[w->id], NULL, 0, &c->lease)) {
	case POOL_TAKEN:
		hold(c);
		break;
	case POOL_FULL:
	case POOL_CROWDED:
		c->waiter.ready = on_lease;
		if (pool_queue_push(view, &c->waiter, world.loops[w->id].now_us) == ERR_OK) {
			c->ticket = ++w->next_ticket;
			c->state = WAITING;
			atomic_fetch_add(&n_waited, 1);
		}
		break;
	case POOL_EMPTY:
		break;
	}
}

static void act(struct worker *w, struct client *c)
{
	uint32_t dice = rng_below(&world.pws[w->id].rng, 16);
	if (c->state == IDLE && w->rounds < ROUNDS) {
		w->rounds++;
		begin(w, c);
	} else if (c->state == HOLDING && dice < 8) {
		drop(c);
	} else if (c->state == WAITING && dice < 2 && w->id % 2) {
		/* its client left; those of the other workers stay to the end */
		pool_queue_remove(&c->waiter);
		c->state = IDLE;
	}
}

static void on_step(struct loop *loop, struct mail *mail)
{
	struct worker *w = container_of(mail, struct worker, step);
	bool busy = w->rounds < ROUNDS;
	act(w, &w->clients[rng_below(&world.pws[w->id].rng, CLIENTS)]);
	for (unsigned i = 0; i < CLIENTS; i++)
		busy |= w->clients[i].state == HOLDING;
	if (busy) {
		loop_post(loop, &w->step);
		return;
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		busy |= w->clients[i].state == WAITING;
	if (!busy) {
		atomic_fetch_sub(&n_running, 1);
		return;
	}
	loop_post(loop, &w->step);
	sched_yield();
}

static void *run(void *arg)
{
	struct worker *w = arg;
	loop_run(&world.loops[w->id]);
	return NULL;
}

/* ---- the control thread ---- */

struct call {
	struct mail mail;
	bool stop;
	_Atomic int *n_open;
};

static void on_call(struct loop *loop, struct mail *mail)
{
	struct call *call = container_of(mail, struct call, mail);
	unsigned id = (unsigned)(loop - world.loops);
	pool_view_refresh(&gen.views[id]);
	pool_queue_serve(gen.views[id].sl);
	if (call->stop)
		loop_stop(loop);
	atomic_fetch_sub(call->n_open, 1);
}

/* Every worker looks again; waits until all have. */
static void call_all(bool stop)
{
	struct call calls[WORKERS];
	_Atomic int n_open = WORKERS;
	for (unsigned i = 0; i < WORKERS; i++) {
		calls[i] = (struct call){.mail.fn = on_call, .stop = stop, .n_open = &n_open};
		loop_post(&world.loops[i], &calls[i].mail);
	}
	while (atomic_load(&n_open))
		sched_yield();
}

static void phase(unsigned number)
{
	atomic_store(&n_running, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){.id = i, .step.fn = on_step};
		loop_post(&world.loops[i], &workers[i].step);
		if (pthread_create(&workers[i].thread, NULL, run, &workers[i]))
			exit(1);
	}
	/* every other phase nobody but the workers themselves wakes a queue */
	for (unsigned turn = 0; atomic_load(&n_running); turn++) {
		pool_registry_tick(&world.reg, clock_us());
		usleep(200);
		if (number % 2 == 0)
			continue;
		struct backend *b = gen.pool.backends[turn % BACKENDS];
		bool down = turn % 4 < 2;
		atomic_store(&b->state, down ? BACKEND_down : BACKEND_up);
		call_all(false);
	}
	call_all(true);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < BACKENDS; i++) {
		expect(in_flight_of(&gen, i) == 0, "in flight is not 0 at the end");
		expect(atomic_load(&n_held[i]) == 0, "somebody still holds a lease");
	}
	expect(atomic_load(&gen.pool.state->n_queued) == 0, "somebody is still queued");
}

int main(void)
{
	alarm(200); /* whoever waits for ever */
	world_init(&world, WORKERS, BACKENDS);
	world.conf.limits.requests = LIMIT;
	world.conf.balance = VIEW("least-request");
	world_build(&world, &gen);
	for (unsigned i = 0; i < PHASES; i++)
		phase(i);
	expect(atomic_load(&n_waited) > PHASES, "nobody ever waited: nothing was tested");
	world_release(&world, &gen);
	world_fini(&world);
	return atomic_load(&n_failures) ? 1 : 0;
}
