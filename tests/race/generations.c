/* SPDX-License-Identifier: MIT */
/*
 * Reload after reload while workers take leases: generations are built on the
 * control thread, adopted and let go by letter, and freed when the last worker
 * reports.  A generation freed too early, or a backend under an exchange, is a
 * race or a use after free that the sanitizer sees.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/proxy/worker.h"

#define WORKERS 3
#define GENERATIONS 300
#define BACKENDS 6
#define HELD 8
#define GUESTS 3

/* A worker's exchanges in a nutshell: a count on the generation and a lease of it. */
struct driver {
	struct mail step;
	struct worker *worker;
	bool stop;
	size_t n_held;
	struct held {
		struct gen_local *gl;
		struct lease lease;
	} held[HELD];
	/* those who wait in the pool queue: their end may be that of a generation */
	struct guest {
		struct waiter waiter;
		struct gen_local *gl; /* NULL: not waiting */
	} guests[GUESTS];
	uint64_t n_taken;
};

static struct loop control;
static struct pool_registry registry;
static struct worker *workers[WORKERS];
static struct pool_worker *pool_workers[WORKERS];
static struct driver drivers[WORKERS];
static struct list no_overrides;
static struct conf_backend backends[BACKENDS];
static char names[BACKENDS][16];
static struct conf_pool conf;
static struct conf whole; /* the rest of it */
static unsigned n_built, n_freed;
static ev_timer reload_timer;

/* ---- control ---- */

static void generation_free(struct generation *gen)
{
	pool_release(&gen->pools[0]);
	arena_free(gen->arena);
	n_freed++;
}

static void on_released(struct gen_local *gl)
{
	if (--gl->gen->n_live > 0)
		return;
	generation_free(gl->gen);
	if (n_freed == GENERATIONS)
		loop_stop(&control);
}

static void on_publish(struct loop *loop, struct mail *mail)
{
	worker_adopt(loop->owner, container_of(mail, struct gen_local, mail));
}

/* Other backends each time: some leave, some come back. */
static void choose_backends(void)
{
	conf.backends = &backends[n_built % 3];
	conf.n_backends = BACKENDS - 3 + n_built % 2;
	conf.limits.requests = n_built % 4 ? 2 : 0;
}

static void publish(void)
{
	struct arena *arena = arena_new();
	struct generation *gen = arena_zalloc(arena, sizeof(*gen));
	choose_backends();
	gen->id = ++n_built;
	gen->arena = arena;
	gen->conf = &whole;
	gen->n_workers = gen->n_live = WORKERS;
	gen->pools = arena_array(arena, 1, sizeof(*gen->pools));
	gen->n_pools = 1;
	pool_build(&gen->pools[0], &conf, &registry, &no_overrides, arena);
	gen->local = arena_array(arena, WORKERS, sizeof(*gen->local));
	for (unsigned i = 0; i < WORKERS; i++) {
		struct gen_local *gl = &gen->local[i];
		gl->gen = gen;
		gl->worker = workers[i];
		gl->views = arena_array(arena, 1, sizeof(*gl->views));
		pool_view_init(gl->views, gen->pools, &workers[i]->pool, arena);
		gl->mail.fn = on_publish;
	}
	for (unsigned i = 0; i < WORKERS; i++)
		loop_post(&workers[i]->loop, &gen->local[i].mail);
}

static void on_stop(struct loop *loop, struct mail *mail)
{
	struct driver *d = &drivers[((struct worker *)loop->owner)->pool.id];
	(void)mail;
	d->stop = true;
}

struct refresh {
	struct mail mail;
};

static void on_refresh(struct loop *loop, struct mail *mail)
{
	worker_refresh(loop->owner);
	free(container_of(mail, struct refresh, mail));
}

static void refresh_all(void)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		struct refresh *r = calloc(1, sizeof(*r));
		check(r != NULL);
		r->mail.fn = on_refresh;
		loop_post(&workers[i]->loop, &r->mail);
	}
}

static void on_reload(struct ev_loop *ev, ev_timer *timer, int revents)
{
	static struct mail stops[WORKERS];
	(void)revents;
	pool_registry_tick(&registry, clock_us());
	if (n_built < GENERATIONS) {
		publish();
		refresh_all();
		return;
	}
	ev_timer_stop(ev, timer);
	for (unsigned i = 0; i < WORKERS; i++) {
		stops[i].fn = on_stop;
		loop_post(&workers[i]->loop, &stops[i]);
	}
}

/* ---- workers ---- */

/* Out of the queue, and over at once. */
static void on_lease(struct waiter *waiter, struct lease *lease)
{
	struct guest *guest = container_of(waiter, struct guest, waiter);
	struct gen_local *gl = guest->gl;
	guest->gl = NULL;
	lease_drop(lease, true, 1);
	gen_put(gl);
}

static void wait_for_slot(struct driver *d)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		struct guest *guest = &d->guests[i];
		if (guest->gl)
			continue;
		guest->waiter.ready = on_lease;
		if (!pool_queue_push(d->worker->gen->views, &guest->waiter, d->worker->loop.now_us))
			guest->gl = gen_get(d->worker->gen);
		return;
	}
}

static void leave_queue(struct driver *d)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		if (!d->guests[i].gl)
			continue;
		pool_queue_remove(&d->guests[i].waiter);
		gen_put(d->guests[i].gl);
		d->guests[i].gl = NULL;
	}
}

static void take(struct driver *d)
{
	struct held *h = &d->held[d->n_held];
	struct gen_local *gl = d->worker->gen;
	switch (pool_take(gl->views, &d->worker->pool, NULL, 0, &h->lease)) {
	case POOL_FULL:
	case POOL_CROWDED:
		wait_for_slot(d);
		return;
	case POOL_EMPTY:
		return;
	case POOL_TAKEN:
		break;
	}
	h->gl = gen_get(gl);
	d->n_held++;
	d->n_taken++;
}

static void drop(struct driver *d, size_t i)
{
	struct held h = d->held[i];
	d->held[i] = d->held[--d->n_held];
	lease_drop(&h.lease, false, 1);
	counter_add(&h.gl->gen->pools[0].state->local[d->worker->pool.id]->counters.requests, 1);
	gen_put(h.gl);
}

static void on_step(struct loop *loop, struct mail *mail)
{
	struct driver *d = container_of(mail, struct driver, step);
	struct rng *rng = &d->worker->pool.rng;
	if (d->stop) {
		while (d->n_held)
			drop(d, 0);
		leave_queue(d);
		worker_leave(d->worker);
		loop_stop(loop);
		return;
	}
	for (int i = 0; d->worker->gen && i < 20; i++) {
		if (d->n_held < HELD && rng_below(rng, 2))
			take(d);
		else if (d->n_held)
			drop(d, rng_below(rng, (uint32_t)d->n_held));
	}
	loop_post(loop, &d->step);
}

static void *run(void *arg)
{
	struct worker *w = arg;
	loop_run(&w->loop);
	return NULL;
}

static void start(void)
{
	struct worker_limits limits = {.conns = 16, .upconns = 16, .bufs = 16};
	check(loop_init(&control, "control") == ERR_OK);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = aligned_alloc(WEIR_CACHE_LINE, sizeof(struct worker));
		check(workers[i] && worker_init(workers[i], i, &limits) == ERR_OK);
		workers[i]->control = &control;
		workers[i]->on_gen_released = on_released;
		workers[i]->peers = workers;
		workers[i]->n_peers = WORKERS;
		pool_workers[i] = &workers[i]->pool;
	}
	for (unsigned i = 0; i < BACKENDS; i++) {
		snprintf(names[i], sizeof(names[i]), "b%u", i);
		backends[i] = (struct conf_backend){
		    .name = view_str(names[i]), .address_text = view_str(names[i]), .weight = 1};
	}
	conf = (struct conf_pool){.name = VIEW("app"),
				  .balance = VIEW("least-request"),
				  .queue = {.on = true, .length = 100}};
	list_init(&no_overrides);
	pool_registry_init(&registry, WORKERS, pool_workers);
}

int main(void)
{
	uint64_t n_taken = 0;
	alarm(120);
	start();
	publish();
	for (unsigned i = 0; i < WORKERS; i++) {
		drivers[i] = (struct driver){.step.fn = on_step, .worker = workers[i]};
		loop_post(&workers[i]->loop, &drivers[i].step);
		check(pthread_create(&workers[i]->thread, NULL, run, workers[i]) == 0);
	}
	ev_timer_init(&reload_timer, on_reload, 0.001, 0.001);
	ev_timer_start(control.ev, &reload_timer);
	loop_run(&control);
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(workers[i]->thread, NULL);
		n_taken += drivers[i].n_taken;
	}
	pool_registry_fini(&registry); /* checks that no backend is left */
	for (unsigned i = 0; i < WORKERS; i++) {
		worker_fini(workers[i]);
		free(workers[i]);
	}
	loop_fini(&control);
	if (n_freed != GENERATIONS || n_taken < GENERATIONS) {
		fprintf(stderr, "FAIL: %u of %u generations freed, %lu leases taken\n", n_freed,
			n_built, (unsigned long)n_taken);
		return 1;
	}
	return 0;
}
