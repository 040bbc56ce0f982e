/* SPDX-License-Identifier: MIT */
/* Pins: texts that cannot be forged, the same for everybody who knows the secret. */
#include <criterion/criterion.h>

#include "weir/base/bitset.h"
#include "world.h"

#define NOW UINT64_C(1790000000)

static struct view secrets[2];

static struct arena *arena;
static struct backend *backends[64];
static char names[64][16];

static struct conf_pool conf_of(const char *pool, const char *first, const char *second)
{
	secrets[0] = view_str(first);
	secrets[1] = view_str(second);
	return (struct conf_pool){
	    .name = view_str(pool),
	    .sticky = {.on = true, .keys = {secrets, first ? second ? 2 : 1 : 0}},
	};
}

static const struct pins *build(const struct conf_pool *conf, uint32_t n)
{
	return pins_build(conf, backends, n, VIEW("drawn at start....."), arena);
}

static void begin(void)
{
	arena = arena_new();
	for (unsigned i = 0; i < ARRAY_LEN(backends); i++) {
		backends[i] = arena_zalloc_line(arena, sizeof(struct backend));
		snprintf(names[i], sizeof(names[i]), "b%u", i);
		backends[i]->name = view_str(names[i]);
	}
}

static void end(void)
{
	arena_free(arena);
}

static bool reads(const struct pins *pins, const char *text, uint64_t now, struct pin *pin)
{
	return pins_read(pins, view_of(text, PIN_TEXT_LEN), now, pin);
}

TestSuite(pool_pin, .init = begin, .fini = end);

Test(pool_pin, what_is_written_is_read)
{
	struct conf_pool conf = conf_of("app", "0123456789abcdef", NULL);
	const struct pins *pins = build(&conf, 64);
	for (uint32_t i = 0; i < 64; i++) {
		char text[PIN_TEXT_LEN];
		struct pin pin;
		pins_write(pins, i, NOW, text);
		cr_assert(reads(pins, text, NOW + 5, &pin));
		cr_expect_eq(pin.index, i);
		cr_expect_eq(pin.age_s, 5);
		cr_expect_not(pin.old_key);
	}
}

Test(pool_pin, a_changed_bit_anywhere_is_refused)
{
	struct conf_pool conf = conf_of("app", "0123456789abcdef", NULL);
	const struct pins *pins = build(&conf, 8);
	char text[PIN_TEXT_LEN];
	struct pin pin;
	pins_write(pins, 3, NOW, text);
	for (unsigned at = 0; at < PIN_TEXT_LEN; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			text[at] = (char)(text[at] ^ 1 << bit);
			cr_expect_not(reads(pins, text, NOW, &pin), "byte %u bit %u", at, bit);
			text[at] = (char)(text[at] ^ 1 << bit);
		}
	}
	cr_expect(reads(pins, text, NOW, &pin));
	cr_expect_not(pins_read(pins, view_of(text, PIN_TEXT_LEN - 1), NOW, &pin));
	cr_expect_not(pins_read(pins, VIEW_NONE, NOW, &pin));
}

Test(pool_pin, the_order_of_backends_does_not_matter)
{
	struct conf_pool conf = conf_of("app", "0123456789abcdef", NULL);
	const struct pins *one = build(&conf, 64);
	for (unsigned i = 0; i < 32; i++) {
		struct backend *b = backends[i];
		backends[i] = backends[63 - i];
		backends[63 - i] = b;
	}
	const struct pins *other = build(&conf, 64);
	for (uint32_t i = 0; i < 64; i++) {
		char text[PIN_TEXT_LEN], again[PIN_TEXT_LEN];
		struct pin pin;
		pins_write(one, i, NOW, text);
		cr_assert(reads(other, text, NOW, &pin));
		cr_expect_eq(pin.index, 63 - i);
		pins_write(other, 63 - i, NOW, again);
		cr_expect_arr_eq(text, again, PIN_TEXT_LEN);
	}
}

Test(pool_pin, two_keys_rotate)
{
	struct conf_pool old_conf = conf_of("app", "the old secret 0", NULL);
	const struct pins *old = build(&old_conf, 8);
	struct conf_pool both_conf = conf_of("app", "the new secret 1", "the old secret 0");
	const struct pins *both = build(&both_conf, 8);
	struct conf_pool new_conf = conf_of("app", "the new secret 1", NULL);
	const struct pins *new = build(&new_conf, 8);
	char text[PIN_TEXT_LEN];
	struct pin pin;
	pins_write(old, 2, NOW, text);
	cr_assert(reads(both, text, NOW, &pin));
	cr_expect_eq(pin.index, 2);
	cr_expect(pin.old_key);
	cr_expect_not(reads(new, text, NOW, &pin));
	pins_write(both, 2, NOW, text);
	cr_assert(reads(new, text, NOW, &pin));
	cr_expect_not(pin.old_key);
	cr_expect_not(reads(old, text, NOW, &pin));
}

Test(pool_pin, another_pool_or_a_removed_backend_is_nobody)
{
	struct conf_pool conf = conf_of("app", "0123456789abcdef", NULL);
	struct conf_pool other_conf = conf_of("api", "0123456789abcdef", NULL);
	const struct pins *pins = build(&conf, 8);
	char text[PIN_TEXT_LEN];
	struct pin pin;
	pins_write(pins, 7, NOW, text);
	cr_expect_not(reads(build(&other_conf, 8), text, NOW, &pin));
	cr_expect_not(reads(build(&conf, 7), text, NOW, &pin));
}

Test(pool_pin, a_ttl_ends_it_and_the_future_is_not_believed)
{
	struct conf_pool conf = conf_of("app", "0123456789abcdef", NULL);
	conf.sticky.ttl_us = UINT64_C(60) * 1000000;
	const struct pins *pins = build(&conf, 8);
	char text[PIN_TEXT_LEN];
	struct pin pin;
	pins_write(pins, 1, NOW, text);
	cr_expect(reads(pins, text, NOW + 60, &pin));
	cr_expect_not(reads(pins, text, NOW + 61, &pin));
	cr_expect(reads(pins, text, NOW - 86400, &pin));
	cr_expect_eq(pin.age_s, 0);
	cr_expect_not(reads(pins, text, NOW - 86401, &pin));
}

/* ---- learned ---- */

static uint64_t key_of(uint64_t i)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "session-%llu", (unsigned long long)i);
	return learn_key(view_of(text, (size_t)len));
}

Test(pool_pin, learned_pins_are_found_until_they_expire)
{
	struct learned *t = learned_new(1024);
	for (uint32_t i = 0; i < 64; i++)
		learn_put(t, key_of(i), i + 1, 1000, 30);
	for (uint32_t i = 0; i < 64; i++)
		cr_expect_eq(learn_get(t, key_of(i), 1030, 30), i + 1);
	cr_expect_eq(learn_get(t, key_of(99), 1030, 30), 0);
	/* each was used just now */
	cr_expect_eq(learn_get(t, key_of(5), 1060, 30), 6);
	cr_expect_eq(learn_get(t, key_of(6), 1061, 30), 0);
	learned_put(t);
}

Test(pool_pin, the_table_keeps_its_bound_and_the_recent_ones)
{
	struct learned *t = learned_new(800);
	cr_assert_eq(learned_entries(t), 800);
	for (uint32_t i = 0; i < 20000; i++) {
		learn_put(t, key_of(i), 7, 1000 + i, 1000000);
		cr_assert_eq(learn_get(t, key_of(i), 1000 + i, 1000000), 7);
	}
	cr_expect_eq(learned_count(t, 7, 21000, 1000000), 800);
	unsigned kept = 0;
	for (uint32_t i = 20000 - 400; i < 20000; i++)
		kept += learn_get(t, key_of(i), 21000, 1000000) == 7;
	cr_expect(kept > 380, "%u of the last 400", kept);
	learned_put(t);
}

Test(pool_pin, a_pin_may_move_and_a_new_table_takes_over)
{
	struct learned *t = learned_new(64), *bigger = learned_new(1024);
	learn_put(t, key_of(1), 1, 1000, 30);
	learn_put(t, key_of(1), 2, 1001, 30);
	learn_put(t, key_of(2), 1, 1001, 30);
	cr_expect_eq(learned_count(t, 1, 1001, 30), 1);
	learned_copy(bigger, t, 1002);
	learned_put(t);
	cr_expect_eq(learn_get(bigger, key_of(1), 1031, 30), 2);
	cr_expect_eq(learned_count(bigger, 1, 1031, 30), 1);
	cr_expect_eq(learned_count(bigger, 1, 1032, 30), 0);
	learned_put(bigger);
}

/* ---- leases ---- */

static struct world world;
static struct world_gen gen;

static enum pool_verdict take_in(enum backend_state state, enum conf_sticky_mode mode)
{
	struct lease lease;
	gen.pool.backends[1]->state = (uint8_t)state;
	world.conf.sticky.mode = mode;
	enum pool_verdict verdict = pool_take_pinned(&gen.views[0], &world.pws[0], 1, &lease);
	if (verdict == POOL_TAKEN) {
		cr_expect_eq(lease.index, 1);
		lease_drop(&lease, false, 0);
	}
	return verdict;
}

Test(pool_pin, the_state_of_the_backend_decides)
{
	static const struct {
		enum backend_state state;
		enum pool_verdict prefer, strict;
	} rows[] = {
	    {BACKEND_up, POOL_TAKEN, POOL_TAKEN},
	    {BACKEND_unknown, POOL_TAKEN, POOL_TAKEN},
	    {BACKEND_draining, POOL_TAKEN, POOL_TAKEN},
	    {BACKEND_ejected, POOL_EMPTY, POOL_EMPTY},
	    {BACKEND_down, POOL_EMPTY, POOL_EMPTY},
	    {BACKEND_maintenance, POOL_EMPTY, POOL_EMPTY},
	};
	world_init(&world, 1, 3);
	world.backends[1].weight = 0; /* keeps away new clients only */
	world_build(&world, &gen);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		cr_expect_eq(take_in(rows[i].state, CONF_STICKY_PREFER), rows[i].prefer, "%zu", i);
		cr_expect_eq(take_in(rows[i].state, CONF_STICKY_WAIT), rows[i].prefer, "%zu", i);
		cr_expect_eq(take_in(rows[i].state, CONF_STICKY_STRICT), rows[i].strict, "%zu", i);
	}
	/* in use for want of any other: it is there for its own clients, too */
	gen.pool.backends[1]->state = BACKEND_ejected;
	bitset_put(gen.views[0].eligible, 1);
	cr_expect_eq(take_in(BACKEND_ejected, CONF_STICKY_STRICT), POOL_TAKEN);
	cr_expect_eq(take_in(BACKEND_ejected, CONF_STICKY_PREFER), POOL_TAKEN);
	bitset_del(gen.views[0].eligible, 1);
	cr_expect_eq(in_flight_of(&gen, 1), 0);
	cr_expect(gen.pool.backends[1]->pinned_us != 0, "a draining backend notes its last pin");
	gen.pool.backends[1]->state = BACKEND_up;
	world_release(&world, &gen);
	world_fini(&world);
}

Test(pool_pin, at_its_limit_it_is_full_and_the_queue_keeps_the_wish)
{
	struct lease held;
	world_init(&world, 1, 3);
	world.conf.limits.requests = 1;
	world.conf.sticky.on = true;
	world_build(&world, &gen);
	cr_assert_eq(pool_take_pinned(&gen.views[0], &world.pws[0], 2, &held), POOL_TAKEN);
	struct lease second;
	cr_expect_eq(pool_take_pinned(&gen.views[0], &world.pws[0], 2, &second), POOL_FULL);
	cr_expect_eq(pool_take_pinned(&gen.views[0], &world.pws[0], 0, &second), POOL_TAKEN);
	lease_drop(&second, false, 0);
	lease_drop(&held, false, 0);
	world_release(&world, &gen);
	world_fini(&world);
}
