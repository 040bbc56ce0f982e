/* SPDX-License-Identifier: MIT */
/* Backends and pools that another process goes on with. */
#include <criterion/criterion.h>

#include "weir/base/rng.h"
#include "weir/pool/pack.h"
#include "world.h"

#define SECOND UINT64_C(1000000)

static struct world old, next;
static struct world_gen old_gen, next_gen;

static const char *known(struct view name)
{
	return view_eq(name, VIEW("ok")) ? "ok" : NULL;
}

static void set_up(struct world *w, struct world_gen *gen, unsigned n_workers, size_t n)
{
	world_init(w, n_workers, n);
	w->conf.sticky.on = true;
	w->conf.sticky.learn = VIEW("SID");
	w->conf.sticky.entries = 64;
	w->conf.limits.adaptive = true;
	world_build(w, gen);
}

/* Something of everything, by two workers. */
static void live(uint64_t now)
{
	struct backend *b = old_gen.pool.backends[1];
	for (unsigned i = 0; i < 2; i++) {
		struct backend_local *local = b->local[i];
		counter_add(&local->counters.requests, 40);
		counter_add(&local->counters.errors, 3);
		hist_set_record(&local->ok, PHASE_total, 5000);
		hist_set_record(&local->failed, PHASE_total, 70);
		counter_add(&old_gen.pool.state->local[i]->counters.requests, 50);
	}
	atomic_store(&b->memory.peak, 4711);
	atomic_store(&b->learned_idle_us, 5 * SECOND);
	learn_put(old_gen.pool.learned, learn_key(VIEW("alice")), b->serial, now / SECOND, 100);
	learn_put(old_gen.pool.learned, learn_key(VIEW("bob")), old_gen.pool.backends[0]->serial,
		  now / SECOND, 100);
	pool_registry_tick(&old.reg, now);
}

static struct pool_inherited take_over(struct view bytes, uint64_t now)
{
	struct unpack in = unpack_of(bytes);
	return pool_registry_unpack(&in, &next.reg, now, known);
}

static void finish(void)
{
	world_release(&old, &old_gen);
	world_fini(&old);
	world_release(&next, &next_gen);
	world_fini(&next);
}

Test(pool_pack, goes_on_in_another_process)
{
	uint64_t now = clock_us() + SECOND;
	struct str s = STR_INIT;
	set_up(&old, &old_gen, 2, 3);
	live(now);
	pool_registry_pack(&old.reg, now, POOL_PACK_ALL, &s);
	set_up(&next, &next_gen, 1, 4);
	struct pool_inherited found = take_over(str_as_view(&s), now);
	cr_expect(found.n_backends == 3 && found.n_pools == 1 && found.n_lost == 0, "%u %u %u",
		  found.n_backends, found.n_pools, found.n_lost);
	struct backend *b = next_gen.pool.backends[1];
	struct hist_total total;
	cr_expect_eq(counter_get(&b->local[0]->counters.requests), 80);
	cr_expect_eq(counter_get(&b->local[0]->counters.errors), 6);
	cr_expect_eq(counter_get(&next_gen.pool.state->local[0]->counters.requests), 100);
	windows_read(b->windows, PHASE_total, WINDOW_START, &total);
	cr_expect_eq(total.n, 2);
	cr_expect_eq(atomic_load(&b->memory.peak), 4711);
	cr_expect_eq(atomic_load(&b->learned_idle_us),
		     atomic_load(&old_gen.pool.backends[1]->learned_idle_us));
	cr_expect_eq(learn_get(next_gen.pool.learned, learn_key(VIEW("alice")), now / SECOND, 100),
		     b->serial);
	cr_expect_eq(history_newest(b->history)->requests, 80);
	/* and nothing is counted twice */
	pool_registry_tick(&next.reg, now + SECOND);
	windows_read(b->windows, PHASE_total, WINDOW_START, &total);
	cr_expect_eq(total.n, 2);
	cr_expect_eq(history_newest(b->history)->requests, 0);
	cr_expect(rate_per_s(&b->rate) < 100);
	str_fini(&s);
	finish();
}

/* Of many backends: serials are looked up by halves. */
Test(pool_pack, every_learned_pin_finds_its_backend_again)
{
	uint64_t now = clock_us() + SECOND;
	struct str s = STR_INIT;
	set_up(&old, &old_gen, 1, 9);
	set_up(&next, &next_gen, 1, 9);
	for (uint32_t i = 0; i < 9; i++)
		learn_put(old_gen.pool.learned, learn_key(view_of(&"abcdefghi"[i], 1)),
			  old_gen.pool.backends[i]->serial, now / SECOND, 100);
	pool_registry_pack(&old.reg, now, POOL_PACK_ALL, &s);
	cr_expect_eq(take_over(str_as_view(&s), now).n_lost, 0);
	for (uint32_t i = 0; i < 9; i++)
		cr_expect_eq(learn_get(next_gen.pool.learned,
				       learn_key(view_of(&"abcdefghi"[i], 1)), now / SECOND, 100),
			     next_gen.pool.backends[i]->serial, "%u", i);
	str_fini(&s);
	finish();
}

Test(pool_pack, garbled_bytes_do_no_harm)
{
	uint64_t now = clock_us() + SECOND;
	struct str whole = STR_INIT;
	struct rng rng;
	rng_init(&rng, 7);
	set_up(&old, &old_gen, 2, 2);
	live(now);
	pool_registry_pack(&old.reg, now, POOL_PACK_ALL, &whole);
	for (unsigned i = 0; i < 300; i++) {
		struct str s = STR_INIT;
		str_view(&s, str_as_view(&whole));
		if (i % 3 == 0)
			s.len = rng_next(&rng) % s.len;
		for (unsigned n = 0; s.len && n < i % 4; n++)
			s.ptr[rng_next(&rng) % s.len] = (char)rng_next(&rng);
		set_up(&next, &next_gen, 1, 2);
		take_over(str_as_view(&s), now);
		pool_registry_tick(&next.reg, now + SECOND);
		pool_look(&next_gen.pool, 0, now + SECOND);
		world_release(&next, &next_gen);
		world_fini(&next);
		str_fini(&s);
	}
	world_release(&old, &old_gen);
	world_fini(&old);
	str_fini(&whole);
}

/* As pool/before.c has it, whatever the order. */
static void put_row(struct str *out, const struct backend *b, unsigned n)
{
	pack_view(out, b->key);
	pack_u64(out, n);
	pack_u64(out, 0);
}

Test(pool_pack, what_the_process_before_has)
{
	struct str s = STR_INIT;
	const struct backend unknown = {.key = VIEW("app b9")};
	set_up(&old, &old_gen, 1, 1);
	set_up(&next, &next_gen, 1, 3);
	struct backend **b = next_gen.pool.backends;
	put_row(&s, b[2], 7);
	put_row(&s, &unknown, 8);
	put_row(&s, b[0], 9);
	struct unpack in = unpack_of(str_as_view(&s));
	pool_registry_before_unpack(&in, &next.reg, 1);
	cr_expect(backend_in_flight(b[0]) == 9 && backend_in_flight(b[1]) == 0 &&
		  backend_in_flight(b[2]) == 7);
	str_reset(&s);
	put_row(&s, b[1], 1);
	in = unpack_of(str_as_view(&s));
	pool_registry_before_unpack(&in, &next.reg, 2);
	cr_expect(backend_in_flight(b[0]) == 0 && backend_in_flight(b[1]) == 1 &&
		  backend_in_flight(b[2]) == 0);
	pool_registry_before_gone(&next.reg);
	cr_expect_eq(backend_in_flight(b[1]), 0);
	str_fini(&s);
	finish();
}

Test(pool_pack, secrets)
{
	struct str s = STR_INIT;
	set_up(&old, &old_gen, 1, 1);
	set_up(&next, &next_gen, 1, 1);
	pool_secrets_pack(&old.reg, &s);
	struct unpack in = unpack_of(str_as_view(&s));
	pool_secrets_unpack(&in, &next.reg);
	cr_expect(!in.bad && in.left == 0);
	cr_expect_eq(memcmp(old.reg.secret, next.reg.secret, sizeof(old.reg.secret)), 0);
	str_fini(&s);
	finish();
}
