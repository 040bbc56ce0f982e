/* SPDX-License-Identifier: MIT */
/* Learned pins: what is told of ours, what is heard of others', and from where it is read. */
#include "cluster/pins.h"

#include <fcntl.h>
#include <unistd.h>

#include "server.h"
#include "weir/base/pack.h"
#include "weir/pool/learn.h"
#include "weir/pool/news.h"

#define BACKENDS 3

static struct world {
	struct loop loop;
	struct pool_registry registry;
	struct pool_state states[2];
	struct backend *backends[BACKENDS];
	struct pins_sharing p;
	uint64_t before_us; /* the last thing that happened */
} w;

/* Two backends of pool "a", one of pool "b" with the address of the first. */
static void begin(void)
{
	static const struct {
		struct view pool, address;
	} rows[BACKENDS] = {{VIEW("a"), VIEW("10.0.0.1:80")},
			    {VIEW("a"), VIEW("10.0.0.2:80")},
			    {VIEW("b"), VIEW("10.0.0.1:80")}};
	cr_assert_eq(loop_init(&w.loop, "test"), ERR_OK);
	list_init(&w.registry.backends);
	list_init(&w.registry.states);
	for (size_t i = 0; i < 2; i++) {
		w.states[i].name = i ? VIEW("b") : VIEW("a");
		w.states[i].learned = learned_new(64);
		list_push_back(&w.registry.states, &w.states[i].registry_link);
	}
	for (size_t i = 0; i < BACKENDS; i++) {
		struct backend *b = aligned_alloc(64, (sizeof(*b) + 63) / 64 * 64);
		memset(b, 0, sizeof(*b));
		b->serial = (uint32_t)i + 1;
		b->pool_name = rows[i].pool;
		b->address_text = rows[i].address;
		list_push_back(&w.registry.backends, &b->registry_link);
		w.backends[i] = b;
	}
	server.ready = true;
	w.before_us = clock_us();
	pins_sharing_init(&w.p, (struct redis *)&server, &w.loop, &w.registry);
	pins_sharing_follow(&w.p, VIEW("w"));
}

static void end(void)
{
	pins_sharing_fini(&w.p);
	for (size_t i = 0; i < 2; i++)
		learned_put(w.states[i].learned);
	for (size_t i = 0; i < BACKENDS; i++)
		free(w.backends[i]);
	for (size_t i = 0; i < SERVER_WORDS; i++)
		str_fini(&server.words[i]);
	loop_fini(&w.loop);
}

/* Its time has come. */
static void fire(void)
{
	cr_assert(timer_is_set(&w.p.timer));
	timer_clear(&w.p.timer);
	w.before_us = clock_us();
	w.p.timer.fn(&w.p.timer);
}

static void answers(const char *resp, size_t len)
{
	w.before_us = clock_us();
	server_answers(resp, len);
}

/* So long after that, whatever has held us up since. */
static bool is_due(uint64_t least_us, uint64_t most_us)
{
	uint64_t at = w.p.timer.deadline_us;
	return at >= w.before_us + least_us && at <= clock_us() + most_us;
}

struct told {
	const char *pool, *address;
	uint64_t key, age_s;
};

static void put_word(struct str *out, uint64_t version, const struct told *pins, size_t n)
{
	pack_u64(out, version);
	for (size_t i = 0; i < n; i++) {
		pack_view(out, view_str(pins[i].pool));
		pack_view(out, view_str(pins[i].address));
		pack_u64(out, pins[i].key);
		pack_u64(out, pins[i].age_s);
	}
}

/* One entry, `ms` old by the server's clock. */
static void hear(const struct str *word, int ms)
{
	struct str text = STR_INIT;
	str_printf(&text, "*3\r\n:100000\r\n$7\r\n%05d-1\r\n$%zu\r\n", 100000 - ms, word->len);
	str_view(&text, str_as_view(word));
	str_text(&text, "\r\n");
	if (!server.open)
		fire();
	server_answers(text.ptr, text.len);
	str_fini(&text);
}

static uint32_t known(int pool, uint64_t key, uint64_t ttl_s)
{
	return learn_get(w.states[pool].learned, key, clock_us() / 1000000, ttl_s);
}

Test(pins, what_is_asked, .init = begin, .fini = end)
{
	cr_expect(is_due(100000, 100000));
	fire();
	cr_expect(server.topic == REDIS_PINS && server.n_words == 11);
	cr_expect(word_is(0, "EVAL") && word_is(2, "1") && word_is(3, "{w}:pins") &&
		  word_is(4, "-") && word_is(5, "") && word_is(6, "10000") &&
		  word_is(7, "3600000") && word_is(8, "100") && word_is(9, "262144") &&
		  word_is(10, "2097152"));
	cr_expect(is_due(80000, 120000));
	fire();
	cr_expect_eq(server.n_asked, 1, "one at a time");
	server_says("*1\r\n:5\r\n");
	server.ready = false;
	fire();
	cr_expect_eq(server.n_asked, 1);
	cr_expect(is_due(80000, 120000));
}

Test(pins, what_is_told, .init = begin, .fini = end)
{
	uint64_t now_s = clock_us() / 1000000;
	clock_ahead_us += 1000000000;
	struct told pins[] = {{"a", "10.0.0.1:80", 11, 1000},
			      {"", "", 12, 1000},
			      {"", "10.0.0.2:80", 13, 1000},
			      {"b", "10.0.0.1:80", 14, 1000}};
	static const uint32_t serials[] = {1, 1, 99, 2, 3};
	static const uint64_t keys[] = {11, 12, 77, 13, 14};
	for (size_t i = 0; i < ARRAY_LEN(serials); i++)
		news_put(keys[i], serials[i], now_s);
	fire();
	struct unpack in = unpack_of(str_as_view(&server.words[5]));
	cr_expect_eq(unpack_u64(&in), 1);
	for (size_t i = 0; i < ARRAY_LEN(pins); i++) {
		cr_expect(view_eq(unpack_view(&in), view_str(pins[i].pool)), "%zu", i);
		cr_expect(view_eq(unpack_view(&in), view_str(pins[i].address)), "%zu", i);
		cr_expect_eq(unpack_u64(&in), pins[i].key);
		uint64_t age_s = unpack_u64(&in);
		cr_expect(age_s >= 1000 && age_s < 1100, "%llu", (unsigned long long)age_s);
	}
	cr_expect(!in.left && !in.bad, "one that is no more is not told");
	cr_expect_eq(pins_sharing_told(&w.p).told, 4);
	server_says("*1\r\n:5\r\n");
	fire();
	cr_expect(word_is(5, ""), "told once");
	/* one that was learned a moment later than now, by the coarse clock, has no age */
	server_says("*1\r\n:5\r\n");
	news_put(15, 1, clock_us() / 1000000 + 100);
	fire();
	in = unpack_of(str_as_view(&server.words[5]));
	unpack_u64(&in);
	unpack_view(&in);
	unpack_view(&in);
	cr_expect(unpack_u64(&in) == 15 && unpack_u64(&in) == 0 && !in.left);
}

Test(pins, what_is_heard, .init = begin, .fini = end)
{
	struct str word = STR_INIT;
	clock_ahead_us += 10000000000;
	put_word(&word, 1,
		 (struct told[]){{"a", "10.0.0.1:80", 11, 100},
				 {"", "", 12, 500},
				 {"", "10.0.0.2:80", 13, 100},
				 {"b", "10.0.0.1:80", 14, 100},
				 {"a", "10.0.0.9:80", 15, 100},
				 {"c", "10.0.0.1:80", 16, 100},
				 {"a", "10.0.0.2:80", 17, UINT64_MAX}},
		 7);
	hear(&word, 50000);
	cr_expect_eq(pins_sharing_told(&w.p).heard, 5);
	cr_expect_eq(pins_sharing_told(&w.p).unread, 0);
	/* as old as it was there, and as the entry is; who asks uses it */
	cr_expect_eq(known(0, 12, 520), 0);
	cr_expect_eq(known(0, 11, 400), 1);
	cr_expect_eq(known(0, 12, 600), 1);
	cr_expect_eq(known(0, 13, 3600), 2);
	cr_expect_eq(known(1, 14, 3600), 3);
	cr_expect(!known(0, 14, 3600) && !known(0, 15, 3600) && !known(0, 16, 3600) &&
		  !known(1, 16, 3600));
	str_fini(&word);
}

Test(pins, entries_that_are_none_are_counted, .init = begin, .fini = end)
{
	struct str word = STR_INIT;
	const struct told pin = {"a", "10.0.0.1:80", 11, 1};
	put_word(&word, 2, &pin, 1);
	hear(&word, 1);
	cr_expect_eq(pins_sharing_told(&w.p).unread, 1);
	str_reset(&word);
	hear(&word, 1);
	cr_expect_eq(pins_sharing_told(&w.p).unread, 2);
	put_word(&word, 1, &pin, 1);
	word.len--;
	hear(&word, 1);
	cr_expect_eq(pins_sharing_told(&w.p).unread, 3);
	cr_expect_eq(pins_sharing_told(&w.p).heard, 0);
	str_fini(&word);
}

/* An old version beside this one would fill the log. */
Test(pins, the_first_entry_that_is_none_is_said_and_no_other, .init = begin, .fini = end)
{
	char said[4096];
	int ends[2];
	struct str word = STR_INIT;
	put_word(&word, 2, NULL, 0);
	cr_assert_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	for (int i = 0; i < 3; i++) {
		hear(&word, 1);
		ssize_t n = read(ends[0], said, sizeof(said) - 1);
		said[n > 0 ? n : 0] = '\0';
		cr_expect_eq(strstr(said, "{w}:pins is too long, damaged") != NULL, i == 0,
			     "%d: %s", i, said);
	}
	close(ends[0]);
	close(ends[1]);
	str_fini(&word);
}

Test(pins, it_is_read_on_from_the_last_entry, .init = begin, .fini = end)
{
	struct str word = STR_INIT;
	put_word(&word, 1, &(struct told){"a", "10.0.0.1:80", 11, 1}, 1);
	hear(&word, 50000);
	fire();
	cr_expect(word_is(4, "(50000-1"));
	server_says("*1\r\n:5\r\n");
	fire();
	cr_expect(word_is(4, "(50000-1"));
	server_answers(NULL, 0);
	fire();
	cr_expect(word_is(4, "-"), "by another connection it may be another server");
	server_says("*1\r\n:5\r\n");
	hear(&word, 50000);
	server.refuses = true;
	fire();
	server.refuses = false;
	fire();
	cr_expect(word_is(4, "-"));
	server_says("*1\r\n:5\r\n");
	hear(&word, 50000);
	pins_sharing_follow(&w.p, VIEW("w"));
	fire();
	cr_expect(word_is(4, "(50000-1"));
	pins_sharing_follow(&w.p, VIEW("v"));
	server_says("*1\r\n:5\r\n");
	fire();
	cr_expect(word_is(4, "-") && word_is(3, "{v}:pins"));
	/* nothing is taken for a prefix that is none any more */
	pins_sharing_follow(&w.p, VIEW_NONE);
	cr_expect(!timer_is_set(&w.p.timer));
	server_says("*2\r\n:5\r\n:6\r\n");
	cr_expect(!timer_is_set(&w.p.timer));
	str_fini(&word);
}

Test(pins, an_answer_that_is_none_is_followed_by_a_pause, .init = begin, .fini = end)
{
#define SAID(text) {"" text, sizeof(text) - 1}
	static const struct {
		const char *text;
		size_t len;
	} rows[] = {
	    SAID("-ERR unknown command\r\n"),
	    SAID("*0\r\n"),
	    SAID(":7\r\n"),
	    SAID("*2\r\n:5\r\n$3\r\n1-1\r\n"),
	    SAID("*1\r\n$1\r\n5\r\n"),
	    SAID("*3\r\n:5\r\n:6\r\n$1\r\nx\r\n"),
	    SAID("*3\r\n:5\r\n$1\r\n6\r\n:7\r\n"),
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		fire();
		answers(rows[i].text, rows[i].len);
		cr_expect(is_due(5000000, 5000000), "%zu", i);
	}
	cr_expect_eq(pins_sharing_told(&w.p).unread, 0);
}

Test(pins, where_there_is_more_it_is_asked_at_once, .init = begin, .fini = end)
{
	for (int n = 99; n <= 100; n++) {
		struct str text = STR_INIT;
		str_printf(&text, "*%d\r\n:100000\r\n", 2 * n + 1);
		for (int i = 0; i < n; i++)
			str_printf(&text, "$4\r\n%02d-1\r\n$0\r\n\r\n", i % 100);
		fire();
		uint64_t asked_us = w.before_us;
		answers(text.ptr, text.len);
		if (n == 100)
			cr_expect(is_due(0, 0));
		else
			cr_expect_geq(w.p.timer.deadline_us, asked_us + 80000);
		str_fini(&text);
	}
}
