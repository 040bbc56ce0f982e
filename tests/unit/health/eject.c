/* SPDX-License-Identifier: MIT */
/* Ejections, trials and what comes after, by a clock of the test's own. */
#include <criterion/criterion.h>
#include <string.h>

#include "../pool/world.h"
#include "health/target.h"
#include "weir/base/bitset.h"
#include "weir/health/health.h"

#define S UINT64_C(1000000)

static struct world world;
static struct world_gen gen;
static struct loop watcher;
static struct health *health;
static unsigned n_changed, n_noted, n_looked;
static bool broken; /* the faults are about connections */
static bool asleep; /* a worker, which looks at nothing */

static void on_changed(void *ctx, struct backend *b, const struct health_change *change)
{
	(void)ctx;
	(void)b;
	cr_assert_neq(change->now, change->was);
	cr_assert(*change->why);
	n_changed++;
}

static void on_noted(void *ctx, struct backend *b, const char *what)
{
	(void)ctx;
	(void)b;
	cr_assert(*what);
	n_noted++;
}

static void on_look(void *ctx)
{
	(void)ctx;
	n_looked++;
}

static uint64_t said(void *ctx)
{
	(void)ctx;
	return n_looked;
}

static uint64_t seen(void *ctx)
{
	(void)ctx;
	return asleep ? 0 : n_looked;
}

static void follow_pools(uint32_t n)
{
	struct health_clients *clients = health_clients_new(health, &gen.pool, n);
	health_follow(health, &gen.pool, n, clients);
	health_clients_free(clients);
}

static void follow(void)
{
	follow_pools(1);
}

static void begin(size_t n, double max_ejected)
{
	static const struct health_host host = {.changed = on_changed,
						.noted = on_noted,
						.look = on_look,
						.said = said,
						.seen = seen,
						.loop = &watcher};
	n_changed = n_noted = n_looked = 0;
	broken = asleep = false;
	world_init(&world, 1, n);
	world.conf.slow_start_us = 60 * S;
	world.conf.outlier = (struct conf_outlier){
	    .on = true,
	    .consecutive_errors = 5,
	    .interval_us = 10 * S,
	    .eject_us = 30 * S,
	    .max_eject_us = 300 * S,
	    .max_ejected = max_ejected,
	};
	world_build(&world, &gen);
	cr_assert_eq(loop_init(&watcher, "watcher"), ERR_OK);
	watcher.now_us = 1000 * S;
	timer_wheel_init(&watcher.timers, watcher.now_us);
	health = health_new(&watcher, &host);
	follow();
}

static void end(void)
{
	health_free(health);
	loop_read_mail(&watcher);
	world_release(&world, &gen);
	loop_fini(&watcher);
	world_fini(&world);
}

static struct backend *backend(uint32_t i)
{
	return gen.pool.backends[i];
}

static bool is_ejected(uint32_t i)
{
	return backend_state(backend(i)) == BACKEND_ejected;
}

static uint8_t trial_of(uint32_t i)
{
	return atomic_load(&backend(i)->fault.trial);
}

static void read_mail(void)
{
	while (loop_read_mail(&watcher))
		;
}

static void pass(uint64_t us)
{
	for (uint64_t until = watcher.now_us + us; watcher.now_us < until;) {
		watcher.now_us += S / 10;
		timer_wheel_run(&watcher.timers, watcher.now_us);
		read_mail();
	}
}

static void fail(uint32_t i, unsigned times, bool on_trial)
{
	const struct fault_facts facts = {"it failed", 0, on_trial, true, broken};
	for (unsigned k = 0; k < times; k++)
		fault_note(&backend(i)->fault, &backend(i)->local[0]->fault, &facts);
}

static void serve(uint32_t i)
{
	fault_note_served(&backend(i)->fault, &backend(i)->local[0]->fault);
}

/* Seconds until it is back, in tenths. */
static double time_out(uint32_t i)
{
	uint64_t from = watcher.now_us;
	while (is_ejected(i) && watcher.now_us < from + 1000 * S)
		pass(S / 10);
	return (double)(watcher.now_us - from) / S;
}

Test(eject, five_in_a_row_but_not_four)
{
	begin(4, 0.3);
	for (int k = 0; k < 3; k++) {
		fail(0, 4, false);
		serve(0);
	}
	read_mail();
	cr_assert(!is_ejected(0));
	fail(0, 4, false);
	cr_assert_eq(trial_of(0), TRIAL_OFF);
	fail(0, 1, false);
	cr_assert_eq(trial_of(0), TRIAL_CLOSED, "the gate is shut before anybody has decided");
	cr_assert(!is_ejected(0));
	read_mail();
	cr_assert(is_ejected(0));
	cr_assert_eq(n_changed, 1);
	end();
}

/* A weight of 0 keeps new exchanges away: such a backend is no one to fall back on. */
Test(eject, never_the_last_that_has_a_weight)
{
	begin(3, 1);
	gen.pool.weights[1] = gen.pool.weights[2] = 0;
	follow();
	fail(0, 5, false);
	read_mail();
	cr_assert(!is_ejected(0));
	cr_assert_eq(trial_of(0), TRIAL_OFF, "nor does its gate stay shut");
	gen.pool.weights[2] = 1;
	follow();
	fail(0, 5, false);
	read_mail();
	cr_assert(is_ejected(0));
	end();
}

Test(eject, times_grow_and_end)
{
	begin(4, 0.3);
	fail(1, 5, false);
	read_mail();
	for (unsigned k = 1; k <= 12; k++) {
		cr_assert(is_ejected(1), "%u", k);
		double least = k < 10 ? 30 * k : 300, took = time_out(1);
		cr_assert(took >= least && took <= least + 5.2, "%u: %.1f s", k, took);
		cr_assert_eq(trial_of(1), TRIAL_FREE);
		cr_assert_eq(atomic_load(&backend(1)->ramp_from_us), watcher.now_us);
		cr_assert(fault_may_try(&backend(1)->fault));
		cr_assert(!fault_may_try(&backend(1)->fault), "one tries it, and one alone");
		fail(1, 1, true);
		read_mail();
	}
	end();
}

Test(eject, a_trial_that_passes_and_good_sweeps_forgive)
{
	begin(4, 0.3);
	fail(2, 5, false);
	read_mail();
	for (unsigned k = 1; k <= 2; k++) { /* twice out */
		time_out(2);
		cr_assert(fault_take_trial(&backend(2)->fault));
		fail(2, 1, true);
		read_mail();
	}
	time_out(2);
	cr_assert(fault_take_trial(&backend(2)->fault));
	unsigned before = n_noted;
	serve(2);
	read_mail();
	cr_assert_eq(trial_of(2), TRIAL_OFF);
	cr_assert_eq(n_noted, before + 1);
	pass(11 * S); /* a sweep or two without a fault: of 3 one is left, or two */
	fail(2, 5, false);
	read_mail();
	double took = time_out(2);
	cr_assert(took >= 60 && took <= 95.2, "the second or third in a row: %.1f s", took);
	cr_assert(fault_take_trial(&backend(2)->fault));
	serve(2);
	read_mail();
	pass(31 * S); /* three sweeps: all is forgiven */
	fail(2, 5, false);
	read_mail();
	took = time_out(2);
	cr_assert(took >= 30 && took <= 35.2, "as at the first time: %.1f s", took);
	end();
}

Test(eject, no_more_than_the_share_and_the_gate_opens_again)
{
	begin(10, 0.1);
	for (uint32_t i = 0; i < 3; i++)
		fail(i, 5, false);
	read_mail();
	cr_assert(is_ejected(0));
	for (uint32_t i = 1; i < 3; i++) {
		cr_assert(!is_ejected(i));
		cr_assert_eq(trial_of(i), TRIAL_OFF, "it serves on");
	}
	cr_assert_eq(n_looked, 3, "whoever waits is told, too");
	end();
}

/* ---- what a check says ---- */

static void checked(uint32_t i, bool ok, enum vitals_is is)
{
	backend(i)->health->vitals.is = is;
	target_checked(backend(i)->health, ok, watcher.now_us);
	read_mail();
}

static void eject_now(uint32_t i, bool about_connections)
{
	broken = about_connections;
	fail(i, 5, false);
	read_mail();
	cr_assert(is_ejected(i));
	pass(S);
}

Test(eject, a_check_ends_what_was_about_connections)
{
	begin(4, 0.3);
	eject_now(0, true);
	target_checked(backend(0)->health, true, watcher.now_us - 5 * S);
	cr_assert(is_ejected(0), "it began before the ejection");
	checked(0, false, VITALS_UP);
	cr_assert(is_ejected(0));
	checked(0, true, VITALS_DOWN);
	cr_assert(is_ejected(0), "rise is not reached");
	checked(0, true, VITALS_UP);
	cr_assert(!is_ejected(0));
	cr_assert_eq(trial_of(0), TRIAL_FREE, "one request tries it");
	end();
}

Test(eject, a_check_does_not_end_what_was_about_answers)
{
	begin(4, 0.3);
	eject_now(0, false);
	checked(0, true, VITALS_UP);
	cr_assert(is_ejected(0));
	end();
}

/* A check that asks for something else than traffic does would bring it back for ever. */
Test(eject, a_check_does_not_end_it_twice_in_a_row_unless_it_was_down)
{
	begin(4, 0.3);
	eject_now(0, true);
	checked(0, true, VITALS_UP);
	cr_assert(fault_take_trial(&backend(0)->fault));
	fail(0, 1, true);
	read_mail();
	cr_assert(is_ejected(0));
	pass(S);
	checked(0, true, VITALS_UP);
	cr_assert(is_ejected(0));
	checked(0, false, VITALS_DOWN);
	checked(0, true, VITALS_UP);
	cr_assert(!is_ejected(0));
	end();
}

Test(eject, late_faults_do_not_open_the_gate_of_one_just_ejected)
{
	begin(4, 0.3);
	fail(0, 5, false);
	read_mail();
	fail(0, 5, false); /* those that were on their way */
	read_mail();
	cr_assert_eq(trial_of(0), TRIAL_CLOSED);
	pass(S);
	cr_assert_eq(trial_of(0), TRIAL_OFF, "panic may want it");
	fail(0, 5, false);
	cr_assert_eq(trial_of(0), TRIAL_CLOSED);
	read_mail();
	cr_assert_eq(trial_of(0), TRIAL_OFF);
	cr_assert(is_ejected(0));
	end();
}

Test(eject, the_gate_is_shut_until_all_workers_pass_it_over)
{
	begin(4, 0.3);
	asleep = true;
	fail(0, 5, false);
	read_mail();
	pass(3 * S);
	fail(0, 5, false);
	read_mail();
	cr_assert_eq(trial_of(0), TRIAL_CLOSED, "a worker would ask it still");
	asleep = false;
	pass(S);
	cr_assert_eq(trial_of(0), TRIAL_OFF, "panic may want it");
	asleep = true;
	pass(30 * S + 5 * S);
	cr_assert(!is_ejected(0), "its time is over whatever they know");
	end();
}

/* A good row between the fifth fault and the letter: nothing is left of it. */
Test(eject, a_success_before_the_letter_is_read)
{
	begin(4, 0.3);
	fail(0, 5, false);
	serve(0);
	read_mail();
	cr_assert(!is_ejected(0));
	cr_assert_eq(trial_of(0), TRIAL_OFF);
	cr_assert_eq(n_looked, 1);
	end();
}

Test(eject, comes_back_slowly)
{
	static const struct {
		unsigned s;
		double share;
	} ramp[] = {{1, .1}, {6, .1}, {15, .25}, {30, .5}, {45, .75}, {60, 1}};
	begin(4, 0.3);
	struct pool_view *view = &gen.views[0];
	fail(3, 5, false);
	read_mail();
	pool_view_refresh(view);
	cr_assert_eq(bitset_has(view->eligible, 3), false);
	time_out(3);
	for (size_t k = 0; k < ARRAY_LEN(ramp); k++) {
		world.loops[0].now_us = watcher.now_us + ramp[k].s * S;
		pool_view_refresh(view);
		cr_assert(bitset_has(view->eligible, 3));
		double share = (double)view->shares[3] / SHARE_FULL;
		cr_assert(share > ramp[k].share - .01 && share < ramp[k].share + .01, "%u s: %.3f",
			  ramp[k].s, share);
	}
	end();
}

Test(eject, switched_off_brings_everybody_back)
{
	begin(4, 0.3);
	fail(0, 5, false);
	read_mail();
	world.conf.outlier.on = false;
	follow();
	cr_assert(!is_ejected(0));
	cr_assert_eq(trial_of(0), TRIAL_OFF);
	fail(0, 50, false);
	read_mail();
	cr_assert(!is_ejected(0));
	cr_assert_eq(trial_of(0), TRIAL_OFF);
	end();
}

static void answer(uint32_t i, enum answer_kind kind, uint64_t n)
{
	struct odd_local *odd = &backend(i)->local[0]->odd;
	struct odd_strata *strata = atomic_load(&odd->strata);
	atomic_fetch_add(&odd->answers[kind], (uint32_t)n);
	if (strata)
		atomic_fetch_add(&strata->n[0][kind], (uint32_t)n);
}

/* Watched, and then well again: nobody is suspected any more. */
static void be_odd_once(void)
{
	answer(0, ANSWER_404, 20);
	answer(1, ANSWER_full, 1000);
	answer(2, ANSWER_full, 1000);
	pass(S);
	cr_assert(atomic_load(&gen.pool.state->watched));
	cr_assert_not(is_ejected(0));
}

/* Its backend lived on in an older generation, and so did what was counted there. */
Test(eject, a_target_made_anew_answers_for_nothing_that_was_before)
{
	begin(3, 0.4);
	world.conf.outlier.odd = true;
	follow();
	be_odd_once();
	answer(0, ANSWER_404, 100000);
	follow_pools(0);
	follow();
	for (unsigned k = 0; k < 40; k++) {
		for (uint32_t i = 0; i < 3; i++)
			answer(i, ANSWER_full, 100);
		pass(S / 2);
		cr_assert_not(is_ejected(0), "after %u looks: %s", k,
			      backend(0)->health->eject_reason);
	}
	cr_expect_not(atomic_load(&gen.pool.state->watched));
	end();
}

/* What the other answered before it was there says nothing of it. */
Test(eject, who_comes_is_compared_from_then_on)
{
	begin(2, 0.5);
	world.conf.outlier.odd = true;
	follow();
	answer(0, ANSWER_404, 20);
	answer(1, ANSWER_full, 1000);
	pass(S);
	health_set_admin(health, backend(1), BACKEND_maintenance, "by the test");
	answer(0, ANSWER_full, 190);
	pass(5 * S);
	health_set_admin(health, backend(1), BACKEND_up, "by the test");
	for (unsigned k = 0; k < 8; k++) {
		answer(0, ANSWER_404, 4);
		answer(1, ANSWER_404, 4);
		pass(S / 10);
		cr_assert_not(is_ejected(1), "after %u: %s", k, backend(1)->health->eject_reason);
	}
	cr_expect(atomic_load(&gen.pool.state->watched));
	end();
}

/* Looks in which the first draws nearly all, and gives this type; the others another. */
static void draw(enum answer_type first, enum answer_type others, unsigned looks)
{
	for (unsigned k = 0; k < looks && !is_ejected(0); k++) {
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t n = i ? 2 : 500;
			struct odd_strata *strata = atomic_load(&backend(i)->local[0]->odd.strata);
			answer(i, ANSWER_1k, n);
			if (strata)
				atomic_fetch_add(&strata->n[0][i ? others : first], n);
		}
		pass(S / 10);
	}
}

/* Another type for the same is known as soon as one draws the requests of the others for it. */
Test(eject, out_for_a_type_and_back_when_the_others_come_to_give_it)
{
	begin(4, 0.4);
	world.conf.outlier.odd = true;
	follow();
	draw(ANSWER_TYPE_json, ANSWER_TYPE_json, 100);
	cr_assert_not(is_ejected(0), "it is only faster");
	draw(ANSWER_TYPE_html, ANSWER_TYPE_json, 100);
	cr_assert(is_ejected(0));
	cr_assert(strstr(backend(0)->health->eject_reason, "answers 2xx of HTML to "));
	for (unsigned k = 0; k < 200 && is_ejected(0); k++) {
		for (uint32_t i = 1; i < 4; i++) {
			struct odd_strata *strata = atomic_load(&backend(i)->local[0]->odd.strata);
			answer(i, ANSWER_1k, 50);
			atomic_fetch_add(
			    &strata->n[0][k < 100 ? ANSWER_TYPE_json : ANSWER_TYPE_html], 50);
		}
		pass(S / 10);
		cr_assert(k >= 100 || is_ejected(0), "they still give what they gave");
	}
	cr_expect_not(is_ejected(0), "it was what is asked");
	end();
}
