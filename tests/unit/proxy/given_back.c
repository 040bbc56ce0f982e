/* SPDX-License-Identifier: MIT */
/* Memory that a burst took goes back to the system, and nothing points to it then. */
#include <criterion/criterion.h>

#include "world.h"

#include "proxy/exchange.h"

#define OBJECTS 1000

static bool has_fired;

static void on_late(struct timer *timer)
{
	(void)timer;
	has_fired = true;
}

static void file(struct world *w, struct timer *timer)
{
	struct loop *loop = &w->worker->loop;
	timer_set(&loop->timers, timer, loop->now_us + 30000000);
	timer_clear(timer); /* it stays in the wheel */
}

Test(memory, timers_leave_the_wheel_before_their_memory_goes)
{
	struct world *w = world_new("workers: 1\n"
				    "listeners: [{bind: 'unix:$DIR/web'}]\n"
				    "pools: {app: {backends: ['unix:$DIR/b1']}}\n");
	struct slab *exchanges = &w->worker->exchanges, *attempts = &w->worker->attempts;
	static struct exchange *ex[OBJECTS];
	static struct attempt *at[OBJECTS];
	for (size_t i = 0; i < OBJECTS; i++) {
		ex[i] = slab_get(exchanges);
		at[i] = slab_get(attempts);
	}
	/* filed first, it stands behind all the others in its slot */
	struct timer late = {.fn = on_late};
	loop_timer(&w->worker->loop, &late, 30000000);
	/* those in the middle come first in their slot of the wheel, and are sure to go */
	for (size_t i = 0; i < OBJECTS; i++) {
		size_t k = (i + OBJECTS / 2 + 1) % OBJECTS;
		file(w, &ex[k]->timer);
		file(w, &ex[k]->first.timer);
		file(w, &at[k]->timer);
	}
	for (size_t i = 0; i < OBJECTS; i++) {
		slab_put(exchanges, ex[i]);
		slab_put(attempts, at[i]);
	}
	world_pass(w, 10000000);
	cr_assert_eq(ex[OBJECTS / 2]->first.timer.filed, 0, "it has not been given back");
	world_pass(w, 40000000);
	cr_assert(has_fired);
	world_free(w);
}
