/* SPDX-License-Identifier: MIT */
/* Ejections, trials and what comes after, by a clock of the test's own. */
#include "eject_world.h"

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

/* Beside the sentence, in the process that takes over as well. */
Test(eject, for_what_is_known)
{
	struct str packed = STR_INIT;
	begin(4, 0.3);
	fail(1, 5, false);
	read_mail();
	cr_assert_eq(backend(1)->ejected_for, EJECTION_consecutive_errors);
	time_out(1);
	cr_assert(fault_may_try(&backend(1)->fault));
	fail(1, 1, true);
	read_mail();
	cr_assert_eq(backend(1)->ejected_for, EJECTION_trial);
	backend(1)->health->eject_cause = EJECTION_odd;
	health_pack(health, &packed);
	backend(1)->health->eject_cause = EJECTION_trial;
	struct unpack in = unpack_of(str_as_view(&packed));
	health_unpack(&in, health);
	read_mail();
	cr_assert_eq(backend(1)->ejected_for, EJECTION_odd);
	str_fini(&packed);
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
