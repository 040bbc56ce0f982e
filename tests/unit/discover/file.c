/* SPDX-License-Identifier: MIT */
/* A file of members, and what tells that it is another one. */
#include "fixture.h"

/* What has happened in the folder is told.  Timers come when the test says so. */
static void turn(void)
{
	w.loop.timers.dirty = false;
	ev_timer_stop(w.loop.ev, &w.loop.wheel_timer);
	w.before_us = clock_us();
	ev_run(w.loop.ev, EVRUN_NOWAIT);
}

/* ... and the time to settle has passed. */
static void look(void)
{
	turn();
	if (timer_is_set(&source_of(0)->timer))
		fire();
}

static void file(const char *text)
{
	write_file("m.yaml", text);
	begin(CONF_SOURCE_file, w.file);
}

Test(file, rows_as_in_a_pool, WORLD)
{
	file("[{name: a, address: 10.0.0.1:80, weight: 3, priority: 1}, {address: 10.0.0.2:81}]");
	expect_members("10.0.0.2:81 w1 (listed), a at 10.0.0.1:80 w3 p1 (listed)");
	expect_due(30000);
	cr_expect_str_eq(source_of(0)->kind->keyword, "file");
}

Test(file, a_member_may_move_and_change, WORLD)
{
	file("[{name: a, address: 10.0.0.1:80}]");
	write_file("m.yaml", "[{name: a, address: 10.0.0.2:81, priority: 7, max_requests: 5}]");
	look();
	expect_members("a at 10.0.0.2:81 w1 p7 (listed)");
	const struct conf_backend *b = &source_of(0)->members[0]->backend;
	cr_expect(addr_port(&b->address) == 81 && b->max_requests == 5);
	cr_expect(w.n_changed == 2 && w.n_news == 1);
	static const char *const one_by_one[] = {
	    "[{name: a, address: 10.0.0.3:81, priority: 7, max_requests: 5}]",
	    "[{name: a, address: 10.0.0.3:81, priority: 8, max_requests: 5}]",
	    "[{name: a, address: 10.0.0.3:81, priority: 8, max_requests: 6}]"};
	for (unsigned i = 0; i < ARRAY_LEN(one_by_one); i++) {
		write_file("m.yaml", one_by_one[i]);
		look();
		expect_error("");
		cr_expect_eq(w.n_changed, 3 + i, "%u", i);
	}
}

Test(file, a_change_is_read_when_it_has_settled, WORLD)
{
	file("[{address: 10.0.0.1:80}]");
	write_file("m.yaml", "[{address: 10.0.0.2:80}]");
	turn();
	expect_members("10.0.0.1:80 w1 (listed)");
	expect_due(20);
	fire();
	expect_members("gone 10.0.0.1:80 w1 (listed), 10.0.0.2:80 w1 (listed)");
	expect_due(30000);
	cr_expect_eq(source_of(0)->n_answers, 2);
	/* the same bytes are no answer */
	write_file("m.yaml", "[{address: 10.0.0.2:80}]");
	look();
	cr_expect_eq(source_of(0)->n_answers, 2);
	expect_due(30000);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

Test(file, what_never_settles_is_read_nevertheless, WORLD)
{
	file("[{address: 10.0.0.1:80}]");
	struct timer *timer = &source_of(0)->timer;
	uint64_t first_us = 0, first_over_us = 0;
	for (int i = 0; i < 20; i++) {
		write_file("other", "x");
		turn();
		uint64_t over_us = clock_us();
		first_us = i ? first_us : w.before_us;
		first_over_us = i ? first_over_us : over_us;
		cr_expect_geq(timer->deadline_us, sooner(w.before_us + 20000, first_us + 200000));
		cr_expect_leq(timer->deadline_us, sooner(over_us + 20000, first_over_us + 200000));
		clock_ahead_us += 15000;
	}
	timer->fn(timer);
	timer_clear(timer);
	write_file("other", "x");
	turn();
	cr_expect_geq(timer->deadline_us, w.before_us + 20000, "it may settle again");
}

Test(file, what_cannot_be_understood_changes_nothing, WORLD)
{
	file("[{address: 10.0.0.1:80}]");
	write_file("m.yaml", "[{address: 10.0.0.2:80},\n {adress: 10.0.0.3:80}]");
	look();
	expect_members("10.0.0.1:80 w1 (listed)");
	cr_expect(strstr(source_of(0)->error, "/m.yaml:2:2: "), "%s", source_of(0)->error);
	expect_due(500);
	/* it is understood again, although it is what it was before */
	write_file("m.yaml", "[{address: 10.0.0.1:80}]");
	look();
	expect_error("");
	expect_due(30000);
}

Test(file, one_that_is_not_there_is_looked_for, WORLD)
{
	file("[{address: 10.0.0.1:80}]");
	unlink(w.file);
	look();
	cr_expect(strstr(source_of(0)->error, "/m.yaml: cannot be read: "));
	expect_members("10.0.0.1:80 w1 (listed)");
	expect_due(500);
	write_file("m.yaml", "[{address: 10.0.0.1:80}]");
	look();
	expect_error("");
	cr_expect_eq(source_of(0)->n_answers, 2);
}

Test(file, another_folder_in_its_place_is_watched, WORLD)
{
	char folder[64], aside[64];
	snprintf(folder, sizeof(folder), "%s/f", w.folder);
	snprintf(aside, sizeof(aside), "%s/g", w.folder);
	cr_assert_eq(mkdir(folder, 0700), 0);
	write_file("f/m.yaml", "[{address: 10.0.0.1:80}]");
	begin(CONF_SOURCE_file, w.file);
	cr_assert_eq(rename(folder, aside), 0);
	turn();
	cr_assert_eq(mkdir(folder, 0700), 0);
	look();
	cr_expect(strstr(source_of(0)->error, "cannot be read"));
	look();
	write_file("f/m.yaml", "[{address: 10.0.0.2:80}]");
	timer_clear(&source_of(0)->timer);
	look();
	expect_members("gone 10.0.0.1:80 w1 (listed), 10.0.0.2:80 w1 (listed)");
	/* nothing is told of the one before */
	write_file("g/m.yaml", "[]");
	timer_clear(&source_of(0)->timer);
	turn();
	expect_no_timer();
}
