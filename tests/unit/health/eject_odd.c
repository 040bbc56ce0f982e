/* SPDX-License-Identifier: MIT */
/* Ejections of backends that answer otherwise than the rest, and what is forgotten of them. */
#include "eject_world.h"

static void answer(uint32_t i, enum answer_kind kind, uint64_t n)
{
	struct odd_local *odd = &backend(i)->local[0]->odd;
	struct odd_strata *strata = atomic_load(&odd->strata);
	atomic_fetch_add(&odd->answers[kind], (uint32_t)n);
	if (strata)
		atomic_fetch_add(&odd_row_of(strata, 0)->n[kind], (uint32_t)n);
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
				atomic_fetch_add(&odd_row_of(strata, 0)->n[i ? others : first], n);
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
	cr_assert_eq(backend(0)->ejected_for, EJECTION_odd);
	for (unsigned k = 0; k < 200 && is_ejected(0); k++) {
		for (uint32_t i = 1; i < 4; i++) {
			struct odd_strata *strata = atomic_load(&backend(i)->local[0]->odd.strata);
			answer(i, ANSWER_1k, 50);
			enum answer_type type = k < 100 ? ANSWER_TYPE_json : ANSWER_TYPE_html;
			atomic_fetch_add(&odd_row_of(strata, 0)->n[type], 50);
		}
		pass(S / 10);
		cr_assert(k >= 100 || is_ejected(0), "they still give what they gave");
	}
	cr_expect_not(is_ejected(0), "it was what is asked");
	end();
}

/* Looks in which the others of three get the requests that the first, which failed, does not. */
static void starve(unsigned looks)
{
	for (unsigned k = 0; k < looks; k++) {
		answer(1, ANSWER_full, 50);
		answer(2, ANSWER_full, 50);
		pass(S / 10);
	}
}

/* When it is due to be tried; 0: it is not. */
static uint64_t try_of(uint32_t i)
{
	return atomic_load(&backend(i)->odd.try_us);
}

/* A strategy that goes by errors avoids it: nothing would ever show that it is well again. */
Test(eject, who_failed_and_gets_nothing_any_more_is_tried_at_once)
{
	begin(3, 0.4);
	world.conf.outlier.odd = true;
	follow();
	starve(30);
	cr_expect_eq(try_of(0), 0, "it has not failed");
	atomic_store(&backend(0)->odd.error_us, watcher.now_us);
	starve(20);
	cr_expect(try_of(0) && try_of(0) <= watcher.now_us);
	cr_expect(!try_of(1) && !try_of(2));
	for (unsigned k = 0; k < 12 * 10; k++)
		starve(1);
	cr_expect_eq(try_of(0), 0, "it failed long ago");
	end();
}

Test(eject, who_failed_and_is_asked_like_the_others_needs_no_tries)
{
	begin(3, 0.4);
	world.conf.outlier.odd = true;
	follow();
	atomic_store(&backend(0)->odd.error_us, watcher.now_us);
	for (unsigned k = 0; k < 50; k++) {
		answer(0, ANSWER_full, 40);
		starve(1);
		cr_assert_eq(try_of(0), 0, "after %u", k);
	}
	end();
}
