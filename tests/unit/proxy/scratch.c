/* SPDX-License-Identifier: MIT */
/* What a worker's scratch is checked for in the builds that check it. */
#include <criterion/criterion.h>
#include <signal.h>

#include "world.h"

#ifdef WEIR_CHECK_SLOW

static struct world *world(void)
{
	struct world *w = world_new("workers: 1\n"
				    "listeners: [{bind: 'unix:$DIR/web'}]\n"
				    "pools: {app: {backends: ['unix:$DIR/b1']}}\n");
	cr_assert_not_null(w);
	return w;
}

Test(scratch, who_drops_what_it_took_is_fine)
{
	struct world *w = world();
	for (enum scratch what = 0; what < N_SCRATCHES; what++) {
		scratch_take(w->worker, what);
		scratch_drop(w->worker, what);
	}
	world_turn(w);
	world_free(w);
}

Test(scratch, nobody_takes_what_another_has, .signal = SIGABRT)
{
	struct world *w = world();
	scratch_take(w->worker, SCRATCH_RESP);
	scratch_take(w->worker, SCRATCH_RESP);
}

Test(scratch, nobody_keeps_it_for_the_next_turn, .signal = SIGABRT)
{
	struct world *w = world();
	scratch_take(w->worker, SCRATCH_HEAD);
	world_turn(w);
}

#endif
