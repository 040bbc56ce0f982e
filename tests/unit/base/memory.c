/* SPDX-License-Identifier: MIT */
/* Arenas, slabs, lists and bitsets. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "weir/base/arena.h"
#include "weir/base/bitset.h"
#include "weir/base/buf.h"
#include "weir/base/list.h"
#include "weir/base/rng.h"
#include "weir/base/slab.h"

/* ---- arena ---- */

Test(arena, pieces_are_aligned_and_apart)
{
	struct arena *a = arena_new();
	struct rng rng;
	unsigned char *pieces[500];
	size_t sizes[500];
	rng_init(&rng, 1);
	for (size_t i = 0; i < 500; i++) {
		sizes[i] = rng_below(&rng, i % 50 ? 200 : 300000);
		pieces[i] = arena_alloc(a, sizes[i]);
		cr_assert_eq((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
		memset(pieces[i], (int)(i & 0xff), sizes[i]);
	}
	for (size_t i = 0; i < 500; i++)
		for (size_t k = 0; k < sizes[i]; k++)
			cr_assert_eq(pieces[i][k], i & 0xff);
	cr_assert(arena_size(a) > 0);
	arena_free(a);
}

Test(arena, nothing_is_a_distinct_pointer)
{
	struct arena *a = arena_new();
	void *first = arena_alloc(a, 0), *second = arena_alloc(a, 0);
	cr_assert_not_null(first);
	cr_assert_neq(first, second);
	arena_free(a);
	arena_free(NULL);
}

Test(arena, zeroed_memory_is_zero)
{
	struct arena *a = arena_new();
	for (int round = 0; round < 100; round++) {
		unsigned char *p = arena_zalloc(a, 100), *q = arena_array(a, 10, 10);
		unsigned char *line = arena_zalloc_line(a, 100);
		cr_assert_eq((uintptr_t)line % WEIR_CACHE_LINE, 0);
		for (size_t i = 0; i < 100; i++)
			cr_assert_eq(p[i] | q[i] | line[i], 0);
		memset(p, 0xff, 100);
		memset(q, 0xff, 100);
		memset(line, 0xff, 100);
	}
	arena_free(a);
}

Test(arena, texts_are_copied)
{
	struct arena *a = arena_new();
	char source[] = "text";
	char *copy = arena_strdup(a, source);
	struct view v = arena_view(a, view_of(source, 3)), none = arena_view(a, VIEW_NONE);
	source[0] = 'X';
	cr_assert_str_eq(copy, "text");
	cr_assert_eq(v.len, 3);
	cr_assert_str_eq(v.ptr, "tex");
	cr_assert_str_eq(none.ptr, "");
	cr_assert_str_eq(arena_printf(a, "%s-%d", "x", 12), "x-12");
	arena_free(a);
}

static int calls[4];
static int n_calls;

static void note(void *arg)
{
	calls[n_calls++] = *(int *)arg;
}

Test(arena, cleanups_run_latest_first)
{
	struct arena *a = arena_new();
	for (int i = 0; i < 3; i++) {
		int *number = arena_alloc(a, sizeof(*number));
		*number = i;
		arena_defer(a, note, number);
	}
	cr_assert_eq(n_calls, 0);
	arena_free(a);
	cr_assert_eq(n_calls, 3);
	cr_assert(calls[0] == 2 && calls[1] == 1 && calls[2] == 0);
}

/* ---- slab ---- */

struct object {
	uint64_t magic;
	unsigned char bytes[100];
};

Test(slab, hands_out_distinct_zeroed_lines)
{
	struct slab slab;
	struct object *objects[3000];
	slab_init(&slab, sizeof(struct object), 3000);
	for (size_t i = 0; i < 3000; i++) {
		objects[i] = slab_get(&slab);
		cr_assert_eq((uintptr_t)objects[i] % WEIR_CACHE_LINE, 0);
		cr_assert_eq(objects[i]->magic, 0);
		for (size_t k = 0; k < sizeof(objects[i]->bytes); k++)
			cr_assert_eq(objects[i]->bytes[k], 0);
		memset(objects[i], 0xee, sizeof(struct object));
		objects[i]->magic = i;
	}
	for (size_t i = 0; i < 3000; i++)
		cr_assert_eq(objects[i]->magic, i);
	slab_fini(&slab);
}

Test(slab, reuses_the_latest_without_its_magic)
{
	struct slab slab;
	slab_init(&slab, sizeof(struct object), 10);
	struct object *first = slab_get(&slab), *second = slab_get(&slab);
	first->magic = second->magic = 0x1234;
	second->bytes[50] = 7;
	slab_put(&slab, first);
	slab_put(&slab, second);
	cr_assert_neq(second->magic, 0x1234);
	struct object *again = slab_get(&slab);
	cr_assert_eq(again, second);
	cr_assert_eq(again->magic, 0);
	cr_assert_eq(again->bytes[50], 7);
	cr_assert_eq(slab.n_live, 1);
	slab_fini(&slab);
}

Test(slab, is_bounded)
{
	struct slab slab;
	slab_init(&slab, 64, 3);
	void *a = slab_get(&slab);
	cr_assert_not_null(a);
	cr_assert_not_null(slab_get(&slab));
	cr_assert_not_null(slab_get(&slab));
	cr_assert_null(slab_get(&slab));
	slab_put(&slab, a);
	cr_assert_eq(slab_get(&slab), a);
	cr_assert_null(slab_get(&slab));
	slab_fini(&slab);
}

Test(slab, objects_may_be_larger_than_a_page)
{
	struct slab slab;
	slab_init(&slab, 200000, 2);
	char *a = slab_get(&slab), *b = slab_get(&slab);
	memset(a, 1, 200000);
	memset(b, 2, 200000);
	cr_assert_eq(a[199999], 1);
	slab_fini(&slab);
}

/* ---- giving back ---- */

#define MANY 20000

static struct slab_watch watch;
static unsigned n_grown, n_retired;

static void on_grown(struct slab_watch *w)
{
	cr_assert_eq(w, &watch);
	n_grown++;
}

static void on_retire(void *obj)
{
	/* 0: it was never given out */
	n_retired += ((struct object *)obj)->bytes[99] == 7;
}

/* So many looks, and as many steps after each as it wants. */
static enum slab_trim look(unsigned times)
{
	enum slab_trim state = SLAB_TIGHT;
	for (unsigned i = 0; i < times; i++) {
		state = slab_trim(&watch, true);
		for (unsigned k = 0; state == SLAB_BUSY; k++) {
			cr_assert(k < 1000);
			state = slab_trim(&watch, false);
		}
	}
	return state;
}

static struct object *objects[MANY];

static void take(struct slab *slab, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		objects[i] = slab_get(slab);
		cr_assert_eq(objects[i]->magic, 0);
		objects[i]->magic = i + 1;
		objects[i]->bytes[99] = 7;
	}
}

static void put(struct slab *slab, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		slab_put(slab, objects[i]);
}

static void watched(struct slab *slab)
{
	slab_watch_init(&watch, on_grown);
	slab_init(slab, sizeof(struct object), MANY);
	slab_watch_add(&watch, slab, 3);
	slab->retire = on_retire;
	n_grown = n_retired = 0;
}

Test(slab, gives_back_what_a_burst_took)
{
	struct slab slab;
	watched(&slab);
	take(&slab, 0, MANY);
	size_t most = slab_watch_bytes(&watch, 3);
	cr_assert(n_grown > 10 && most >= MANY * sizeof(struct object));
	cr_assert_eq(slab_watch_bytes(&watch, 2), 0);
	cr_assert_eq(look(2 * SLAB_LOOKS), SLAB_WAITING, "all of it is used");
	put(&slab, 0, MANY);
	cr_assert_eq(look(SLAB_LOOKS - 1), SLAB_WAITING, "not at once");
	cr_assert_eq(slab_watch_bytes(&watch, 3), most);
	cr_assert_eq(look(SLAB_LOOKS + 1), SLAB_TIGHT);
	cr_assert_eq(slab_watch_bytes(&watch, 3), 0);
	cr_assert(n_retired >= MANY);
	/* the addresses are still there, and nothing behind them */
	cr_assert_eq(objects[MANY / 2]->bytes[50], 0);
	take(&slab, 0, MANY);
	cr_assert_eq(slab_watch_bytes(&watch, 3), most);
	for (unsigned i = 0; i < MANY; i++)
		cr_assert_eq(objects[i]->magic, i + 1);
	slab_fini(&slab);
}

Test(slab, keeps_what_is_live)
{
	struct slab slab;
	watched(&slab);
	take(&slab, 0, MANY);
	size_t most = slab_watch_bytes(&watch, 3);
	put(&slab, MANY / 4, MANY);
	look(2 * SLAB_LOOKS);
	size_t less = slab_watch_bytes(&watch, 3);
	cr_assert(less < most / 3 && less > most / 5, "%zu of %zu", less, most);
	for (unsigned i = 0; i < MANY / 4; i++)
		cr_assert(objects[i]->magic == i + 1 && objects[i]->bytes[99] == 7);
	slab_fini(&slab);
}

/* What is used up again while it is swept is not swept. */
Test(slab, a_burst_during_a_sweep_calls_it_off)
{
	struct slab slab;
	watched(&slab);
	take(&slab, 0, MANY);
	put(&slab, 100, MANY);
	for (unsigned i = 0; !slab.trim.sweeps; i++) {
		cr_assert(i < 2 * SLAB_LOOKS);
		slab_trim(&watch, true);
	}
	slab_trim(&watch, false);
	cr_assert(slab.trim.sweeps && slab.trim.n_swept > 0);
	take(&slab, 100, MANY);
	cr_assert_not(slab.trim.sweeps);
	for (unsigned i = 0; i < MANY; i++)
		cr_assert_eq(objects[i]->magic, i + 1);
	cr_assert_null(slab_get(&slab));
	slab_fini(&slab);
}

/* Random bursts: no object is handed out twice, none is lost. */
Test(slab, bursts_and_looks_in_any_order)
{
	struct slab slab;
	struct rng rng;
	unsigned n = 0;
	watched(&slab);
	rng_init(&rng, 5);
	for (unsigned i = 0; i < 400; i++) {
		unsigned to = (unsigned)rng_below(&rng, rng_below(&rng, 3) ? MANY : 50);
		if (to > n)
			take(&slab, n, to);
		else
			put(&slab, to, n);
		n = to;
		for (unsigned k = (unsigned)rng_below(&rng, 12); k > 0; k--)
			slab_trim(&watch, rng_below(&rng, 2));
		for (unsigned k = 0; k < n; k += 97)
			cr_assert_eq(objects[k]->magic, k + 1);
	}
	put(&slab, 0, n);
	look(3 * SLAB_LOOKS);
	cr_assert_eq(slab_watch_bytes(&watch, 3), 0);
	slab_fini(&slab);
}

/* ---- list ---- */

struct item {
	int number;
	struct list node;
};

static int numbers_of(struct list *head)
{
	int n = 0;
	list_each (it, head)
		n = n * 10 + list_entry(it, struct item, node)->number;
	return n;
}

Test(list, keeps_order)
{
	struct list head;
	struct item items[5] = {{1, {0}}, {2, {0}}, {3, {0}}, {4, {0}}, {5, {0}}};
	list_init(&head);
	cr_assert(list_is_empty(&head));
	for (int i = 0; i < 3; i++)
		list_push_back(&head, &items[i].node);
	list_push_front(&head, &items[3].node);
	list_insert(&items[0].node, &items[4].node);
	cr_assert_eq(numbers_of(&head), 41523);
	cr_assert_eq(list_first(&head, struct item, node)->number, 4);
	cr_assert_eq(list_last(&head, struct item, node)->number, 3);
	list_del(&items[4].node);
	cr_assert_not(list_is_linked(&items[4].node));
	cr_assert(list_is_linked(&items[0].node));
	list_del(&items[4].node); /* harmless */
	cr_assert_eq(numbers_of(&head), 4123);
}

Test(list, takes_another_ahead_of_its_own)
{
	struct list head, from;
	struct item items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
	list_init(&head);
	list_init(&from);
	list_splice_front(&head, &from);
	cr_assert(list_is_empty(&head));
	for (unsigned i = 0; i < 2; i++)
		list_push_back(&from, &items[i].node);
	list_splice_front(&head, &from);
	cr_assert_eq(numbers_of(&head), 12);
	cr_assert(list_is_empty(&from));
	for (unsigned i = 2; i < 4; i++)
		list_push_back(&from, &items[i].node);
	list_splice_front(&head, &from);
	cr_assert_eq(numbers_of(&head), 3412);
	list_splice_front(&head, &from);
	cr_assert_eq(numbers_of(&head), 3412);
	cr_assert_eq(list_last(&head, struct item, node)->number, 2);
	list_del(&items[0].node);
	cr_assert_eq(numbers_of(&head), 342);
}

Test(list, may_lose_the_current_node_in_a_walk)
{
	struct list head;
	struct item items[4] = {{1, {0}}, {2, {0}}, {3, {0}}, {4, {0}}};
	list_init(&head);
	for (int i = 0; i < 4; i++)
		list_push_back(&head, &items[i].node);
	list_each_safe (it, tmp, &head)
		if (list_entry(it, struct item, node)->number % 2 == 0)
			list_del(it);
	cr_assert_eq(numbers_of(&head), 13);
	list_each_safe (it, tmp, &head)
		list_del(it);
	cr_assert(list_is_empty(&head));
}

/* ---- bitset ---- */

Test(bitset, agrees_with_an_array_of_flags)
{
	static const uint32_t lengths[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000};
	struct rng rng;
	rng_init(&rng, 9);
	for (size_t l = 0; l < ARRAY_LEN(lengths); l++) {
		uint32_t n = lengths[l];
		uint64_t set[BITSET_WORDS(1000)] = {0};
		bool flags[1000] = {false};
		cr_assert(bitset_is_empty(set, n));
		cr_assert_eq(bitset_next(set, n, 0), n);
		for (int step = 0; step < 300; step++) {
			uint32_t i = rng_below(&rng, n), count = 0;
			flags[i] = rng_below(&rng, 3) == 0;
			bitset_assign(set, i, flags[i]);
			uint32_t next = bitset_next(set, n, 0);
			for (uint32_t k = 0; k < n; k++) {
				count += flags[k];
				cr_assert_eq(bitset_has(set, k), flags[k]);
				if (!flags[k])
					continue;
				cr_assert_eq(next, k);
				next = bitset_next(set, n, k + 1);
			}
			cr_assert_eq(next, n);
			cr_assert_eq(bitset_count(set, n), count);
			cr_assert_eq(bitset_is_empty(set, n), count == 0);
		}
	}
}

Test(bitset, next_stays_below_the_length)
{
	uint64_t set[1] = {0};
	bitset_put(set, 40);
	cr_assert_eq(bitset_next(set, 40, 0), 40);
	cr_assert_eq(bitset_next(set, 41, 0), 40);
	cr_assert_eq(bitset_next(set, 41, 41), 41);
	bitset_del(set, 40);
	cr_assert(bitset_is_empty(set, 64));
}

/* ---- buffers ---- */

Test(buf_queue, gives_back_what_was_put)
{
	struct buf_pool pool;
	struct buf_queue queue = {0};
	struct rng rng;
	uint32_t put = 0, taken = 0;
	static uint32_t bytes[40000], back[40000];
	buf_pool_init(&pool, 100000);
	rng_init(&rng, 3);
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t n = (uint32_t)rng_below(&rng, rng_below(&rng, 4) ? 100 : 40000);
		for (uint32_t k = 0; k < n; k++)
			bytes[k] = put++;
		cr_assert(buf_queue_put(&pool, &queue, bytes, n * sizeof(*bytes)));
		size_t cap = rng_below(&rng, 30000) * sizeof(*back);
		size_t got = buf_queue_take(&pool, &queue, back, cap);
		cr_assert_eq(got % sizeof(*back), 0);
		for (size_t k = 0; k < got / sizeof(*back); k++)
			cr_assert_eq(back[k], taken++);
		cr_assert_eq(queue.len, (put - taken) * sizeof(*back));
		if (queue.len == 0)
			cr_assert_eq(buf_pool_live(&pool), 0);
	}
	cr_assert(taken > 1000000);
	buf_queue_drop(&pool, &queue);
	cr_assert(buf_pool_live(&pool) == 0 && queue.first == NULL && queue.last == NULL);
	buf_pool_fini(&pool);
}

/* A byte at a time takes little more than the bytes. */
Test(buf_queue, crumbs_fill_buffers)
{
	struct buf_pool pool;
	struct buf_queue queue = {0};
	size_t room = 0;
	buf_pool_init(&pool, 1000);
	for (unsigned i = 0; i < 300000; i++)
		cr_assert(buf_queue_put(&pool, &queue, "x", 1));
	for (const struct buf *buf = queue.first; buf; buf = buf->next)
		room += buf->cap;
	cr_assert(room < 2 * queue.len);
	buf_queue_drop(&pool, &queue);
	buf_pool_fini(&pool);
}
