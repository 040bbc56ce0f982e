/* SPDX-License-Identifier: MIT */
/* What nodes say of themselves: written, read, cut short, damaged. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../pool/world.h"
#include "cluster/presence.h"
#include "weir/base/rng.h"

static const struct presence me = {VIEW("a"), VIEW("127.0.0.1:8404"), VIEW("1.2.3")};

/* Two rows, one of which names the pool of the other by nothing. */
static void write_two(struct str *out)
{
	pack_u64(out, 1);
	pack_view(out, me.name);
	pack_view(out, me.status);
	pack_view(out, me.version);
	pack_view(out, VIEW("app"));
	pack_view(out, VIEW("10.0.0.1:80"));
	pack_u64(out, 1500);
	pack_u64(out, 7);
	pack_view(out, VIEW_NONE);
	pack_view(out, VIEW("10.0.0.2:80"));
	pack_u64(out, 250);
	pack_u64(out, 0);
}

Test(cluster_presence, is_read_as_it_was_written)
{
	struct str out = STR_INIT;
	struct presence who;
	struct presence_row row = {.pool = VIEW_NONE};
	write_two(&out);
	struct unpack in = unpack_of(str_as_view(&out));
	cr_assert(presence_unpack(&in, &who));
	cr_assert(view_eq(who.name, me.name) && view_eq(who.status, me.status));
	cr_assert(presence_next(&in, &row));
	cr_assert(view_eq(row.pool, VIEW("app")) && view_eq(row.address, VIEW("10.0.0.1:80")));
	cr_assert_float_eq(row.in_flight, 1.5, 1e-9);
	cr_assert_eq(row.requests, 7);
	cr_assert(presence_next(&in, &row));
	cr_assert(view_eq(row.pool, VIEW("app")) && view_eq(row.address, VIEW("10.0.0.2:80")));
	cr_assert_not(presence_next(&in, &row));
	str_fini(&out);
}

/* What each backend has in flight, for two seconds of a registry. */
static void pack_pool(struct str *out, const bool *busy, size_t max)
{
	static struct world world;
	static struct world_gen gen;
	struct lease leases[3];
	size_t n = 0;
	world_init(&world, 1, 3);
	world.loops[0].now_us = 1000000000;
	world_build(&world, &gen);
	pool_view_refresh(&gen.views[0]);
	for (uint32_t i = 0; i < 3; i++)
		if (busy[i])
			cr_assert_eq(
			    pool_take_pinned(&gen.views[0], &world.pws[0], i, &leases[n++]),
			    POOL_TAKEN);
	pool_registry_tick(&world.reg, 1000000000);
	pool_registry_tick(&world.reg, 1001000000);
	presence_pack(out, &me, &world.reg, max);
	while (n)
		lease_drop(&leases[--n], false, 0);
	world_release(&world, &gen);
	world_fini(&world);
}

static unsigned count(const struct str *text, const char *what)
{
	unsigned n = 0;
	const char *at = text->ptr, *end = text->ptr + text->len;
	while ((at = memmem(at, (size_t)(end - at), what, strlen(what)))) {
		at++;
		n++;
	}
	return n;
}

Test(cluster_presence, who_has_something_in_flight_is_told_and_its_pool_once)
{
	struct str out = STR_INIT, little = STR_INIT;
	struct presence who;
	struct presence_row row = {.pool = VIEW_NONE};
	pack_pool(&out, (const bool[]){true, false, true}, 1000);
	struct unpack in = unpack_of(str_as_view(&out));
	cr_assert(presence_unpack(&in, &who) && view_eq(who.name, me.name));
	bool first = false, third = false;
	for (unsigned n = 0; presence_next(&in, &row); n++) {
		cr_expect(view_eq(row.pool, VIEW("app")) && row.in_flight > 0.9);
		first |= view_eq(row.address, VIEW("b0"));
		third |= view_eq(row.address, VIEW("b2"));
		cr_assert_lt(n, 2);
	}
	cr_expect(first && third && !in.bad);
	cr_expect_eq(count(&out, "app"), 1);
	pack_pool(&little, (const bool[]){true, true, true}, out.len + 32);
	cr_expect_leq(little.len, out.len + 32, "what has no room is left out");
	cr_expect_gt(count(&little, "b"), 0);
	str_fini(&out);
	str_fini(&little);
}

Test(cluster_presence, another_version_is_not_understood)
{
	struct str out = STR_INIT;
	struct presence who;
	pack_u64(&out, 2);
	pack_view(&out, me.name);
	struct unpack in = unpack_of(str_as_view(&out));
	cr_assert_not(presence_unpack(&in, &who));
	str_fini(&out);
}

/* Each of the three names has 256 bytes at most, and the first is one. */
Test(cluster_presence, names_have_a_length)
{
	static char text[257];
	memset(text, 'n', sizeof(text));
	for (unsigned i = 0; i < 3; i++)
		for (size_t len = 0; len <= 257; len += len ? 1 : 256) {
			struct str out = STR_INIT;
			struct presence who;
			pack_u64(&out, 1);
			for (unsigned k = 0; k < 3; k++)
				pack_view(&out, view_of(text, k == i ? len : 1));
			struct unpack in = unpack_of(str_as_view(&out));
			cr_expect_eq(presence_unpack(&in, &who), len == 256 || (!len && i > 0),
				     "%u: %zu", i, len);
			str_fini(&out);
		}
}

/* Each prefix, and bytes changed by chance: it ends, and reads nothing beyond. */
Test(cluster_presence, damage_ends_it)
{
	struct str out = STR_INIT;
	struct rng rng;
	rng_init(&rng, 7);
	write_two(&out);
	for (unsigned round = 0; round < 20000; round++) {
		char *copy = malloc(out.len);
		size_t len = rng_next(&rng) % (out.len + 1), rows = 0;
		memcpy(copy, out.ptr, out.len);
		for (unsigned i = 0; i < round % 4; i++)
			copy[rng_next(&rng) % out.len] = (char)rng_next(&rng);
		struct unpack in = unpack_of(view_of(copy, len));
		struct presence who;
		struct presence_row row = {.pool = VIEW_NONE};
		if (presence_unpack(&in, &who))
			while (presence_next(&in, &row))
				rows++;
		cr_assert_leq(rows, out.len);
		free(copy);
	}
	str_fini(&out);
}

Test(cluster_presence, a_registry_without_traffic_says_only_who_it_is)
{
	struct str out = STR_INIT;
	struct pool_registry registry = {.n_workers = 1};
	struct presence who;
	struct presence_row row = {.pool = VIEW_NONE};
	list_init(&registry.backends);
	presence_pack(&out, &me, &registry, 1000);
	struct unpack in = unpack_of(str_as_view(&out));
	cr_assert(presence_unpack(&in, &who));
	cr_assert_not(presence_next(&in, &row));
	str_fini(&out);
}

/* Of a second of each backend: who had nothing to do is not told of. */
Test(cluster_presence, a_registry_says_what_its_backends_had_to_do)
{
	static const struct {
		struct view pool, address;
		struct history_row second;
	} rows[] = {{VIEW("a"), VIEW("10.0.0.1:80"), {.in_flight = 1.5f, .requests = 7}},
		    {VIEW("a"), VIEW("10.0.0.2:80"), {.requests = 0}},
		    {VIEW("a"), VIEW("10.0.0.3:80"), {.in_flight = 0.25f}},
		    {VIEW("b"), VIEW("10.0.0.1:80"), {.requests = 3}}};
	static const size_t told[] = {0, 2, 3};
	enum { N = sizeof(rows) / sizeof(rows[0]) };
	struct pool_registry registry;
	struct backend *backends[N];
	struct str out = STR_INIT;
	struct presence who;
	struct presence_row row = {.pool = VIEW_NONE};
	list_init(&registry.backends);
	for (size_t i = 0; i < N; i++) {
		backends[i] = aligned_alloc(64, (sizeof(*backends[i]) + 63) / 64 * 64);
		memset(backends[i], 0, sizeof(*backends[i]));
		backends[i]->pool_name = rows[i].pool;
		backends[i]->address_text = rows[i].address;
		backends[i]->history = history_new();
		history_push(backends[i]->history, &rows[i].second);
		list_push_back(&registry.backends, &backends[i]->registry_link);
	}
	presence_pack(&out, &me, &registry, 1000);
	struct unpack in = unpack_of(str_as_view(&out));
	cr_assert(presence_unpack(&in, &who));
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		cr_assert(presence_next(&in, &row), "%zu", i);
		cr_expect(view_eq(row.pool, rows[told[i]].pool), "%zu", i);
		cr_expect(view_eq(row.address, rows[told[i]].address), "%zu", i);
		cr_expect_eq(row.requests, rows[told[i]].second.requests);
		cr_expect_float_eq(row.in_flight, rows[told[i]].second.in_flight, 1e-6);
	}
	cr_expect_not(presence_next(&in, &row));
	for (size_t i = 0; i < N; i++) {
		history_free(backends[i]->history);
		free(backends[i]);
	}
	str_fini(&out);
}
