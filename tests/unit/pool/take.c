/* SPDX-License-Identifier: MIT */
/* Building pools and taking leases. */
#include <criterion/criterion.h>
#include <signal.h>

#include "weir/base/rng.h"
#include "world.h"

static struct world world;
static struct world_gen gen;

static enum pool_verdict take(const struct pool_tried *tried, struct lease *lease)
{
	return pool_take(&gen.views[0], &world.pws[0], tried, 0, lease);
}

/* Takes and gives back; the index of who got it, or -1. */
static int take_and_drop(const struct pool_tried *tried)
{
	struct lease lease;
	if (take(tried, &lease) != POOL_TAKEN)
		return -1;
	int i = (int)lease.index;
	cr_expect_eq(lease.backend, gen.pool.backends[i]);
	lease_drop(&lease, false, 1000);
	cr_expect_null(lease.backend);
	return i;
}

static void finish(void)
{
	for (uint32_t i = 0; i < gen.pool.n; i++)
		cr_expect_eq(in_flight_of(&gen, i), 0);
	world_release(&world, &gen);
	world_fini(&world);
}

static void set_state(uint32_t i, enum backend_state state)
{
	atomic_store(&gen.pool.backends[i]->state, (uint8_t)state);
	pool_view_refresh(&gen.views[0]);
}

Test(pool_take, follows_the_states)
{
	world_init(&world, 1, 3);
	world_build(&world, &gen);
	unsigned seen[3] = {0};
	for (int i = 0; i < 30; i++)
		seen[take_and_drop(NULL)]++;
	for (int i = 0; i < 3; i++)
		cr_expect_eq(seen[i], 10);

	for (enum backend_state s = 0; s < N_BACKEND_STATES; s++) {
		/* one not checked yet is the last resort */
		bool lonely = s == BACKEND_unknown;
		set_state(1, lonely ? BACKEND_down : BACKEND_up);
		set_state(2, lonely ? BACKEND_down : BACKEND_up);
		set_state(0, s);
		bool met = false;
		for (int i = 0; i < 6; i++)
			met |= take_and_drop(NULL) == 0;
		cr_expect_eq(met, s == BACKEND_up || s == BACKEND_unknown, "%s",
			     backend_state_name(s));
	}
	for (uint32_t i = 0; i < 3; i++)
		set_state(i, BACKEND_draining);
	struct lease lease;
	cr_expect_eq(take(NULL, &lease), POOL_EMPTY);
	cr_expect_null(lease.backend);
	finish();
}

Test(pool_take, a_state_counts_from_the_refresh)
{
	world_init(&world, 1, 1);
	world_build(&world, &gen);
	atomic_store(&gen.pool.backends[0]->state, BACKEND_maintenance);
	cr_expect_eq(take_and_drop(NULL), 0);
	pool_view_refresh(&gen.views[0]);
	cr_expect_eq(take_and_drop(NULL), -1);
	finish();
}

Test(pool_take, weight_zero_gets_nothing)
{
	world_init(&world, 1, 2);
	world.backends[1].weight = 0;
	world_build(&world, &gen);
	for (int i = 0; i < 10; i++)
		cr_expect_eq(take_and_drop(NULL), 0);
	finish();
}

Test(pool_take, limits_are_never_passed)
{
	struct lease held[5], more;
	world_init(&world, 1, 2);
	world.conf.limits.requests = 2;
	world.backends[1].max_requests = 3; /* its own number wins */
	world_build(&world, &gen);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(take(NULL, &held[i]), POOL_TAKEN);
	cr_expect_eq(in_flight_of(&gen, 0), 2);
	cr_expect_eq(in_flight_of(&gen, 1), 3);
	cr_expect_eq(take(NULL, &more), POOL_FULL);
	cr_expect_null(more.backend);
	cr_expect_eq(in_flight_of(&gen, 0), 2);
	lease_drop(&held[1], false, 0);
	cr_expect_eq(take(NULL, &held[1]), POOL_TAKEN);
	cr_expect_eq(take(NULL, &more), POOL_FULL);
	for (int i = 0; i < 5; i++)
		lease_drop(&held[i], i % 2, 100);
	finish();
}

Test(pool_take, all_down_is_empty_not_full)
{
	struct lease held, more;
	world_init(&world, 1, 2);
	world.conf.limits.requests = 1;
	world_build(&world, &gen);
	cr_assert_eq(take(NULL, &held), POOL_TAKEN);
	set_state(0, BACKEND_down);
	set_state(1, BACKEND_down);
	cr_expect_eq(take(NULL, &more), POOL_EMPTY);
	lease_drop(&held, false, 0);
	finish();
}

Test(pool_take, tiers_stand_by)
{
	struct lease held[2], more;
	world_init(&world, 1, 4);
	/* written in no order: 0 and 2 first, then 3, then 1 */
	world.backends[1].priority = 9;
	world.backends[3].priority = 1;
	world.conf.limits.requests = 1;
	world_build(&world, &gen);
	cr_assert_eq(gen.pool.n_tiers, 3);
	for (int i = 0; i < 10; i++)
		cr_expect_eq(take_and_drop(NULL) % 2, 0);
	/* busy is not down */
	cr_assert_eq(take(NULL, &held[0]), POOL_TAKEN);
	cr_assert_eq(take(NULL, &held[1]), POOL_TAKEN);
	cr_expect_eq(take(NULL, &more), POOL_FULL);
	lease_drop(&held[0], false, 0);
	lease_drop(&held[1], false, 0);

	world.conf.overprovision = 0;
	set_state(0, BACKEND_down);
	for (int i = 0; i < 10; i++)
		cr_expect_eq(take_and_drop(NULL), 2);
	set_state(2, BACKEND_ejected);
	cr_expect_eq(take_and_drop(NULL), 3);
	set_state(3, BACKEND_maintenance);
	cr_expect_eq(take_and_drop(NULL), 1);
	set_state(2, BACKEND_up);
	cr_expect_eq(take_and_drop(NULL), 2);
	finish();
}

Test(pool_take, the_tried_are_out)
{
	struct pool_tried tried = {.index = {0, 1000}, .n = 2};
	world_init(&world, 1, 3);
	world.backends[2].priority = 1;
	world_build(&world, &gen);
	for (int i = 0; i < 5; i++)
		cr_expect_eq(take_and_drop(&tried), 1);
	tried = (struct pool_tried){.index = {0, 1}, .n = 2};
	cr_expect_eq(take_and_drop(&tried), 2, "the next tier when all of the first were tried");
	tried = (struct pool_tried){.index = {2, 1, 0}, .n = 3};
	cr_expect_eq(take_and_drop(&tried), -1);
	tried.n = 0;
	cr_expect_neq(take_and_drop(&tried), -1);
	finish();
}

Test(pool_take, more_backends_than_bits_in_a_word)
{
	unsigned seen[WORLD_BACKENDS] = {0};
	struct pool_tried tried = {.index = {79}, .n = 1};
	world_init(&world, 1, WORLD_BACKENDS);
	world_build(&world, &gen);
	for (int i = 0; i < 3 * WORLD_BACKENDS; i++)
		seen[take_and_drop(NULL)]++;
	for (int i = 0; i < WORLD_BACKENDS; i++)
		cr_expect_eq(seen[i], 3);
	for (int i = 0; i < WORLD_BACKENDS; i++)
		cr_expect_neq(take_and_drop(&tried), 79);
	finish();
}

Test(pool_take, dropping_twice_ends_the_process, .signal = SIGABRT)
{
	struct lease lease;
	world_init(&world, 1, 1);
	world_build(&world, &gen);
	cr_assert_eq(take(NULL, &lease), POOL_TAKEN);
	lease_drop(&lease, false, 0);
	lease_drop(&lease, false, 0);
}

/* ---- overrides ---- */

Test(pool_build, weights_set_at_run_time)
{
	struct pool_override weight = {
	    .pool = VIEW("app"), .backend = VIEW("b1"), .has_weight = true, .weight = 3};
	struct pool_override other = {
	    .pool = VIEW("api"), .backend = VIEW("b0"), .has_weight = true, .weight = 0};
	unsigned seen[2] = {0};
	world_init(&world, 1, 2);
	list_push_back(&world.overrides, &weight.link);
	list_push_back(&world.overrides, &other.link);
	world_build(&world, &gen);
	cr_assert_eq(gen.pool.n, 2);
	for (int i = 0; i < 8; i++)
		seen[take_and_drop(NULL)]++;
	cr_expect_eq(seen[0], 2);
	cr_expect_eq(seen[1], 6);
	finish();
}

Test(pool_build, backends_added_and_removed_at_run_time)
{
	struct pool_override remove = {.pool = VIEW("app"), .backend = VIEW("b0"), .remove = true};
	struct pool_override add = {
	    .pool = VIEW("app"),
	    .backend = VIEW("new"),
	    .add = true,
	    .has_weight = true,
	    .weight = 7,
	    .added = {.name = VIEW("new"), .address_text = VIEW("10.0.0.9:80"), .weight = 2},
	};
	struct pool_override elsewhere = add;
	elsewhere.pool = VIEW("api");
	world_init(&world, 1, 2);
	list_push_back(&world.overrides, &remove.link);
	list_push_back(&world.overrides, &add.link);
	list_push_back(&world.overrides, &elsewhere.link);
	world_build(&world, &gen);
	cr_assert_eq(gen.pool.n, 2);
	cr_expect_eq(pool_backend_index(&gen.pool, VIEW("b0")), -1);
	cr_expect_eq(pool_backend_index(&gen.pool, VIEW("b1")), 0);
	cr_expect_eq(pool_backend_index(&gen.pool, VIEW("new")), 1);
	cr_expect_eq(gen.pool.weights[1], 7);
	cr_expect(view_eq(gen.pool.backends[1]->address_text, VIEW("10.0.0.9:80")));
	finish();
}

Test(pool_build, an_added_backend_replaces_the_one_of_that_name)
{
	struct pool_override add = {
	    .pool = VIEW("app"),
	    .backend = VIEW("b0"),
	    .add = true,
	    .added = {.name = VIEW("b0"), .address_text = VIEW("10.0.0.9:80"), .weight = 1},
	};
	world_init(&world, 1, 2);
	list_push_back(&world.overrides, &add.link);
	world_build(&world, &gen);
	cr_assert_eq(gen.pool.n, 2);
	int32_t i = pool_backend_index(&gen.pool, VIEW("b0"));
	cr_assert_geq(i, 0);
	cr_expect(view_eq(gen.pool.backends[i]->address_text, VIEW("10.0.0.9:80")));
	finish();
}

Test(pool_build, one_that_was_added_and_is_in_the_file_by_now)
{
	struct pool_override add = {
	    .pool = VIEW("app"),
	    .backend = VIEW("b0"),
	    .add = true,
	    .added = {.name = VIEW("b0"), .address_text = VIEW("b0"), .weight = 9},
	};
	world_init(&world, 1, 2);
	list_push_back(&world.overrides, &add.link);
	world.backends[0].priority = 3;
	world_build(&world, &gen);
	cr_assert_eq(gen.pool.n, 2);
	cr_expect_eq(gen.pool.weights[0], 1, "the file says how");
	cr_expect_eq(gen.pool.priorities[0], 3);
	finish();
}

Test(pool_build, a_state_set_at_run_time_holds_at_another_address)
{
	struct pool_override drain = {.pool = VIEW("app"),
				      .backend = VIEW("b0"),
				      .has_state = true,
				      .state = BACKEND_maintenance};
	struct pool_override leaving = {
	    .pool = VIEW("app"), .backend = VIEW("b1"), .leaving = true, .state = BACKEND_up};
	world_init(&world, 1, 3);
	list_push_back(&world.overrides, &drain.link);
	list_push_back(&world.overrides, &leaving.link);
	world.backends[0].address_text = VIEW("10.9.9.9:1");
	world_build(&world, &gen);
	cr_expect_eq(backend_state(gen.pool.backends[0]), BACKEND_maintenance);
	cr_expect_eq(backend_state(gen.pool.backends[1]), BACKEND_draining);
	cr_expect_eq(backend_state(gen.pool.backends[2]), BACKEND_up);
	for (int i = 0; i < 6; i++)
		cr_expect_eq(take_and_drop(NULL), 2);
	finish();
}

Test(pool_build, removing_all_leaves_an_empty_pool)
{
	struct pool_override remove = {.pool = VIEW("app"), .backend = VIEW("b0"), .remove = true};
	world_init(&world, 1, 1);
	list_push_back(&world.overrides, &remove.link);
	world_build(&world, &gen);
	cr_expect_eq(gen.pool.n, 0);
	cr_expect_eq(take_and_drop(NULL), -1);
	finish();
}

/* ---- generations ---- */

Test(pool_build, run_time_state_outlives_generations)
{
	struct world_gen next;
	struct lease lease;
	world_init(&world, 1, 2);
	world_build(&world, &gen);
	cr_assert_eq(take(NULL, &lease), POOL_TAKEN);
	uint32_t mine = lease.index, other = 1 - mine;
	atomic_store(&gen.pool.backends[other]->state, BACKEND_draining);

	struct conf_backend swapped[] = {world.backends[1], world.backends[0]};
	world.conf.backends = swapped; /* order does not matter, names do */
	world_build(&world, &next);
	cr_expect_eq(next.pool.backends[0], gen.pool.backends[1]);
	cr_expect_eq(next.pool.backends[1], gen.pool.backends[0]);
	cr_expect_eq(next.pool.state, gen.pool.state);
	struct lease second;
	cr_assert_eq(pool_take(&next.views[0], &world.pws[0], NULL, 0, &second), POOL_TAKEN);
	cr_expect_eq(second.backend, gen.pool.backends[mine], "the draining one is not taken");
	cr_expect_eq(in_flight_of(&gen, mine), 2);
	lease_drop(&second, false, 0);
	lease_drop(&lease, false, 0); /* of the old generation */
	world_release(&world, &next);
	finish();
}

Test(pool_build, another_address_is_another_backend)
{
	struct world_gen next;
	world_init(&world, 1, 1);
	world_build(&world, &gen);
	struct backend *old = gen.pool.backends[0];
	world.backends[0].address_text = VIEW("elsewhere:1");
	world_build(&world, &next);
	cr_expect_neq(next.pool.backends[0], old);
	world_release(&world, &next);
	finish();
}

/* ---- against a model ---- */

Test(pool_take, thousands_of_random_moves)
{
	enum { HELD = 64, LIMIT = 5, N = 6 };
	struct lease held[HELD];
	size_t n_held = 0;
	uint32_t model[N] = {0};
	struct rng rng;
	rng_init(&rng, 42);
	world_init(&world, 1, N);
	world.conf.limits.requests = LIMIT;
	world.conf.panic = 0;
	world.conf.balance = VIEW("least-request");
	world_build(&world, &gen);
	for (int move = 0; move < 50000; move++) {
		uint32_t dice = rng_below(&rng, 10), i = rng_below(&rng, N);
		if (dice == 0) {
			set_state(i, rng_below(&rng, 2) ? BACKEND_up : BACKEND_down);
		} else if (dice < 6 && n_held < HELD) {
			struct pool_tried tried = {.index = {i}, .n = dice % 2};
			struct lease *l = &held[n_held];
			uint32_t least = LIMIT;
			bool any = false;
			for (uint32_t k = 0; k < N; k++) {
				if (!backend_state_takes_new(backend_state(gen.pool.backends[k])) ||
				    (tried.n && k == i))
					continue;
				any = true;
				least = model[k] < least ? model[k] : least;
			}
			enum pool_verdict want = !any             ? POOL_EMPTY
						 : least >= LIMIT ? POOL_FULL
								  : POOL_TAKEN;
			cr_assert_eq(take(&tried, l), want, "move %d", move);
			if (want == POOL_TAKEN) {
				cr_assert_eq(model[l->index], least);
				model[l->index]++;
				n_held++;
			}
		} else if (n_held) {
			size_t k = rng_below(&rng, (uint32_t)n_held);
			model[held[k].index]--;
			lease_drop(&held[k], false, 10);
			held[k] = held[--n_held];
		}
		for (uint32_t k = 0; k < N; k++)
			cr_assert_eq(in_flight_of(&gen, k), model[k]);
	}
	while (n_held)
		lease_drop(&held[--n_held], false, 10);
	finish();
}

/* ---- a backend that refuses connections ---- */

static bool refuse(uint32_t i)
{
	return pool_note_refused(&gen.views[0], &world.pws[0], gen.pool.backends[i]);
}

Test(pool_take, avoids_who_refuses_for_a_while)
{
	world_init(&world, 1, 2);
	world_build(&world, &gen);
	struct backend_local *local = gen.pool.backends[0]->local[0];
	world.loops[0].now_us = 5000000;
	cr_expect_not(refuse(0));
	cr_expect_not(refuse(0));
	pool_note_connected(local); /* a success forgets them */
	cr_expect_not(refuse(0));
	cr_expect_not(refuse(0));
	cr_expect(refuse(0), "the third in a row");
	for (int i = 0; i < 10; i++)
		cr_expect_eq(take_and_drop(NULL), 1);

	world.loops[0].now_us += POOL_AVOID_US - 1;
	cr_expect(pool_view_refresh(&gen.views[0]), "another look is due");
	cr_expect_eq(take_and_drop(NULL), 1);
	world.loops[0].now_us += 1;
	cr_expect_not(pool_view_refresh(&gen.views[0]));
	bool met = false;
	for (int i = 0; i < 4; i++)
		met |= take_and_drop(NULL) == 0;
	cr_expect(met, "it has its next chance");
	cr_expect(refuse(0), "and one refusal ends it");
	finish();
}

Test(pool_take, avoids_nobody_when_all_refuse)
{
	world_init(&world, 1, 2);
	world_build(&world, &gen);
	for (uint32_t i = 0; i < 2 * POOL_REFUSED_MAX; i++)
		refuse(i % 2);
	unsigned seen[2] = {0};
	for (int i = 0; i < 10; i++)
		seen[take_and_drop(NULL)]++;
	cr_expect_eq(seen[0], 5);
	cr_expect_eq(seen[1], 5);
	finish();
}

/* A stream keeps its place under max_requests, but not under an adaptive limit. */
Test(pool_take, a_stream_has_a_place_but_is_no_request)
{
	struct lease stream, lease;
	world_init(&world, 1, 1);
	world.conf.limits.requests = 2;
	world_build(&world, &gen);
	cr_assert_eq(take(NULL, &stream), POOL_TAKEN);
	lease_streams(&stream);
	lease_streams(&stream); /* once more is fine */
	cr_expect_eq(backend_streams(gen.pool.backends[0]), 1);
	cr_expect_eq(in_flight_of(&gen, 0), 1);
	cr_expect_eq(strategy_load(&gen.pool.loads, 0), 0);
	cr_expect_eq(strategy_load(&gen.pool.stream_loads, 0), 1);
	cr_assert_eq(take(NULL, &lease), POOL_TAKEN);
	cr_expect_eq(lease.others, 0, "it is alone");
	cr_expect_eq(take_and_drop(NULL), -1);
	gen.pool.adaptive = true;
	gen.pool.max_requests[0] = 0;
	atomic_store(&gen.pool.backends[0]->limit, 2);
	cr_expect_eq(take_and_drop(NULL), 0);
	lease_drop(&lease, false, 1000);
	lease_drop(&stream, false, 1000);
	cr_expect_eq(backend_streams(gen.pool.backends[0]), 0);
	finish();
}
