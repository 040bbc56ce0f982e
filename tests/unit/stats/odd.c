/* SPDX-License-Identifier: MIT */
/* The odd one out: power, false alarms, and what must not count. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../rounds.h"
#include "weir/base/rng.h"
#include "weir/stats/odd.h"

#define N_MAX 8

static struct odd_case cases[N_MAX];
static odd_counts counts[N_MAX];
static struct rng rng;

static double uniform(void)
{
	return (double)(rng_next(&rng) >> 11) / 9007199254740992.0;
}

static void begin(uint64_t seed)
{
	memset(cases, 0, sizeof(cases));
	memset(counts, 0, sizeof(counts));
	rng_init(&rng, seed);
}

/* Takes in what `counts` has. */
static void look(size_t n, double keep)
{
	struct odd_case came[sizeof(cases) / sizeof(cases[0])];
	memset(came, 0, sizeof(came));
	odd_fold(came, (const odd_counts *)counts, n);
	for (size_t i = 0; i < n; i++)
		odd_case_add(&cases[i], &came[i], keep);
	memset(counts, 0, sizeof(counts));
}

static void give(uint32_t i, unsigned stratum, enum answer_kind answer, uint32_t n)
{
	counts[i][stratum][answer] += n;
}

static bool is_odd(uint32_t i, size_t n, struct odd_finding *f)
{
	return odd_judge(&cases[i], n,
			 odd_is_ahead(cases[i].n, cases[i].others, 1.0 / (double)(n - 1)), f);
}

Test(odd, each_kind_of_failure_is_found_and_named)
{
	for (unsigned a = 0; a < N_ANSWERS; a++) {
		struct odd_finding f = {0};
		char text[ODD_TEXT], want[ODD_TEXT];
		begin(1);
		for (uint32_t i = 0; i < 4; i++)
			give(i, 3, i == 2 ? (enum answer_kind)a : ANSWER_full, 50);
		look(4, 1);
		bool small = a >= ANSWER_SMALL && a < ANSWER_empty;
		cr_assert_eq(is_odd(2, 4, &f), small || answer_is_bad((enum answer_kind)a), "%u",
			     a);
		for (uint32_t i = 0; i < 4; i++)
			cr_assert(i == 2 || !is_odd(i, 4, &f));
		if (!answer_is_bad((enum answer_kind)a))
			continue;
		is_odd(2, 4, &f);
		odd_say(&f, text);
		snprintf(want, sizeof(want), "%s to 100 %%, the others to 0 %%",
			 answer_text((enum answer_kind)a));
		cr_assert_str_eq(text, want);
	}
}

static bool small_is_odd(enum answer_kind own, enum answer_kind others, struct odd_finding *f)
{
	begin(1);
	for (uint32_t i = 0; i < 4; i++)
		give(i, 3, i == 2 ? own : others, 50);
	look(4, 1);
	return is_odd(2, 4, f);
}

Test(odd, bodies_that_are_sixteen_times_smaller_than_those_of_the_others)
{
	struct odd_finding f;
	char text[ODD_TEXT];
	for (unsigned own = 0; own < ANSWER_empty; own++)
		for (unsigned others = 0; others < ANSWER_empty; others++)
			cr_assert_eq(small_is_odd(own, others, &f), own > others + ANSWER_SMALLER,
				     "%u %u", own, others);
	cr_assert(small_is_odd(ANSWER_16, ANSWER_4k, &f));
	odd_say(&f, text);
	cr_assert_str_eq(text, "answers 2xx of less than 16 bytes to 100 %, the others to 0 %");
	cr_assert(odd_fails(f.answer) & ANSWER_BIT(ANSWER_16));
	cr_assert_not(odd_fails(f.answer) & ANSWER_BIT(ANSWER_4k));
	/* who answers where the others do not, or says it in fewer words, may be right */
	cr_assert_not(small_is_odd(ANSWER_16, ANSWER_404, &f));
	cr_assert_not(small_is_odd(ANSWER_16, ANSWER_empty, &f));
	cr_assert_not(small_is_odd(ANSWER_16, ANSWER_coded, &f));
	cr_assert_not(small_is_odd(ANSWER_coded, ANSWER_full, &f));
}

Test(odd, sizes)
{
	static const struct {
		uint64_t bytes;
		enum answer_kind is;
	} rows[] = {{0, ANSWER_empty},   {1, ANSWER_16},       {15, ANSWER_16},
		    {16, ANSWER_64},     {63, ANSWER_64},      {64, ANSWER_256},
		    {255, ANSWER_256},   {256, ANSWER_1k},     {1024, ANSWER_4k},
		    {4096, ANSWER_16k},  {16383, ANSWER_16k},  {16384, ANSWER_64k},
		    {65535, ANSWER_64k}, {65536, ANSWER_full}, {UINT64_MAX, ANSWER_full}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_assert_eq(answer_of_size(rows[i].bytes), rows[i].is, "%zu", i);
}

Test(odd, statuses)
{
	cr_assert_eq(answer_of(200), ANSWER_full);
	cr_assert_eq(answer_of(204), ANSWER_empty);
	cr_assert_eq(answer_of(304), ANSWER_full);
	cr_assert_eq(answer_of(302), ANSWER_3xx);
	cr_assert_eq(answer_of(421), ANSWER_421);
	cr_assert_eq(answer_of(418), ANSWER_4xx);
	cr_assert_eq(answer_of(504), ANSWER_5xx);
	cr_assert_eq(answer_of(501), ANSWER_5xx);
	cr_assert_eq(answer_of(507), ANSWER_5xx);
	static const struct {
		const char *code;
		uint8_t answer;
	} grpc[] = {
	    {"0", ANSWER_full}, {"1", ANSWER_NONE},  {"2", ANSWER_500},         {"3", ANSWER_400},
	    {"4", ANSWER_5xx},  {"5", ANSWER_404},   {"6", ANSWER_4xx},         {"7", ANSWER_403},
	    {"8", ANSWER_429},  {"9", ANSWER_400},   {"10", ANSWER_4xx},        {"11", ANSWER_400},
	    {"12", ANSWER_5xx}, {"13", ANSWER_500},  {"14", ANSWER_503},        {"15", ANSWER_500},
	    {"16", ANSWER_401}, {"17", ANSWER_500},  {"", ANSWER_500},          {"-1", ANSWER_500},
	    {"OK", ANSWER_500}, {"00", ANSWER_full}, {"4294967296", ANSWER_500}};
	for (size_t i = 0; i < ARRAY_LEN(grpc); i++)
		cr_assert_eq(answer_of_grpc(view_str(grpc[i].code)), grpc[i].answer, "%s",
			     grpc[i].code);
	unsigned nothing[] = {100, 103, 600, 999};
	for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
		cr_assert_eq(answer_of(nothing[i]), ANSWER_NONE, "%u", nothing[i]);
}

Test(odd, types)
{
	static const struct {
		const char *media;
		uint8_t is;
	} rows[] = {{"", ANSWER_TYPE_data},
		    {"text/html", ANSWER_TYPE_html},
		    {"TEXT/HTML; charset=utf-8", ANSWER_TYPE_html},
		    {"application/xhtml+xml", ANSWER_TYPE_html},
		    {"application/json", ANSWER_TYPE_json},
		    {"application/problem+json;charset=x", ANSWER_TYPE_json},
		    {"text/xml", ANSWER_TYPE_text},
		    {"application/xml", ANSWER_TYPE_text},
		    {"text/plain", ANSWER_TYPE_text},
		    {"text/javascript", ANSWER_TYPE_text},
		    {"application/javascript", ANSWER_TYPE_text},
		    {"image/svg+xml", ANSWER_TYPE_data},
		    {"application/octet-stream", ANSWER_TYPE_data},
		    {"application/notjson", ANSWER_TYPE_data},
		    {"nonsense", ANSWER_TYPE_data},
		    {"text/", ANSWER_TYPE_text},
		    {"/", ANSWER_TYPE_data},
		    {";", ANSWER_TYPE_data}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(answer_type(view_str(rows[i].media), false), rows[i].is, "%s",
			     rows[i].media);
	cr_expect_eq(answer_type(VIEW("text/html"), true), ANSWER_TYPE_coded_html);
	cr_expect_eq(answer_type(VIEW("application/json"), true), ANSWER_TYPE_coded_json);
	cr_expect_eq(answer_type(VIEW("text/css"), true), ANSWER_TYPE_coded);
}

static void give_typed(uint32_t i, unsigned stratum, unsigned type, uint32_t n)
{
	give(i, stratum, ANSWER_1k, n);
	counts[i][stratum][type] += n;
}

/* Looks in which the first of n has drawn nearly all requests. */
static void drawn_by_first(uint32_t n, unsigned own, unsigned others, unsigned looks)
{
	begin(1);
	for (unsigned l = 0; l < looks; l++) {
		give_typed(0, 3, own, 5000);
		for (uint32_t i = 1; i < n; i++)
			give_typed(i, 3, others, 2);
		look(n, 0.9);
	}
}

Test(odd, who_draws_the_requests_of_the_others_and_gives_another_type)
{
	struct odd_finding f;
	char text[ODD_TEXT];
	for (unsigned own = N_ANSWERS; own < N_ANSWER_COLUMNS; own++)
		for (unsigned others = N_ANSWERS; others < N_ANSWER_COLUMNS; others++) {
			drawn_by_first(4, own, others, 10);
			cr_assert_eq(is_odd(0, 4, &f), own != others, "%u %u", own, others);
			for (uint32_t i = 1; i < 4; i++)
				cr_assert_not(is_odd(i, 4, &f), "the many are right");
		}
	drawn_by_first(4, ANSWER_TYPE_html, ANSWER_TYPE_json, 10);
	cr_assert(is_odd(0, 4, &f));
	odd_say(&f, text);
	cr_assert_str_eq(text, "answers 2xx of HTML to 100 %, the others to 0 %");
	cr_assert(odd_fails(f.answer) & ANSWER_BIT(ANSWER_TYPE_html));
	cr_assert(odd_fails(f.answer) & ANSWER_BIT(ANSWER_404));
	cr_assert_not(odd_fails(f.answer) & ANSWER_BIT(ANSWER_TYPE_json));
	/* of two nobody can tell which is right */
	drawn_by_first(2, ANSWER_TYPE_html, ANSWER_TYPE_json, 10);
	cr_assert_not(is_odd(0, 2, &f) || is_odd(1, 2, &f));
}

Test(odd, another_type_at_its_fair_share_of_requests_is_a_new_version)
{
	struct odd_finding f;
	begin(1);
	for (uint32_t i = 0; i < 4; i++)
		give_typed(i, 3, i ? ANSWER_TYPE_json : ANSWER_TYPE_html, 1000);
	look(4, 1);
	cr_assert_not(is_odd(0, 4, &f));
}

Test(odd, a_type_where_the_others_fail_may_be_the_only_one_that_is_right)
{
	struct odd_finding f;
	begin(1);
	give_typed(0, 3, ANSWER_TYPE_html, 5000);
	for (uint32_t i = 1; i < 4; i++)
		give(i, 3, ANSWER_404, 20);
	look(4, 1);
	cr_assert_not(is_odd(0, 4, &f));
}

/* Clients that accept one or the other, and one backend that is rightly the fastest. */
Test(odd, types_that_clients_choose)
{
	struct odd_finding f;
	begin(7);
	for (unsigned l = 0; l < ROUNDS(20000, 2000); l++) {
		for (uint32_t i = 0; i < 4; i++)
			for (unsigned k = i ? rng_next(&rng) % 3 : 200; k > 0; k--) {
				unsigned s = rng_next(&rng) % ODD_STRATA;
				bool html = uniform() < s / 15.0;
				give_typed(i, s, html ? ANSWER_TYPE_html : ANSWER_TYPE_json, 1);
			}
		look(4, 0.95);
		for (uint32_t i = 0; i < 4; i++)
			cr_assert_not(is_odd(i, 4, &f), "%u %u", l, i);
	}
}

Test(odd, ahead)
{
	cr_assert(odd_is_ahead(1000, 10, 1.0 / 3));
	cr_assert(odd_is_ahead(16, 0, 0.5));
	cr_assert_not(odd_is_ahead(15, 0, 0.5), "too few");
	cr_assert_not(odd_is_ahead(100, 300, 1.0 / 3), "as all");
	cr_assert(odd_is_ahead(300, 300, 1.0 / 3));
	cr_assert_not(odd_is_ahead(300, 200, 3.0 / 2), "it has three times the weight of each");
	cr_assert(odd_is_ahead(300, 200, 1.0 / 2));
}

/* Any number of answers on either side, any share elsewhere: found as soon as it can be. */
Test(odd, power)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct odd_finding f;
		unsigned looks = 0;
		begin(seed);
		do {
			for (unsigned k = 0; k < 100; k++) {
				uint32_t i = rng_below(&rng, 4);
				bool bad = uniform() < (i == 0 ? 0.98 : 0.1);
				give(i, rng_below(&rng, ODD_STRATA), bad ? ANSWER_404 : ANSWER_full,
				     1);
			}
			look(4, 0.9);
		} while (!is_odd(0, 4, &f) && ++looks < 20);
		cr_assert_lt(looks, 4, "seed %llu", (unsigned long long)seed);
		cr_assert_eq(f.answer, ANSWER_404);
		cr_assert(fabs(f.share - 0.98) < 0.1 && fabs(f.others - 0.1) < 0.1, "%g %g",
			  f.share, f.others);
	}
}

/* Equal backends, uneven strata and a mix that swings: looked at a hundred thousand times. */
Test(odd, no_false_alarm)
{
	begin(7);
	for (unsigned l = 0; l < ROUNDS(30000, 3000); l++) {
		double swing = 0.5 + 0.5 * sin(l / 50.0);
		unsigned n = 1 + rng_below(&rng, 200);
		for (unsigned k = 0; k < n; k++) {
			unsigned s = rng_below(&rng, ODD_STRATA);
			double bad = swing * (double)s / ODD_STRATA;
			/* one backend has ten times the requests */
			uint32_t i = rng_below(&rng, 13);
			give(i < 4 ? i : 0, s, uniform() < bad ? ANSWER_401 : ANSWER_full, 1);
		}
		look(4, l % 3 ? 0.78 : 0.975);
		for (uint32_t i = 0; i < 4; i++) {
			struct odd_finding f;
			cr_assert(!is_odd(i, 4, &f), "look %u", l);
		}
	}
}

Test(odd, what_differs_by_what_is_asked_is_nobodys_fault)
{
	struct odd_finding f;
	begin(1);
	/* all of what is refused went to one backend, none of it elsewhere */
	give(0, 1, ANSWER_404, 500);
	for (uint32_t i = 0; i < 4; i++)
		give(i, 2, ANSWER_full, 500);
	look(4, 1);
	cr_assert(!is_odd(0, 4, &f));
	/* most of it did, and it was refused elsewhere as well */
	give(0, 1, ANSWER_404, 500);
	give(1, 1, ANSWER_404, 20);
	look(4, 1);
	cr_assert(!is_odd(0, 4, &f));
}

Test(odd, all_change_together)
{
	struct odd_finding f;
	begin(1);
	for (unsigned l = 0; l < 40; l++) {
		for (uint32_t i = 0; i < 4; i++)
			give(i, 0, l < 20 ? ANSWER_full : ANSWER_500, 1 + 50 * i);
		look(4, 0.9);
		for (uint32_t i = 0; i < 4; i++)
			cr_assert(!is_odd(i, 4, &f), "look %u", l);
	}
}

/* The first gives this, the three others that: none of them is odd. */
static void expect_none_odd(enum answer_kind first, enum answer_kind others)
{
	struct odd_finding f;
	begin(1);
	for (uint32_t i = 0; i < 4; i++)
		give(i, 0, i ? others : first, 500);
	look(4, 1);
	for (uint32_t i = 0; i < 4; i++)
		cr_assert(!is_odd(i, 4, &f), "%u", i);
}

/* The first with a new path is right and the old ones are not. */
Test(odd, the_only_one_that_works_is_left_in_peace)
{
	expect_none_odd(ANSWER_full, ANSWER_404);
}

/* 410 in place of 404 is another answer, not a worse one. */
Test(odd, another_kind_that_is_as_bad)
{
	expect_none_odd(ANSWER_410, ANSWER_404);
}

/* A pool most of whose requests are refused: its broken backend is still found. */
Test(odd, a_bad_one_where_refusals_are_usual)
{
	struct odd_finding f;
	begin(1);
	for (uint32_t i = 0; i < 4; i++) {
		give(i, 0, i ? ANSWER_401 : ANSWER_500, 300);
		give(i, 0, i ? ANSWER_full : ANSWER_500, 200);
	}
	look(4, 1);
	cr_assert(is_odd(0, 4, &f));
	cr_assert_eq(f.answer, ANSWER_500);
}

Test(odd, a_mixture)
{
	struct odd_finding f;
	char text[ODD_TEXT];
	begin(1);
	for (uint32_t i = 0; i < 4; i++) {
		give(i, 0, i ? ANSWER_full : ANSWER_500, 100);
		give(i, 0, i ? ANSWER_full : ANSWER_404, 100);
		give(i, 0, i ? ANSWER_full : ANSWER_lost, 100);
	}
	look(4, 1);
	cr_assert(is_odd(0, 4, &f));
	odd_say(&f, text);
	cr_assert_str_eq(text, "fails or refuses to 100 %, the others to 0 %");
}

/* Few answers on one side are few, however many there are on the other. */
Test(odd, small_numbers)
{
	struct odd_finding f;
	begin(1);
	give(0, 0, ANSWER_500, 2);
	give(0, 0, ANSWER_full, 8);
	give(1, 0, ANSWER_500, 1);
	give(1, 0, ANSWER_full, 1000);
	look(2, 1);
	cr_assert(!is_odd(0, 2, &f));
	begin(1);
	give(0, 0, ANSWER_500, 100000);
	give(1, 0, ANSWER_full, 9);
	look(2, 1);
	cr_assert(!is_odd(0, 2, &f));
}

static bool suspect(double n, double bad, double others, double others_bad)
{
	const struct odd_recent own = {.n = n, .bad = bad};
	const struct odd_recent other = {.n = others, .bad = others_bad};
	struct odd_recent all = {.n = 0};
	odd_add_voice(&all, &own);
	odd_add_voice(&all, &other);
	return odd_is_suspect(&own, &all);
}

Test(odd, a_suspicion_is_cheap_but_not_groundless)
{
	cr_assert(suspect(5, 5, 15, 0));
	cr_assert(suspect(100, 40, 300, 30));
	cr_assert(!suspect(3, 3, 1000, 0), "too few");
	cr_assert(!suspect(1000, 1000, 3, 0), "too few others");
	cr_assert(!suspect(100, 100, 300, 300), "all alike");
	cr_assert(!suspect(1000, 60, 3000, 30), "clear, but nothing that matters");
	cr_assert(!suspect(10, 3, 300, 60), "noise");
	cr_assert(!suspect(100, 0, 300, 300), "the others are bad");
}

/* What a backend with `is` bad answers needs to come back; 0: it does not in `most` tries. */
static unsigned tries(double is, double was, double others, unsigned times, unsigned most)
{
	struct odd_trial trial = {0};
	for (unsigned n = 1; n <= most; n++)
		if (odd_trial_note(&trial, uniform() < is, was, others, times))
			return n;
	return 0;
}

Test(odd, the_way_back)
{
	begin(3);
	cr_assert_eq(tries(0, 1, 0, 1, 100), 3);
	cr_assert_eq(tries(0, 1, 0, 2, 100), 5);
	cr_assert_eq(tries(1, 1, 0, 1, 1000), 0);
	/* one that is right once in fifty times: eight hours of a try a second */
	unsigned back = 0;
	for (unsigned k = 0; k < 100; k++)
		back += tries(0.98, 0.98, 0.001, 1, 300) > 0;
	cr_assert_lt(back, 5, "%u", back);
	/* others refuse three in ten: so may it */
	unsigned sum = 0;
	for (unsigned k = 0; k < 100; k++) {
		unsigned n = tries(0.3, 1, 0.3, 1, 100);
		cr_assert_neq(n, 0);
		sum += n;
	}
	cr_assert_lt(sum, 1000, "%u", sum);
	/* it failed one in three: three good answers prove nothing */
	cr_assert_gt(tries(0, 0.33, 0, 1, 100), 10);
}

/* Two that fail fast have nearly all answers between them: each is far from most of the others. */
Test(odd, two_that_draw_nearly_all_do_not_hide_each_other)
{
	struct odd_finding f;
	begin(1);
	for (unsigned s = 0; s < ODD_STRATA; s++) {
		give(0, s, ANSWER_full, 8);
		give(1, s, ANSWER_full, 8);
		give(2, s, ANSWER_404, 400);
		give(3, s, ANSWER_404, 400);
	}
	look(4, 1);
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(is_odd(i, 4, &f), i >= 2, "%u", i);
	cr_assert(is_odd(3, 4, &f));
	cr_assert_float_eq(f.others, 1.0 / 3, 0.01);
}

Test(odd, two_that_draw_nearly_all_are_suspected)
{
	const struct odd_recent good = {.n = 10}, bad = {.n = 1000, .bad = 1000};
	struct odd_recent all = {.n = 0};
	odd_add_voice(&all, &good);
	odd_add_voice(&all, &good);
	odd_add_voice(&all, &bad);
	odd_add_voice(&all, &bad);
	cr_assert(odd_is_suspect(&bad, &all));
	cr_assert_not(odd_is_suspect(&good, &all));
}
