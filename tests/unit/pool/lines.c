/* SPDX-License-Identifier: MIT */
/*
 * Which cache lines a request dirties of what other workers read: the one with the
 * backend's number in flight, and nothing else.  Looked for by comparing memory.
 */
#include <criterion/criterion.h>

#include "world.h"

#define N 8

static struct world world;
static struct world_gen gen;

struct watched {
	const char *what;
	const char *now;
	size_t size;
	char *before; /* owns */
};

static struct watched watch(const char *what, const void *ptr, size_t size)
{
	struct watched w = {what, ptr, size, malloc(size)};
	cr_assert(w.before != NULL);
	memcpy(w.before, ptr, size);
	return w;
}

/* Lines that differ, but for one at `allowed`. */
static unsigned dirty_lines(const struct watched *w, const void *allowed)
{
	unsigned n = 0;
	for (size_t at = 0; at < w->size; at += WEIR_CACHE_LINE) {
		size_t len = w->size - at < WEIR_CACHE_LINE ? w->size - at : WEIR_CACHE_LINE;
		if ((const char *)allowed - w->now == (ptrdiff_t)at)
			continue;
		if (memcmp(w->before + at, w->now + at, len) != 0) {
			n++;
			cr_log_error("%s: bytes %zu to %zu were written", w->what, at, at + len);
		}
	}
	free(w->before);
	return n;
}

static void take_and_drop(unsigned worker, uint64_t key)
{
	struct lease lease;
	struct pool_worker *pw = &world.pws[worker];
	pw->loop->now_us += 700;
	cr_assert_eq(pool_take(&gen.views[worker], pw, NULL, key, &lease), POOL_TAKEN);
	lease.served = true;
	pw->loop->now_us += 500;
	lease_drop(&lease, false, 500);
}

static void one_strategy(const char *strategy)
{
	struct watched watched[2 * N + 3];
	unsigned n = 0, dirty = 0;
	world_init(&world, 2, N);
	world.conf.balance = view_str(strategy);
	world.conf.hash.fallback = VIEW("auto");
	world_build(&world, &gen);
	struct pool *pool = &gen.pool;
	for (uint64_t i = 0; i < 200; i++) /* what is made when first used is there */
		take_and_drop((unsigned)i % 2, i * 7919 + 1);
	for (uint32_t i = 0; i < N; i++) {
		struct backend *b = pool->backends[i];
		watched[n++] = watch("backend", b, sizeof(*b));
		watched[n++] = watch("the other worker's part", b->local[1], sizeof(*b->local[1]));
	}
	watched[n++] = watch("pool", pool, sizeof(*pool));
	watched[n++] = watch("state of the pool", pool->state, sizeof(*pool->state));
	watched[n++] = watch("the other worker's view", &gen.views[1], sizeof(gen.views[1]));
	for (uint64_t i = 0; i < 100; i++)
		take_and_drop(0, i * 7919 + 1);
	for (unsigned i = 0; i < n; i++) {
		const void *allowed = i < 2 * N ? &pool->backends[i / 2]->in_flight : NULL;
		dirty += dirty_lines(&watched[i], allowed);
	}
	cr_expect_eq(dirty, 0, "%s", strategy);
	world_release(&world, &gen);
	world_fini(&world);
}

Test(lines, one_shared_line_is_written_for_a_request)
{
	static const char *const names[] = {"auto",        "least-request", "p2c",
					    "round-robin", "random",        "peak-ewma",
					    "maglev",      "ring-hash",     "rendezvous"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		one_strategy(names[i]);
}

Test(lines, in_flight_has_a_line_with_what_is_written_along)
{
	size_t line = offsetof(struct backend, in_flight) / WEIR_CACHE_LINE;
	cr_assert_eq(offsetof(struct backend, in_flight) % WEIR_CACHE_LINE, 0);
	cr_assert_eq(offsetof(struct backend, level_since_us) / WEIR_CACHE_LINE, line);
	/* of auto and peak-ewma; prequal's may be beyond */
	cr_assert_eq((offsetof(struct backend, memory.peak) + 7) / WEIR_CACHE_LINE, line);
	cr_assert_neq(offsetof(struct backend, n_upconns) / WEIR_CACHE_LINE, line);
}
