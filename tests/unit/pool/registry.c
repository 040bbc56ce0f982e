/* SPDX-License-Identifier: MIT */
/* How long the registry keeps what no generation names. */
#include <criterion/criterion.h>

#include "world.h"

Test(registry, a_pool_that_nothing_names_goes_when_no_letter_is_under_way)
{
	static struct world world;
	static struct world_gen gen;
	uint64_t now = 1000000000;
	world_init(&world, 1, 2);
	world_build(&world, &gen);
	struct pool_state *state = gen.pool.state;
	pool_registry_tick(&world.reg, now += 1000000);
	cr_expect_not(list_is_empty(&world.reg.states), "a generation names it");
	world_release(&world, &gen);
	static const uint8_t under_way[] = {WAKE_POSTED, WAKE_RUNNING};
	for (size_t i = 0; i < ARRAY_LEN(under_way); i++) {
		atomic_store(&state->local[0]->wake_state, under_way[i]);
		pool_registry_tick(&world.reg, now += 1000000);
		cr_assert_not(list_is_empty(&world.reg.states), "a worker will look at it");
	}
	atomic_store(&state->local[0]->wake_state, WAKE_IDLE);
	pool_registry_tick(&world.reg, now += 1000000);
	cr_expect(list_is_empty(&world.reg.states));
	world_fini(&world);
}
