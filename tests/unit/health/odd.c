/* SPDX-License-Identifier: MIT */
/* Who leads, and whether it may: answers counted by hand, by a clock of the test's own. */
#include <criterion/criterion.h>
#include <string.h>

#include "../pool/world.h"
#include "health/target.h"
#include "weir/health/health.h"

#define S UINT64_C(1000000)
#define STEP_US 50000
#define N_MAX 10
#define STRATUM 3

/* What a backend does. */
struct role {
	unsigned per_s; /* requests that it draws */
	uint64_t us;    /* its median, as it is told */
	unsigned type;  /* of its answers, an enum answer_type */
	bool refuses;   /* it answers 404 */
	double owed;    /* answers, of those that are due */
	unsigned asked; /* times that it was, whatever it draws */
};

static struct world world;
static struct world_gen gen;
static struct loop watcher;
static struct health *health;
static struct role roles[N_MAX];
static uint64_t watched_us;  /* the pool was, so far */
static unsigned n_ejections; /* of anybody, so far */

static void on_changed(void *ctx, struct backend *b, const struct health_change *change)
{
	(void)ctx;
	(void)b;
	n_ejections += change->now == BACKEND_ejected;
}

static void on_noted(void *ctx, struct backend *b, const char *what)
{
	(void)ctx;
	(void)b;
	(void)what;
}

static void on_look(void *ctx)
{
	(void)ctx;
}

static struct backend *backend(size_t i)
{
	return gen.pool.backends[i];
}

/* Alike and calm. */
static void set_up(size_t n)
{
	watched_us = n_ejections = 0;
	for (size_t i = 0; i < n; i++)
		roles[i] = (struct role){.per_s = 100, .us = 20000, .type = ANSWER_TYPE_html};
	world_init(&world, 1, n);
	world.conf.outlier = (struct conf_outlier){
	    .on = true,
	    .odd = true,
	    .consecutive_errors = 5,
	    .interval_us = 10 * S,
	    .eject_us = 30 * S,
	    .max_eject_us = 300 * S,
	    .max_ejected = 0.3,
	};
}

static void follow(void)
{
	struct health_clients *clients = health_clients_new(health, &gen.pool, 1);
	health_follow(health, &gen.pool, 1, clients);
	health_clients_free(clients);
}

static void start(void)
{
	static const struct health_host host = {
	    .changed = on_changed, .noted = on_noted, .look = on_look, .loop = &watcher};
	world_build(&world, &gen);
	cr_assert_eq(loop_init(&watcher, "watcher"), ERR_OK);
	watcher.now_us = 1000 * S;
	timer_wheel_init(&watcher.timers, watcher.now_us);
	health = health_new(&watcher, &host);
	follow();
}

static void begin(size_t n)
{
	set_up(n);
	start();
}

static void end(void)
{
	health_free(health);
	while (loop_read_mail(&watcher))
		;
	world_release(&world, &gen);
	loop_fini(&watcher);
	world_fini(&world);
}

static bool is_watched(void)
{
	return atomic_load(&gen.pool.state->watched);
}

static bool is_ejected(size_t i)
{
	return backend_state(backend(i)) == BACKEND_ejected;
}

static bool leads(size_t i)
{
	return backend(i)->health->odd.leads;
}

/* As workers do: pool/odd.c. */
static void answer(size_t i)
{
	struct odd_local *odd = &backend(i)->local[0]->odd;
	struct odd_strata *strata = atomic_load(&odd->strata);
	enum answer_kind kind = roles[i].refuses ? ANSWER_404 : ANSWER_4k;
	odd_count(&odd->answers[kind]);
	if (!strata || !is_watched())
		return;
	odd_count(&odd_row_of(strata, STRATUM)->n[kind]);
	if (!roles[i].refuses)
		odd_count(&odd_row_of(strata, STRATUM)->n[roles[i].type]);
}

static void tell_speed(size_t i, uint64_t span_us)
{
	atomic_store(&backend(i)->newest_us, roles[i].us);
	atomic_store(&backend(i)->newest_span_us, span_us);
}

static void serve(size_t i, double seconds)
{
	struct role *r = &roles[i];
	struct odd_shared *odd = &backend(i)->odd;
	uint64_t try_us = atomic_load(&odd->try_us);
	if (is_ejected(i))
		return;
	if (try_us && try_us <= watcher.now_us) {
		atomic_store(&odd->try_us, watcher.now_us + ODD_TRY_LOST_US);
		r->asked++;
		answer(i);
	}
	for (r->owed += r->per_s * seconds; r->owed >= 1; r->owed--)
		answer(i);
	tell_speed(i, S);
}

static void step(void)
{
	watcher.now_us += STEP_US;
	timer_wheel_run(&watcher.timers, watcher.now_us);
	while (loop_read_mail(&watcher))
		;
	watched_us += is_watched() ? STEP_US : 0;
}

static void pass(double seconds)
{
	for (uint64_t until = watcher.now_us + (uint64_t)(seconds * S); watcher.now_us < until;) {
		for (size_t i = 0; i < gen.pool.n; i++)
			serve(i, (double)STEP_US / S);
		step();
	}
}

/* A request: for one that is asked, and else for the one that draws them all. */
static void deal(size_t drawer)
{
	for (size_t i = 0; i < gen.pool.n; i++) {
		struct odd_shared *odd = &backend(i)->odd;
		uint64_t try_us = atomic_load(&odd->try_us);
		if (!try_us || try_us > watcher.now_us || is_ejected(i))
			continue;
		atomic_store(&odd->try_us, watcher.now_us + ODD_TRY_LOST_US);
		roles[i].asked++;
		answer(i);
		return;
	}
	answer(drawer);
}

/* So many requests, until it is ejected, in all. */
static unsigned deal_until_ejected(size_t drawer, double per_s, unsigned most)
{
	unsigned n = 0;
	for (double owed = 0; n < most && !is_ejected(drawer); step()) {
		for (size_t i = 0; i < gen.pool.n; i++)
			tell_speed(i, 10 * S);
		for (owed += per_s * STEP_US / S; owed >= 1; owed--, n++)
			deal(drawer);
	}
	return n;
}

Test(lead, nobody_leads_among_equals)
{
	begin(4);
	for (int k = 0; k < 100; k++) {
		pass(0.5);
		for (size_t i = 0; i < 4; i++)
			cr_assert_not(leads(i));
	}
	cr_assert_eq(watched_us, 0);
	end();
}

Test(lead, who_draws_three_times_what_it_should)
{
	begin(4);
	roles[2].per_s = 250;
	pass(10);
	cr_assert_not(leads(2));
	roles[2].per_s = 350;
	pass(30);
	cr_assert(leads(2));
	cr_assert_not(leads(1));
	end();
}

/* Three times the weight is three times the requests. */
Test(lead, weights_count)
{
	set_up(4);
	world.backends[2].weight = 3;
	start();
	roles[2].per_s = 330;
	pass(60);
	cr_assert_not(leads(2));
	cr_assert_eq(watched_us, 0);
	/* but not ten times */
	roles[2].per_s = 1000;
	pass(30);
	cr_assert(leads(2));
	end();
}

Test(lead, a_weight_below_that_of_the_others)
{
	set_up(3);
	world.backends[0].weight = world.backends[1].weight = 10;
	start();
	roles[2].per_s = 25; /* of 10 */
	pass(60);
	cr_assert_not(leads(2));
	roles[2].per_s = 35;
	pass(60);
	cr_assert(leads(2));
	end();
}

/* With one other it is not known who is the odd one. */
Test(lead, never_one_of_two)
{
	begin(2);
	roles[1] = (struct role){.per_s = 10000, .us = 200, .type = ANSWER_TYPE_json};
	roles[0].per_s = 5;
	pass(120);
	cr_assert_not(leads(1));
	cr_assert_eq(watched_us, 0);
	cr_assert_eq(n_ejections, 0);
	cr_assert_eq(roles[0].asked, 0);
	end();
}

/* Nor where the others do not take part. */
Test(lead, who_has_weight_0_is_no_other)
{
	set_up(3);
	world.backends[0].weight = 0;
	start();
	roles[0].per_s = 0;
	roles[2] = (struct role){.per_s = 1000, .us = 200, .type = ANSWER_TYPE_json};
	pass(60);
	cr_assert_not(leads(2));
	cr_assert_eq(n_ejections, 0);
	end();
}

Test(lead, who_takes_a_third_of_the_time)
{
	begin(4);
	roles[2].us = 7000;
	pass(5);
	cr_assert_not(leads(2));
	roles[2].us = 6000;
	pass(5);
	cr_assert(leads(2));
	/* most of the others, not one slow one */
	roles[0].us = roles[1].us = 6000;
	pass(5);
	cr_assert_not(leads(2));
	/* what is within a millisecond is no difference */
	for (size_t i = 0; i < 4; i++)
		roles[i].us = i == 2 ? 100 : 900;
	pass(5);
	cr_assert_not(leads(2));
	/* of whom nothing is known: nothing */
	roles[2].us = 0;
	pass(5);
	cr_assert_not(leads(2));
	end();
}

/* Draws nearly all, at once, and of the same type: it is right, and stays. */
static void lead_rightly(void)
{
	roles[2] = (struct role){.per_s = 1000, .us = 300, .type = ANSWER_TYPE_html};
	for (size_t i = 0; i < 4; i++)
		if (i != 2)
			roles[i].per_s = 1;
}

Test(lead, a_good_one_may_lead_for_ever)
{
	begin(4);
	lead_rightly();
	pass(600);
	cr_assert(leads(2));
	cr_assert_eq(n_ejections, 0);
	/* the others were asked, but not on and on */
	cr_assert_geq(roles[0].asked, 600 / 12 * 10);
	cr_assert_leq(roles[0].asked, 600 / 12 * 50);
	end();
}

/* To be watched costs each request something. */
Test(lead, it_is_watched_a_third_of_the_time)
{
	begin(4);
	lead_rightly();
	pass(30);
	watched_us = 0;
	pass(1200);
	cr_assert_geq(watched_us, 200 * S);
	cr_assert_leq(watched_us, 430 * S, "%llu s", (unsigned long long)(watched_us / S));
	end();
}

Test(lead, another_type_at_once_is_left_alone)
{
	begin(4);
	pass(20);
	lead_rightly();
	roles[2].type = ANSWER_TYPE_json;
	pass(4);
	cr_assert(is_ejected(2));
	cr_assert_eq(n_ejections, 1);
	cr_assert(strstr(backend(2)->reason, "answers 2xx of JSON to 100 %, the others to 0 %"),
		  "%s", backend(2)->reason);
	end();
}

/* Its share is as before, but it takes a fraction of the time. */
Test(lead, another_type_at_once_under_a_strategy_that_deals_alike)
{
	begin(3);
	pass(20);
	roles[2] = (struct role){.per_s = 100, .us = 300, .type = ANSWER_TYPE_json};
	pass(4);
	cr_assert(is_ejected(2));
	end();
}

/* What is known of the speed of one that is just back is that of the failures that it had. */
Test(lead, one_that_is_mended_may_answer_otherwise)
{
	begin(4);
	pass(20);
	roles[2] = (struct role){.per_s = 100, .us = 300, .type = ANSWER_TYPE_json};
	pass(4);
	cr_assert(is_ejected(2));
	while (is_ejected(2)) {
		odd_note_try(backend(2)->health, false);
		pass(0.1);
	}
	for (int seconds = 1; seconds < 120; seconds++) {
		pass(1);
		roles[2].us = 20000;
		cr_assert_not(is_ejected(2), "%d", seconds);
	}
	/* fast again, it looks better than it is */
	roles[2].us = 300;
	pass(14);
	cr_assert(is_ejected(2));
	end();
}

/* A new version of one that has long been the fastest. */
Test(lead, one_that_has_led_for_long_changes)
{
	begin(4);
	lead_rightly();
	pass(300);
	roles[2].type = ANSWER_TYPE_json;
	pass(5);
	cr_assert(is_ejected(2));
	end();
}

/* Every third try fails: three that pass in a row do not make it right again. */
Test(back, one_that_is_right_now_and_then_is_asked_for_longer)
{
	begin(4);
	pass(20);
	lead_rightly();
	roles[2].type = ANSWER_TYPE_json;
	pass(5);
	cr_assert(is_ejected(2));
	for (unsigned k = 0; k < 5; k++) {
		odd_note_try(backend(2)->health, true);
		odd_note_try(backend(2)->health, false);
		odd_note_try(backend(2)->health, false);
	}
	odd_note_try(backend(2)->health, false);
	odd_note_try(backend(2)->health, false);
	cr_assert(is_ejected(2));
	for (unsigned k = 0; k < 20; k++)
		odd_note_try(backend(2)->health, false);
	cr_assert_not(is_ejected(2));
	end();
}

/* Whenever it does, between two windows or in one. */
Test(lead, one_that_has_led_for_long_changes_at_any_time)
{
	for (unsigned tenths = 0; tenths < 50; tenths += 3) {
		begin(4);
		lead_rightly();
		pass(60 + tenths / 10.0);
		roles[2].type = ANSWER_TYPE_coded_html;
		pass(5);
		cr_assert(is_ejected(2), "%u", tenths);
		end();
	}
}

/* Those that are asked do not have every request: the leader is seen, too. */
Test(lead, another_type_where_few_ask)
{
	static const double rates[] = {1, 2, 4, 8, 12, 20, 40};
	for (size_t r = 0; r < ARRAY_LEN(rates); r++) {
		begin(4);
		roles[2].us = 300;
		cr_assert_eq(deal_until_ejected(2, rates[r], 300), 300);
		roles[2].type = ANSWER_TYPE_json;
		unsigned n = deal_until_ejected(2, rates[r], 1000);
		cr_assert_leq(n, 300, "%.0f/s: %u", rates[r], n);
		end();
	}
}

/* By accident before, and not for long. */
Test(lead, who_led_a_moment_ago_is_asked_about_at_once)
{
	begin(4);
	pass(5);
	roles[2].us = 300;
	pass(1);
	cr_assert(is_watched());
	roles[2].us = 20000;
	pass(5);
	cr_assert_not(is_watched());
	roles[2] = (struct role){.per_s = 100, .us = 300, .type = ANSWER_TYPE_json};
	pass(3);
	cr_assert(is_ejected(2));
	end();
}

/* But not on and on. */
Test(lead, one_that_leads_now_and_then)
{
	begin(4);
	pass(5);
	for (unsigned k = 0; k < 600; k++) {
		roles[2].us = k % 2 ? 300 : 20000;
		pass(1);
	}
	cr_assert_leq(watched_us, 250 * S, "%llu s", (unsigned long long)(watched_us / S));
	end();
}

/* Few requests: what a window has brought is not forgotten in the next. */
Test(lead, evidence_adds_up_over_windows)
{
	begin(4);
	for (size_t i = 0; i < 4; i++)
		roles[i].per_s = 1;
	roles[2] = (struct role){.per_s = 6, .us = 300, .type = ANSWER_TYPE_json};
	pass(300);
	cr_assert_gt(n_ejections, 0);
	end();
}

/* It is as fast as before, and answers otherwise, as do the others. */
Test(lead, all_change_together)
{
	begin(4);
	lead_rightly();
	for (unsigned k = 0; k < 20; k++) {
		for (size_t i = 0; i < 4; i++)
			roles[i].type = k % 2 ? ANSWER_TYPE_json : ANSWER_TYPE_coded_html;
		pass(37);
		cr_assert_eq(n_ejections, 0, "%u", k);
	}
	end();
}

Test(lead, who_leads_no_longer_has_nobody_asked)
{
	begin(4);
	lead_rightly();
	pass(2);
	cr_assert_gt(roles[0].asked, 5);
	for (size_t i = 0; i < 4; i++)
		roles[i] = (struct role){.per_s = 100, .us = 20000, .type = ANSWER_TYPE_html};
	pass(250);
	cr_assert_not(leads(2));
	unsigned asked = roles[0].asked;
	for (size_t i = 0; i < 4; i++) {
		roles[i].per_s = 1;
		cr_assert_eq(atomic_load(&backend(i)->odd.try_us), 0);
	}
	pass(20);
	cr_assert_eq(roles[0].asked, asked);
	cr_assert_not(is_watched());
	end();
}

Test(lead, it_is_over_when_it_is_switched_off)
{
	begin(4);
	lead_rightly();
	pass(1);
	cr_assert(is_watched());
	world.conf.outlier.odd = false;
	follow();
	cr_assert_not(is_watched());
	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(atomic_load(&backend(i)->odd.try_us), 0);
	end();
}

static bool is_held(size_t i)
{
	return atomic_load(&backend(i)->odd.held);
}

/* Failing fast would draw the requests of those that are well. */
Test(held, those_that_may_not_be_left_alone)
{
	unsigned n_out = 0, n_held = 0;
	set_up(10);
	world.conf.outlier.max_ejected = 0.1;
	start();
	pass(20);
	for (size_t i = 2; i < 5; i++)
		roles[i].refuses = true;
	pass(10);
	for (size_t i = 0; i < 10; i++) {
		cr_expect(i >= 2 && i < 5 ? is_held(i) != is_ejected(i)
					  : !is_held(i) && !is_ejected(i),
			  "%zu", i);
		n_out += is_ejected(i);
		n_held += is_held(i);
	}
	cr_expect_eq(n_out, 1);
	cr_expect_eq(n_held, 2);
	end();
}

Test(held, until_it_is_right_again_or_left_alone)
{
	begin(4);
	pass(20);
	roles[1].refuses = roles[2].refuses = true;
	pass(5);
	const size_t out = is_ejected(1) ? 1 : 2, held = 3 - out;
	cr_assert(is_ejected(out) && is_held(held));
	/* the other may go now */
	roles[out].refuses = false;
	for (unsigned k = 0; k < 20; k++)
		odd_note_try(backend(out)->health, false);
	pass(5);
	cr_assert(!is_ejected(out) && is_ejected(held) && !is_held(held));
	/* and is right again */
	roles[held].refuses = false;
	for (unsigned k = 0; k < 20; k++)
		odd_note_try(backend(held)->health, false);
	pass(20);
	for (size_t i = 0; i < 4; i++)
		cr_expect(!is_ejected(i) && !is_held(i));
	end();
}

Test(held, it_is_over_when_it_is_switched_off)
{
	begin(4);
	pass(20);
	roles[1].refuses = roles[2].refuses = true;
	pass(5);
	cr_assert(is_held(1) || is_held(2));
	world.conf.outlier.odd = false;
	follow();
	cr_assert(!is_held(1) && !is_held(2));
	end();
}

static bool is_usual(enum answer_kind kind)
{
	return atomic_load(&gen.pool.state->usual) & ANSWER_BIT(kind);
}

/* Most of them answer so at once and draw the requests: the one that is well is heard still. */
Test(usual, not_what_one_never_gives)
{
	begin(4);
	pass(60);
	for (size_t i = 0; i < 3; i++) {
		roles[i].refuses = true;
		roles[i].per_s = 130;
	}
	roles[3].per_s = 1;
	for (unsigned k = 0; k < 60; k++) {
		pass(1);
		cr_assert_not(is_usual(ANSWER_404));
	}
	end();
}

Test(usual, what_all_give)
{
	begin(4);
	pass(60);
	for (size_t i = 0; i < 4; i++)
		roles[i].refuses = true;
	pass(10);
	cr_assert(is_usual(ANSWER_404));
	end();
}
