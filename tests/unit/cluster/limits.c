/* SPDX-License-Identifier: MIT */
/* Rate limits that are shared: what is asked, and when a node goes on alone. */
#include "cluster/limits.h"

#include "filter/gcra.h"
#include "filter/quotas.h"
#include "server.h"

static struct limits l;
static struct loop loop;

#define NAME UINT64_C(0x1234)

static void begin(void)
{
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	cr_assert(gcra_table_ready(1000) && quota_table_ready());
	limits_init(&l, (struct redis *)&server, &loop);
	limits_follow(&l, VIEW("w"));
	limits_set_nodes(&l, 2);
	server.ready = true;
}

static void end(void)
{
	limits_fini(&l);
	loop_fini(&loop);
	for (size_t i = 0; i < SERVER_WORDS; i++)
		str_fini(&server.words[i]);
}

TestSuite(limits, .init = begin, .fini = end);

/* So many requests of a key that may have ten a second. */
static void use(unsigned n)
{
	struct gcra_limit limit = {GCRA_UNITS_PER_US * 100000, GCRA_UNITS_PER_US * 1000000};
	struct quota *quota = quota_find(7);
	if (!quota)
		quota = quota_claim(7, NAME, &limit);
	cr_assert_not_null(quota);
	while (n--)
		quota_note(quota, true, clock_us());
}

static void tell(void)
{
	l.timer.fn(&l.timer);
}

/* On a machine that stood still since then nobody can be in time. */
static bool shares_since(uint64_t us)
{
	return !l.alone || clock_us() - us > LIMITS_LATE_US;
}

Test(limits, what_a_key_used_is_told)
{
	use(3);
	tell();
	cr_assert(server.open && server.topic == REDIS_LIMITS && server.n_words == 15);
	cr_expect(word_is(0, "EVAL") && word_is(2, "1") &&
		  word_is(3, "{w}:limit:0000000000001234"));
	cr_expect(word_is(4, "300000"), "used: %s", server.words[4].ptr);
	cr_expect(word_is(6, "3"), "demand: %s", server.words[6].ptr);
	cr_expect(word_is(11, "1000000"), "burst: %s", server.words[11].ptr);
	cr_expect_eq(l.batches[0].n, 1);
	tell();
	cr_expect_eq(server.n_asked, 1, "nothing is new");
	server_says("*3\r\n:300000\r\n:3000\r\n:100000\r\n");
	cr_expect(shares_since(l.batches[0].asked_us) && l.batches[0].n == 0);
	use(1);
	tell();
	cr_expect(server.n_asked == 2 && word_is(6, "1"));
	server_says("*3\r\n:300000\r\n:3000\r\n:100000\r\n");
}

Test(limits, without_an_answer_that_is_one_a_node_goes_on_alone)
{
	static const char *const said[] = {"*2\r\n:1\r\n:2\r\n", "*3\r\n:1\r\n:2\r\n+3\r\n",
					   "+OK\r\n", "*6\r\n:1\r\n:2\r\n:3\r\n:1\r\n:2\r\n:3\r\n",
					   NULL};
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		use(1);
		tell();
		cr_assert(server.open && (!i || l.alone), "%zu", i);
		server_says("*3\r\n:1\r\n:1000\r\n:0\r\n");
		cr_expect(shares_since(l.batches[0].asked_us));
		use(1);
		tell();
		server_answers(said[i], said[i] ? strlen(said[i]) : 0);
		cr_expect(l.alone && l.batches[0].n == 0, "%zu", i);
	}
}

Test(limits, who_cannot_be_asked_or_is_late_is_not_waited_for)
{
	use(1);
	server.ready = false;
	tell();
	cr_expect(l.alone && !server.n_asked);
	server.ready = true;
	server.refuses = true;
	l.alone = false;
	use(1);
	tell();
	cr_expect(l.alone && !server.n_asked);
	server.refuses = false;
	use(1);
	tell();
	cr_assert(server.open);
	l.alone = false;
	tell();
	cr_expect(shares_since(l.batches[0].asked_us), "it is not late yet");
	l.alone = false;
	l.batches[0].asked_us -= LIMITS_LATE_US + 1;
	tell();
	cr_expect(l.alone);
	server_says("*3\r\n:1\r\n:1000\r\n:0\r\n");
	cr_expect(l.alone, "what is as old says little");
}

Test(limits, where_nobody_is_limited_nobody_is_asked)
{
	l.alone = true;
	tell();
	cr_expect(!l.alone && !server.n_asked);
	server.ready = false;
	tell();
	cr_expect(!l.alone, "there is nothing to be alone with");
}

/* Between 4 and 6 fifths of it. */
static void expect_pause(uint64_t us)
{
	uint64_t before = clock_us();
	tell();
	uint64_t after = clock_us();
	cr_expect(l.timer.deadline_us >= before + us * 4 / 5 &&
		      l.timer.deadline_us <= after + us * 6 / 5,
		  "%llu", (unsigned long long)(l.timer.deadline_us - before));
}

Test(limits, how_often_is_told)
{
	expect_pause(LIMITS_SELDOM_US); /* nobody is limited */
	use(1);
	expect_pause(LIMITS_EVERY_US);
	limits_set_nodes(&l, 20);
	expect_pause(40000);
	limits_set_nodes(&l, 1000);
	expect_pause(LIMITS_SELDOM_US);
	l.knock.fn(&loop, &l.knock);
	cr_expect_leq(l.timer.deadline_us, clock_us() + 2000, "a key woke up");
	uint64_t soon = l.timer.deadline_us;
	l.knock.fn(&loop, &l.knock);
	cr_expect_eq(l.timer.deadline_us, soon);
	limits_follow(&l, VIEW_NONE);
	cr_expect_eq(l.timer.deadline_us, 0);
	server_answers(NULL, 0);
}

Test(limits, what_is_left_is_told_at_the_end)
{
	use(2);
	tell();
	server_says("*3\r\n:200000\r\n:2000\r\n:70000\r\n");
	limits_give_back(&l);
	cr_assert(server.open && word_is(3, "{w}:limit:0000000000001234"));
	cr_expect(word_is(6, "0") && word_is(10, "70000"), "%s", server.words[10].ptr);
	server_answers(NULL, 0);
}
