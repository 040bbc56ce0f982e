/* SPDX-License-Identifier: MIT */
/* Pins for other nodes: each arrives once, what has no room is counted; newer knowledge stays. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "weir/pool/learn.h"
#include "weir/pool/news.h"

#define WRITERS 4
#define EACH 20000

static void *write_many(void *arg)
{
	uint64_t writer = *(const uint64_t *)arg;
	for (uint64_t i = 0; i < EACH; i++)
		news_put(writer << 32 | i, (uint32_t)writer + 1, 0);
	return NULL;
}

Test(news, each_comes_once_and_in_order)
{
	static uint64_t names[WRITERS];
	static int64_t last[WRITERS] = {-1, -1, -1, -1};
	pthread_t threads[WRITERS];
	struct news rows[100];
	uint64_t heard = 0;
	for (uint64_t i = 0; i < WRITERS; i++) {
		names[i] = i;
		cr_assert_eq(pthread_create(&threads[i], NULL, write_many, &names[i]), 0);
	}
	while (heard + news_lost() < (uint64_t)WRITERS * EACH) {
		size_t n = news_take(rows, 100);
		for (size_t i = 0; i < n; i++) {
			uint64_t writer = rows[i].key >> 32;
			int64_t at = (int64_t)(rows[i].key & UINT32_MAX);
			cr_assert_lt(writer, WRITERS);
			cr_assert_eq(rows[i].serial, writer + 1);
			cr_assert_gt(at, last[writer]);
			last[writer] = at;
		}
		heard += n;
	}
	for (size_t i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(news_take(rows, 100), 0);
}

Test(news, what_has_no_room_is_counted)
{
	struct news rows[1];
	for (uint64_t i = 0; i < NEWS_MAX + 5; i++)
		news_put(i, 1, 0);
	cr_assert_eq(news_lost(), 5);
	for (uint64_t i = 0; i < NEWS_MAX; i++) {
		cr_assert_eq(news_take(rows, 1), 1);
		cr_assert_eq(rows[0].key, i);
	}
	cr_assert_eq(news_take(rows, 1), 0);
	news_put(7, 2, 5);
	cr_assert_eq(news_take(rows, 1), 1);
	cr_assert_eq(rows[0].serial, 2);
	cr_assert_eq(rows[0].at_s, 5);
}

/* How many pins of a table that is shared were told by now. */
static size_t told(void)
{
	struct news rows[100];
	return news_take(rows, 100);
}

Test(learn, tells_what_is_new_and_what_is_still_in_use)
{
	struct learned *table = learned_new(64);
	uint64_t key = learn_key(VIEW("alice"));
	learn_put(table, key, 3, 1000, 400);
	cr_expect_eq(told(), 0, "it is not shared");
	learned_share(table, true);
	learn_put(table, key, 3, 1000, 400);
	cr_expect_eq(told(), 0, "nothing new");
	learn_put(table, key, 4, 1001, 400);
	cr_expect_eq(told(), 1);
	size_t n = 0;
	/* of 404 steps each key sees four quarters begin, of fewer not */
	for (uint64_t s = 1001; s <= 1001 + 404; s++) {
		cr_assert_eq(learn_get(table, key, s, 400), 4);
		n += told();
	}
	cr_expect_eq(n, 4, "each quarter of the ttl, not %zu times", n);
	learned_put(table);
}

Test(learn, what_is_heard_is_no_younger_than_it_was_said)
{
	struct learned *table = learned_new(64);
	uint64_t key = learn_key(VIEW("alice"));
	learned_share(table, true);
	learn_hear(table, key, 3, 1000);
	cr_expect_eq(told(), 0, "it is not told again");
	cr_expect_eq(learn_get(table, key, 1100, 50), 0, "it has expired");
	learn_hear(table, key, 3, 1090);
	cr_expect_eq(learn_get(table, key, 1100, 50), 3);
	learn_hear(table, key, 4, 1095);
	cr_expect_eq(learn_get(table, key, 1101, 50), 3, "it was used here since");
	learn_hear(table, key, 4, 1101);
	cr_expect_eq(learn_get(table, key, 1102, 50), 4);
	learned_put(table);
}

/* A table of one bucket: all keys are neighbours. */
Test(learn, what_is_heard_takes_the_place_of_what_is_older_only)
{
	struct learned *table = learned_new(LEARN_BUCKET);
	for (uint64_t key = 1; key < LEARN_BUCKET; key++)
		learn_put(table, key, 3, 1000 + key, 4000);
	learn_put(table, LEARN_BUCKET, 3, 900, 4000);
	learn_hear(table, 100, 4, 950);
	cr_expect_eq(learn_get(table, 100, 950, 4000), 4);
	cr_expect_eq(learn_get(table, LEARN_BUCKET, 950, 4000), 0, "it was the oldest");
	learn_hear(table, 101, 4, 940);
	cr_expect_eq(learn_get(table, 101, 950, 4000), 0, "all others are newer");
	for (uint64_t key = 1; key < LEARN_BUCKET; key++)
		cr_expect_eq(learn_get(table, key, 1010, 4000), 3, "key %u", (unsigned)key);
	cr_expect_eq(learn_get(table, 100, 1010, 4000), 4);
	learned_put(table);
}

Test(learn, a_secret_is_the_same_where_it_is_set)
{
	const uint8_t one[LEARN_SECRET_LEN] = {1}, two[LEARN_SECRET_LEN] = {2};
	learn_secret_set(one);
	uint64_t key = learn_key(VIEW("alice"));
	learn_secret_set(two);
	cr_expect_neq(learn_key(VIEW("alice")), key);
	learn_secret_set(one);
	cr_expect_eq(learn_key(VIEW("alice")), key);
}
