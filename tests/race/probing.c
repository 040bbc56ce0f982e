/* SPDX-License-Identifier: MIT */
/*
 * Health on its thread beside reload after reload: generations come and go, operators set
 * states, a worker reports faults, checks pass and fail, and the news of all that is on its
 * way to the control thread.  A backend or a target that is gone too early, and whatever two
 * threads touch at a time, the sanitizer sees.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/pool/world.h"
#include "boot/control.h"
#include "weir/base/log.h"

#define ROUNDS 300
#define BACKENDS 8
#define SHOWN 4 /* of them at a time */

static struct world world;
static struct control control;
static struct world_gen gens[2];
static atomic_bool stop;
static unsigned n_facts, n_down;

/* What workers and faults have a hand in: those that no round takes away. */
static void *work(void *arg)
{
	static const struct fault_facts failed = {"it failed", 0, false, true, false};
	struct backend *b = arg;
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		if (i % 3 && backend_state(b) != BACKEND_draining)
			fault_note(&b->fault, &b->local[0]->fault, &failed);
		else
			fault_note_served(&b->fault, &b->local[0]->fault);
		counter_add(&b->local[0]->counters.requests, 1);
		sched_yield();
	}
	return NULL;
}

/* The port of a server that accepts, or of one that has gone. */
static uint16_t bind_port(bool listens)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	check(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
	check(!listens || listen(fd, 128) == 0);
	return ntohs(at.sin_port);
}

static void configure(void)
{
	uint16_t ports[2] = {bind_port(true), bind_port(false)};
	static const struct conf_health checks = {.on = true,
						  .type = 1, /* tcp */
						  .interval_us = 2000,
						  .timeout_us = 1000000,
						  .rise = 1,
						  .fall = 1};
	world_init(&world, 1, BACKENDS);
	for (unsigned i = 0; i < BACKENDS; i++) {
		char text[ADDR_TEXT_MAX];
		snprintf(text, sizeof(text), "127.0.0.1:%u", ports[i % 2]);
		check(addr_parse(view_str(text), &world.backends[i].address));
	}
	world.conf.health = checks;
	world.conf.outlier = (struct conf_outlier){.on = true,
						   .consecutive_errors = 3,
						   .interval_us = 5000,
						   .eject_us = 3000,
						   .max_eject_us = 10000,
						   .latency_factor = 3,
						   .max_ejected = 0.5};
}

static void look_at(struct pool *pool)
{
	pool_registry_tick(&world.reg, clock_us());
	pool_typical(pool);
	for (uint32_t i = 0; i < pool->n; i++) {
		const struct health_facts *facts = health_facts(pool->backends[i]);
		check(facts != NULL);
		n_facts += facts->n_checks > 0;
		n_down += pool->backends[i]->reason[0] && facts->n_failed;
	}
}

static void round_of(unsigned i)
{
	struct world_gen *next = &gens[i % 2], *old = &gens[(i + 1) % 2];
	world.conf.backends = &world.backends[i % 3 ? 0 : 2];
	world.conf.n_backends = SHOWN + i % 2;
	world.conf.health.on = i % 7 != 0;
	world_build(&world, next);
	struct generation gen = {.pools = &next->pool, .n_pools = 1};
	probing_follow(control.probing, &gen);
	if (old->arena)
		world_release(&world, old);
	probing_set_admin(control.probing, next->pool.backends[i % next->pool.n],
			  i % 2 ? BACKEND_draining : BACKEND_up, "set by an operator");
	check(i % 2 == 0 ||
	      strcmp(next->pool.backends[i % next->pool.n]->reason, "set by an operator") == 0);
	look_at(&next->pool);
	usleep(1000);
	loop_read_mail(&control.loop);
	look_at(&next->pool);
}

int main(void)
{
	pthread_t worker;
	configure();
	log_set_level(LOG_LEVEL_ERROR);
	check(loop_init(&control.loop, "control") == ERR_OK);
	control.probing = probing_new(&control, NULL);
	check(probing_run(control.probing) == ERR_OK);
	round_of(1);
	/* kept by a count of its own while the worker uses it */
	struct world_gen kept;
	world_build(&world, &kept);
	check(pthread_create(&worker, NULL, work, kept.pool.backends[2]) == 0);
	for (unsigned i = 2; i < ROUNDS; i++)
		round_of(i);
	atomic_store(&stop, true);
	pthread_join(worker, NULL);
	probing_stop(control.probing);
	probing_free(control.probing);
	world_release(&world, &kept);
	world_release(&world, &gens[(ROUNDS - 1) % 2]);
	world_fini(&world);
	loop_fini(&control.loop);
	check(n_facts && n_down);
	printf("%u rounds, %u times checked, %u times down\n", ROUNDS, n_facts, n_down);
	return 0;
}
