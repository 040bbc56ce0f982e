/* SPDX-License-Identifier: MIT */
/* Bad deploys of each kind under every strategy, and none at all for a hundred hours. */
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "deploy.h"
#include "weir/balance/strategy.h"
#include "weir/base/defs.h"

static const unsigned statuses[] = {400, 401,          403,          404,           410,
				    421, 429,          500,          501,           502,
				    503, DEPLOY_EMPTY, DEPLOY_SMALL, DEPLOY_RESETS, DEPLOY_UNASKED};

static const struct {
	const char *name;
	uint32_t clients;
	double rate;
} loads[] = {{"16 clients", 16, 0}, {"64 clients", 64, 0}, {"200/s", 0, 200}};

static const char *kind_of(unsigned status)
{
	static char text[12];
	snprintf(text, sizeof(text), "%u", status);
	return status == DEPLOY_EMPTY   ? "empty"
	       : status == DEPLOY_SMALL ? "small"
	       : status == DEPLOY_HTML  ? "HTML"
	       : status == DEPLOY_CODED ? "coded"
	       : status                 ? text
					: "reset";
}

/* ---- one row ---- */

/* At most 2 % of the answers after 5 s, named, and its share back within 2 s. */
static bool holds(const struct deployed *o)
{
	return o->share <= 0.02 && o->reason[0] && o->back_s >= 0 && o->back_s < 2;
}

/* Where one run fails more are asked, so that neither luck nor one lucky seed decides. */
#define DOUBT_RUNS 10
#define MAY_FAIL 0.2

struct row {
	struct deploy d; /* its seed is the first */
	const char *name, *load;
	unsigned runs;
};

/* The worst of its runs, each in its own way. */
static void keep_worst(struct deployed *worst, const struct deployed *o)
{
	bool never = worst->back_s < 0 || o->back_s < 0;
	worst->share = o->share > worst->share ? o->share : worst->share;
	worst->left_s = o->left_s > worst->left_s ? o->left_s : worst->left_s;
	worst->back_s = never ? -1 : o->back_s > worst->back_s ? o->back_s : worst->back_s;
	memcpy(worst->reason, o->reason, sizeof(worst->reason));
}

static bool check_row(const struct row *row, bool shown)
{
	struct deploy d = row->d;
	struct deployed worst = {.n = 0};
	unsigned n = 0, failed = 0, runs = row->runs;
	for (; n < runs; n++, d.seed++) {
		struct deployed o = deploy(&d);
		keep_worst(&worst, &o);
		failed += !holds(&o);
		runs = failed && runs < DOUBT_RUNS ? DOUBT_RUNS : runs;
	}
	bool good = failed <= MAY_FAIL * n;
	if (shown || !good)
		printf("%-14s %-6s %-10s %4.0f s %6.2f%% %7.2f s %7.2f s %2u of %u fail  %s\n",
		       row->name, kind_of(d.status), row->load, d.from_s, worst.share * 100,
		       worst.left_s, worst.back_s, failed, n, worst.reason);
	return expect(good, "share of runs that fail", row->name, (double)failed / n);
}

static bool check_strategy(const char *balance, bool weighted, bool all)
{
	bool good = true;
	for (size_t k = 0; k < ARRAY_LEN(statuses); k++)
		for (size_t l = 0; l < ARRAY_LEN(loads); l++) {
			/* in short one load each, by turns */
			if (!all && l != k % ARRAY_LEN(loads))
				continue;
			const struct row row = {.d = {.balance = balance,
						      .weighted = weighted,
						      .status = statuses[k],
						      .clients = loads[l].clients,
						      .rate = loads[l].rate,
						      .fails_us = 500,
						      .from_s = 3,
						      .until_s = 11,
						      .end_s = 14,
						      .seed = k + 1},
						.name = weighted ? "weighted" : balance,
						.load = loads[l].name,
						.runs = all ? 3 : 1};
			good &= check_row(&row, all);
		}
	return good;
}

static bool check_peace(const char *balance, enum deploy_clients who, double rate, double hours)
{
	static const char *const whos[] = {[DEPLOY_ANY] = "equal",
					   [DEPLOY_ROUTES] = "uneven routes",
					   [DEPLOY_KEYS] = "keys",
					   [DEPLOY_PINS] = "pins",
					   [DEPLOY_FAST] = "fast one"};
	struct deploy d = {.balance = balance,
			   .status = DEPLOY_NOTHING,
			   .who = who,
			   .rate = rate,
			   .end_s = hours * 3600,
			   .seed = 5};
	struct deployed o = deploy(&d);
	printf("%-14s %-14s %3.0f/s %6.1f hours, %9llu requests, false alarms: %u %s\n", balance,
	       whos[who], rate, hours, (unsigned long long)o.n, o.ejections, o.event);
	return expect(o.ejections == 0, "false alarms", balance, o.ejections);
}

/* Few requests: it takes some twenty bad answers, and time until they have come. */
static bool check_rare_one(unsigned status, double rate, unsigned seed, bool shown)
{
	struct deploy d = {.balance = "auto",
			   .status = status,
			   .rate = rate,
			   .fails_us = 500,
			   .from_s = 300,
			   .until_s = 300 + 600 / rate,
			   .seed = seed};
	d.end_s = d.until_s + 60 / rate; /* somebody asks once more */
	struct deployed o = deploy(&d);
	if (shown)
		printf("%-14s %-6s %7.1f/s left after %5.1f s  %s\n", d.balance, kind_of(status),
		       rate, o.left_s, o.reason);
	return expect(o.reason[0] != '\0', "named", kind_of(status), rate);
}

static bool check_rare(double rate, bool shown)
{
	bool good = true;
	for (unsigned k = 0; k < ARRAY_LEN(statuses); k++)
		good &= check_rare_one(statuses[k], rate, k + 1, shown);
	for (unsigned seed = 1; seed <= 5; seed++) {
		good &= check_rare_one(DEPLOY_HTML, rate, seed, shown);
		good &= check_rare_one(DEPLOY_CODED, rate, seed, shown);
	}
	return good;
}

/* All are deployed so, one after the other: nobody is left out for it. */
static bool check_together(void)
{
	struct deploy d = {.balance = "round-robin",
			   .status = 404,
			   .clients = 16,
			   .fails_us = 500,
			   .all = true,
			   .from_s = 3,
			   .until_s = 20,
			   .end_s = 20};
	struct deployed o = deploy(&d);
	printf("%-14s all within a second: ejected %u times; in the end: '%s'\n", d.balance,
	       o.ejections, o.reason);
	return expect(o.ejections <= 1 && !o.reason[0], "ejections", "all together", o.ejections);
}

/* Most answers are of a bad kind anyway: a bad deploy stands out all the same, and stays out. */
static bool check_many_refused(bool shown)
{
	const struct deploy d = {.balance = "auto",
				 .status = 404,
				 .who = DEPLOY_MANY,
				 .clients = 16,
				 .fails_us = 500,
				 .from_s = 3,
				 .until_s = 11,
				 .end_s = 14,
				 .seed = 1};
	struct deployed o = deploy(&d);
	if (shown)
		printf("%-14s %s\n", "many 401", o.reason);
	/* to tell that it is well again takes more tries than elsewhere */
	bool good = expect(o.share <= 0.02, "share of bad answers", "many 401", o.share);
	good &= expect(o.reason[0] != '\0', "named", "many 401", 0);
	return good;
}

/* At once, and otherwise, from its first answer on or in the midst of work: it does not draw what
 * the others are for. */
bool deploy_check_drawn(unsigned n_seeds, bool all)
{
	static const unsigned drawing[] = {DEPLOY_HTML, DEPLOY_CODED, DEPLOY_UNASKED, 404};
	static const struct {
		const char *name;
		uint32_t clients;
		double rate;
	} loads_of[] = {{"8 clients", 8, 0},
			{"16 clients", 16, 0},
			{"64 clients", 64, 0},
			{"200/s", 0, 200},
			{"1000/s", 0, 1000}};
	bool good = true;
	unsigned turn = 0;
	for (size_t s = 0; strategies[s]; s++)
		for (size_t k = 0; k < ARRAY_LEN(drawing); k++)
			for (size_t l = 0; l < 2 * ARRAY_LEN(loads_of); l++) {
				if (strategies[s]->needs & NEEDS_KEY)
					continue;
				const struct row row = {.d = {.balance = strategies[s]->keyword,
							      .status = drawing[k],
							      .clients = loads_of[l / 2].clients,
							      .rate = loads_of[l / 2].rate,
							      .fails_us = 200,
							      .from_s = l % 2 ? 3 : 0,
							      .until_s = 15,
							      .end_s = 18,
							      .seed = 1 + turn++},
							.name = strategies[s]->keyword,
							.load = loads_of[l / 2].name,
							.runs = n_seeds};
				good &= check_row(&row, all);
			}
	return good;
}

/* Rightly the fastest for long, and then of another type. */
static bool check_led(const char *balance, bool all)
{
	bool good = true;
	for (size_t l = 0; l < ARRAY_LEN(loads); l++) {
		const struct row row = {.d = {.balance = balance,
					      .status = DEPLOY_HTML,
					      .leads = true,
					      .clients = loads[l].clients,
					      .rate = loads[l].rate,
					      .fails_us = 500,
					      .from_s = 33,
					      .until_s = 42,
					      .end_s = 45,
					      .seed = l + 1},
					.name = balance,
					.load = loads[l].name,
					.runs = all ? 20 : 1};
		good &= check_row(&row, all);
	}
	return good;
}

/* Right every other time: three tries that pass in a row do not bring it back for good. */
static bool check_half(bool all)
{
	const struct row row = {.d = {.balance = "auto",
				      .status = DEPLOY_RESETS,
				      .half = true,
				      .rate = 200,
				      .fails_us = 500,
				      .from_s = 3,
				      .until_s = 11,
				      .end_s = 14,
				      .seed = 1},
				.name = "half of them",
				.load = "200/s",
				.runs = DOUBT_RUNS};
	return check_row(&row, all);
}

/* Two at a time, of which one may be left alone: the other has its part, and no more. */
static bool check_two(const char *balance, bool shown)
{
	bool good = true;
	for (size_t l = 0; l < ARRAY_LEN(loads); l++) {
		const struct deploy d = {.balance = balance,
					 .status = 404,
					 .two = true,
					 .clients = loads[l].clients,
					 .rate = loads[l].rate,
					 .fails_us = 500,
					 .from_s = 3,
					 .until_s = 20,
					 .end_s = 40,
					 .seed = l + 1};
		struct deployed o = deploy(&d);
		if (shown)
			printf("%-14s two 404 %-10s %6.2f%% %s\n", balance, loads[l].name,
			       o.share * 100, o.reason);
		good &= expect(o.share <= 1.0 / 3 + 0.02, "share of two", balance, o.share);
		good &= expect(o.reason[0] != '\0', "named", balance, 0);
		good &= expect(o.back_s >= 0, "back", balance, o.back_s);
	}
	return good;
}

bool deploy_check(bool all)
{
	bool good = check_together();
	good &= check_many_refused(all);
	printf("\n%-14s %-6s %-10s %6s %7s %9s %9s %s\n", "strategy", "answer", "load", "from",
	       "after 5 s", "left", "back", "runs; why");
	good &= deploy_check_drawn(all ? 5 : 1, all);
	good &= check_half(all);
	for (double rate = 2; rate <= 12; rate += 10)
		good &= check_rare(rate, all);
	double hours = all ? 15 : 0.2; /* a strategy: a hundred together */
	for (size_t s = 0; strategies[s]; s++) {
		if (strategies[s]->needs & NEEDS_KEY)
			continue;
		good &= check_strategy(strategies[s]->keyword, false, all);
		good &= check_led(strategies[s]->keyword, all);
		good &= check_two(strategies[s]->keyword, all);
	}
	good &= check_strategy("round-robin", true, all);
	for (size_t s = 0; strategies[s]; s++)
		for (double rate = 2; rate <= 30; rate += 28)
			good &= check_peace(strategies[s]->keyword,
					    strategies[s]->needs & NEEDS_KEY ? DEPLOY_KEYS
									     : DEPLOY_ROUTES,
					    rate, hours);
	good &= check_peace("auto", DEPLOY_PINS, 30, hours);
	for (double rate = 2; rate <= 30; rate += 14)
		good &= check_peace("auto", DEPLOY_FAST, rate, all ? 100 : hours);
	good &= check_peace("round-robin", DEPLOY_FAST, 30, hours);
	good &= check_peace("p2c", DEPLOY_FAST, 30, hours);
	return good;
}
