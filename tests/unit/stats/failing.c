/* SPDX-License-Identifier: MIT */
/* Most answers of a pool fail: when that is said, since when, and when it is not. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/defs.h"
#include "weir/base/rng.h"
#include "weir/stats/failing.h"

#define START_S 1764590730 /* 12:05:30 UTC */

struct pool {
	struct failing f;
	double totals[N_FAILING];
	uint64_t s;
	struct rng rng;
};

static double chance(struct rng *rng)
{
	return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

static struct pool *fresh(void)
{
	struct pool *p = calloc(1, sizeof(*p));
	cr_assert_not_null(p);
	setenv("TZ", "UTC", 1);
	rng_init(&p->rng, 7);
	return p;
}

/* So many seconds with so many answers of each; true: it was said at the end of one. */
static bool pass(struct pool *p, unsigned s, double good, double bad, unsigned kind)
{
	char text[FAILING_TEXT];
	bool said = false;
	for (unsigned i = 0; i < s; i++) {
		p->totals[ANSWER_1k] += good;
		p->totals[kind] += bad;
		failing_second(&p->f, p->totals, (START_S + p->s++) * UINT64_C(1000000));
		said |= failing_say(&p->f, text);
	}
	return said;
}

static const char *says(const struct pool *p)
{
	static char text[FAILING_TEXT];
	return failing_say(&p->f, text) ? text : "";
}

Test(failing, a_deploy_that_answers_404_everywhere)
{
	struct pool *p = fresh();
	cr_expect_not(pass(p, 3600, 99, 1, ANSWER_404));
	cr_expect(pass(p, 10, 2, 98, ANSWER_404), "within ten seconds");
	cr_expect_eq(strstr(says(p), "answers 404 to "), says(p), "%s", says(p));
	cr_expect_not_null(strstr(says(p), " since 13:05, 1.0 % before: "), "%s", says(p));
	pass(p, 100, 2, 98, ANSWER_404);
	cr_expect_eq(strstr(says(p), "answers 404 to 98 % since 13:05, "), says(p), "%s", says(p));
	pass(p, 8, 99, 1, ANSWER_404);
	cr_expect_str_eq(says(p), "", "it is over when it is over");
	free(p);
}

Test(failing, each_kind_of_it)
{
	static const struct {
		unsigned kind;
		const char *text;
	} kinds[] = {{ANSWER_500, "answers 500 to "},
		     {ANSWER_lost, "gives no whole answer to "},
		     {ANSWER_401, "answers 401 to "},
		     {ANSWER_3xx, "answers 3xx to "},
		     {ANSWER_empty, "answers 2xx without a body to "}};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct pool *p = fresh();
		pass(p, 300, 50, 0, ANSWER_404);
		cr_expect(pass(p, 30, 0, 50, kinds[i].kind));
		cr_expect_eq(strstr(says(p), kinds[i].text), says(p), "%s", says(p));
		free(p);
	}
}

Test(failing, clients_who_leave_and_who_are_refused)
{
	static const struct {
		unsigned kind;
		const char *text;
	} kinds[] = {
	    {FAILING_left, "clients leave before they are answered: 10 % since "},
	    {FAILING_late, "clients leave unanswered after more than slo.p95: 10 % since "},
	    {FAILING_refused, "weir refuses 10 % since "}};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct pool *p = fresh();
		cr_expect_not(pass(p, 600, 99, 1, kinds[i].kind));
		cr_expect(pass(p, 30, 90, 10, kinds[i].kind));
		pass(p, 100, 90, 10, kinds[i].kind);
		cr_expect_eq(strstr(says(p), kinds[i].text), says(p), "%s", says(p));
		pass(p, 30, 99, 1, kinds[i].kind);
		cr_expect_str_eq(says(p), "");
		free(p);
	}
}

/* Those who stay are quick; p95 of all is not. */
Test(failing, who_leaves_late_misses_the_objective_from_the_start)
{
	struct pool *p = fresh();
	cr_expect(pass(p, 20, 70, 30, FAILING_late));
	cr_expect_str_eq(
	    says(p), "clients leave unanswered after more than slo.p95: 30 %: they wait too long");
	free(p);
	p = fresh();
	cr_expect_not(pass(p, 24 * 3600, 97, 3, FAILING_late), "an objective of p95 leaves 5 %%");
	cr_expect_not(pass(p, 24 * 3600, 70, 30, FAILING_left) && *says(p), "long polls");
	free(p);
}

/* The end of a test of load: hundreds leave at once, and nobody comes. */
Test(failing, who_breaks_off_at_the_end_is_nobodys_fault)
{
	struct pool *p = fresh();
	pass(p, 120, 500, 0, ANSWER_404);
	cr_expect_not(pass(p, 1, 0, 512, FAILING_left));
	cr_expect_not(pass(p, 600, 0, 0, FAILING_left));
	pass(p, 120, 500, 0, ANSWER_404);
	cr_expect_not(pass(p, 1, 0, 512, FAILING_late));
	cr_expect_not(pass(p, 600, 0, 0, FAILING_late));
	free(p);
}

Test(failing, several_kinds_together)
{
	struct pool *p = fresh();
	pass(p, 300, 60, 0, ANSWER_404);
	for (int i = 0; i < 20; i++) {
		p->totals[ANSWER_503] += 20;
		p->totals[ANSWER_404] += 20;
		pass(p, 1, 1, 20, ANSWER_lost);
	}
	cr_expect_eq(strstr(says(p), "fails or refuses to 9"), says(p), "%s", says(p));
	free(p);
}

/* Few requests: the seconds that hold enough are more. */
Test(failing, one_request_in_two_seconds)
{
	struct pool *p = fresh();
	for (int i = 0; i < 3600; i++)
		pass(p, 1, i % 2, 0, ANSWER_404);
	bool said = false;
	int after = 0;
	for (; after < 600 && !said; after++)
		said = pass(p, 1, 0, after % 2, ANSWER_404);
	cr_expect(said && after <= 480, "%d s", after);
	free(p);
}

/* A scanner asks for what there is not: those who are at home have as much as before. */
Test(failing, who_asks_for_nonsense_beside_the_others_is_not_the_pool)
{
	struct pool *p = fresh();
	cr_expect_not(pass(p, 3600, 20, 1, ANSWER_404));
	cr_expect_not(pass(p, 120, 20, 400, ANSWER_404));
	cr_expect_not(pass(p, 600, 20, 1, ANSWER_404));
	cr_expect_not(pass(p, 60, 0.5, 4, ANSWER_404) && *says(p) == '\0');
	free(p);
}

/* What a pool has given all the time, whatever that is, is told when it is nearly all. */
Test(failing, nearly_all_from_the_start)
{
	struct pool *p = fresh();
	cr_expect_not(pass(p, 55, 1, 99, ANSWER_401));
	cr_expect(pass(p, 10, 1, 99, ANSWER_401));
	cr_expect_eq(strstr(says(p), "answers 401 to 99 %: "), says(p), "%s", says(p));
	pass(p, 48 * 3600, 1, 99, ANSWER_401);
	cr_expect_neq(*says(p), '\0', "days later it is as wrong");
	free(p);

	p = fresh();
	cr_expect_not(pass(p, 24 * 3600, 30, 70, ANSWER_401), "its clients ask twice");
	cr_expect_not(pass(p, 3600, 0, 50, ANSWER_full));
	free(p);

	p = fresh();
	cr_expect_not(pass(p, 24 * 3600, 1, 99, ANSWER_empty), "that is what it is for");
	free(p);
	p = fresh();
	cr_expect_not(pass(p, 24 * 3600, 1, 99, ANSWER_3xx));
	free(p);
}

/* More than half is news for some hours, and then what is usual. */
Test(failing, what_stays_becomes_usual)
{
	struct pool *p = fresh();
	pass(p, 6 * 3600, 100, 2, ANSWER_404);
	cr_expect(pass(p, 60, 40, 60, ANSWER_404));
	pass(p, 1800, 40, 60, ANSWER_404);
	cr_expect_neq(*says(p), '\0');
	pass(p, 6 * 3600, 40, 60, ANSWER_404);
	cr_expect_str_eq(says(p), "");
	free(p);
}

/* Days of a site: shares that wander, bursts, a night; nothing is said. */
Test(failing, ordinary_days)
{
	for (uint64_t seed = 0; seed < 5; seed++) {
		struct pool *p = fresh();
		rng_init(&p->rng, seed);
		double usual = 0.4 * chance(&p->rng), share = usual, rate = 0;
		for (unsigned s = 0; s < 2 * 24 * 3600; s++) {
			if (s % 60 == 0) { /* another minute, another share */
				share += 0.1 * (usual - share) + 0.15 * (chance(&p->rng) - 0.5);
				share = fmin(fmax(share, 0), 0.45);
				rate = (1 + sin(s / 13751.0)) * 20 * (0.5 + chance(&p->rng));
			}
			double n = floor(rate + chance(&p->rng)), bad = 0;
			for (int i = 0; i < (int)n; i++)
				bad += chance(&p->rng) < share;
			cr_assert_not(pass(p, 1, n - bad, bad, ANSWER_404),
				      "seed %u, second %u: %s", (unsigned)seed, s, says(p));
		}
		free(p);
	}
}

/* Whoever leaves takes his counts with him. */
Test(failing, fewer_than_before)
{
	struct pool *p = fresh();
	pass(p, 300, 90, 10, ANSWER_404);
	p->totals[ANSWER_1k] /= 2;
	p->totals[ANSWER_404] *= 3;
	cr_expect_not(pass(p, 1, 0, 0, ANSWER_404));
	p->totals[ANSWER_404] /= 3;
	cr_expect_not(pass(p, 60, 90, 10, ANSWER_404));
	free(p);
}

Test(failing, goes_over_to_the_next_process)
{
	struct pool *p = fresh(), *next = fresh();
	struct str bytes = STR_INIT;
	pass(p, 300, 100, 0, ANSWER_404);
	pass(p, 20, 0, 100, ANSWER_404);
	failing_pack(&p->f, &bytes);
	struct unpack in = unpack_of(str_as_view(&bytes));
	failing_unpack(&in, &next->f);
	cr_expect(!in.bad && in.left == 0);
	cr_expect_eq(strncmp(says(next), says(p), 20), 0, "%s", says(next));
	next->s = p->s;
	cr_expect(pass(next, 1, 0, 0, ANSWER_404), "its counters begin anew");
	cr_expect_not_null(strstr(says(next), " before: look at what "), "%s", says(next));
	for (size_t cut = 0; cut < bytes.len; cut++) {
		struct failing torn = {.on = false};
		in = unpack_of(view_of(bytes.ptr, cut));
		failing_unpack(&in, &torn);
		cr_assert(in.bad);
	}
	str_fini(&bytes);
	free(p);
	free(next);
}
