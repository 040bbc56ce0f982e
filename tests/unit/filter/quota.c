/* SPDX-License-Identifier: MIT */
/*
 * Shared rate limits in a simulated world: nodes with counts of their own, a server
 * that adds up as the script of cluster/limits.c does, load that is steady, bursty, uneven
 * or wanders, and a server that is away for a while.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "filter/quotas.h"
#include "weir/base/defs.h"
#include "weir/base/rng.h"

#define NODES 3
#define MS 1000.0
#define START 900000000.0 /* us */

struct server {
	bool has;
	double g, e, at; /* us */
};

static struct quota_answer server_take(struct server *s, const struct quota_report *r, double now)
{
	double g = now - r->lag_us, e;
	if (s->has) {
		g = fmax(g, s->g - r->lease_us);
		e = s->e * exp(fmin(0, s->at - now) / QUOTA_MEMORY_US) + r->demand;
	} else {
		if (r->ahead_us > 0)
			g = now + r->ahead_us;
		e = r->all_us;
	}
	if (r->begins_anew)
		g = fmax(g, now + r->ahead_us);
	g = fmin(g + r->used_us, now + r->most_us);
	double lease = 0, part = fmin(r->all_us / e, r->most_part);
	if (r->demand > 0)
		lease =
		    r->left_us + part * (fmin(r->burst_us - (g - now), r->burst_us) - r->left_us);
	if (lease > part * r->burst_us)
		lease = fmax(part * r->burst_us, fmin(r->left_us, r->one_us));
	lease = floor(lease);
	*s = (struct server){true, g + lease, e, now};
	return (struct quota_answer){floor(g - now), e, lease};
}

enum trouble { NONE, AWAY, FLUSHED };

struct world {
	unsigned seed;
	double rate, burst; /* of the limit */
	double load[NODES]; /* requests a second at each node */
	double on_s, off_s; /* bursts; off_s 0: steady */
	double apart_s;     /* those of a node begin so much later than those of the one before */
	double wander_s;    /* the load moves from node to node, if not 0 */
	double seconds;
	enum trouble trouble;
	double late_ms; /* a node tells and hears so much late at most, by chance */
};

/* One count for all, which knows of everything at once: what is right. */
struct ideal {
	double tat, taken;
};

static void ideal_take(struct ideal *ideal, const struct world *w, double now)
{
	double interval = 1e6 / w->rate, tat = fmax(ideal->tat, now);
	if (tat + interval > now + w->burst * interval + 1e-6)
		return;
	ideal->tat = tat + interval;
	ideal->taken++;
}

static double load_at(const struct world *w, int node, double s)
{
	if (w->off_s > 0 &&
	    fmod(s + 100 * (w->on_s + w->off_s) - node * w->apart_s, w->on_s + w->off_s) >= w->on_s)
		return 0;
	if (w->wander_s > 0)
		return (int)(s / w->wander_s) % NODES == node ? w->load[0] : w->load[0] / 50;
	return w->load[node];
}

struct sums {
	double taken, ideal, of[NODES];
	/* in requests, when a burst ends: what nodes hold, parts and whole ones, what nobody has,
	 * and what one count for all still has; sums over bursts */
	double parts, whole, nobody, kept;
	unsigned n_bursts;
};

/* A node's talk with the server; an answer may be under way for a while. */
struct talk {
	double next, answer_at; /* answer_at 0: nothing is under way */
	struct quota_report report;
	struct quota_answer answer;
	bool woken;
};

static double late_us(const struct world *w, struct rng *rng)
{
	return w->late_ms > 0 ? rng_below(rng, (uint32_t)w->late_ms * 1000) : 0;
}

static void hear(struct talk *talk, double now)
{
	if (talk->answer_at <= 0 || now < talk->answer_at)
		return;
	quota_answer(&talk->report, &talk->answer, (uint64_t)now);
	talk->answer_at = 0;
}

static void tell(struct talk *talk, struct server *server, struct quota *quota,
		 const struct world *w, struct rng *rng, double now)
{
	if (now < talk->next || talk->answer_at > 0)
		return;
	talk->next = now + 16 * MS + rng_below(rng, 8000) + late_us(w, rng);
	talk->woken = false;
	if (!quota || !quota_collect_one(quota, &talk->report, (uint64_t)now))
		return;
	talk->answer = server_take(server, &talk->report, now);
	talk->answer_at = now + 1 + late_us(w, rng);
	if (w->late_ms <= 0)
		hear(talk, talk->answer_at);
}

/* Who was silent tells at once that it is not. */
static void wake(struct talk *talk, const struct quota *quota, double now)
{
	if (!quota_is_awake(quota) && !talk->woken)
		talk->next = fmin(talk->next, now + 1 * MS);
	talk->woken = true;
}

static double held(const struct world *w, uint64_t key, double now)
{
	const struct quota *quota = quota_find(key);
	double interval = 1e6 / w->rate, part = (double)quota_part(quota) / QUOTA_WHOLE;
	if (!quota || !quota_is_awake(quota))
		return 0;
	double most = fmax(w->burst * interval, interval / part);
	double ahead = (double)gcra_ahead(key, (uint64_t)now) / GCRA_UNITS_PER_US;
	return fmax(0, (most - ahead) * part / interval);
}

static void count_left(struct sums *sums, const struct world *w, const struct server *server,
		       const struct ideal *ideal, const uint64_t keys[NODES], double now)
{
	double s = (now - START) / 1e6, interval = 1e6 / w->rate, burst = w->burst * interval;
	if (w->off_s <= 0 || fabs(fmod(s, w->on_s + w->off_s) - w->on_s) > 0.0002)
		return;
	for (int i = 0; i < NODES; i++) {
		double n = held(w, keys[i], now);
		sums->whole += floor(n);
		sums->parts += n - floor(n);
	}
	sums->nobody += fmin(burst, burst - (server->g - now)) / interval;
	sums->kept += (burst - fmax(0, ideal->tat - now)) / interval;
	sums->n_bursts++;
}

/* A step is half a millisecond; requests come by chance. */
static struct sums run(const struct world *w)
{
	static unsigned n_worlds;
	struct rng rng;
	struct server server = {.has = false};
	struct ideal ideal = {0};
	struct sums sums = {0};
	uint64_t interval = (uint64_t)(8e6 / w->rate), keys[NODES];
	const struct gcra_limit limit = {interval, (uint64_t)(w->burst * (double)interval)};
	struct talk talks[NODES] = {0};
	cr_assert(gcra_table_ready(1000) && quota_table_ready());
	rng_init(&rng, w->seed);
	quota_set_nodes(NODES);
	quota_together();
	for (int i = 0; i < NODES; i++) {
		uint64_t name[2] = {++n_worlds, (uint64_t)i};
		keys[i] = gcra_hash(name, sizeof(name));
		talks[i].next = START + rng_below(&rng, 100000);
	}
	for (double now = START; now < START + w->seconds * 1e6; now += 500) {
		double s = (now - START) / 1e6;
		bool away = w->trouble == AWAY && s > w->seconds / 3 && s < w->seconds * 2 / 3;
		if (w->trouble == FLUSHED && fabs(fmod(s, 13) - 12.9) < 0.0002)
			server.has = false;
		count_left(&sums, w, &server, &ideal, keys, now);
		for (int i = 0; i < NODES; i++) {
			double expected = load_at(w, i, s) * 0.0005;
			uint32_t n = (uint32_t)expected;
			n += rng_below(&rng, 1000000) < (expected - n) * 1e6;
			while (n--) {
				struct gcra_result result;
				struct quota *quota = quota_find(keys[i]);
				quota = quota ? quota : quota_claim(keys[i], keys[i], &limit);
				struct gcra_limit mine = quota_limit(&limit, quota_part(quota));
				bool taken = gcra_take(keys[i], &mine, (uint64_t)now, &result);
				quota_note(quota, taken, (uint64_t)now);
				wake(&talks[i], quota, now);
				sums.taken += taken;
				sums.of[i] += taken;
				ideal_take(&ideal, w, now);
			}
		}
		for (int i = 0; i < NODES; i++) {
			struct quota *quota = quota_find(keys[i]);
			hear(&talks[i], now);
			if (!away) {
				quota_together();
				tell(&talks[i], &server, quota, w, &rng, now);
			} else if (now >= talks[i].next) {
				talks[i].next = now + 80 * MS + rng_below(&rng, 40000);
				quota_alone(NODES, (uint64_t)now);
			}
		}
	}
	sums.ideal = ideal.taken;
	return sums;
}

static const struct world worlds[] = {
    {1, 100, 100, {200, 200, 200}, 0, 0, 0, 0, 20, NONE, 0},
    {2, 100, 100, {1000, 20, 20}, 0, 0, 0, 0, 20, NONE, 0},
    {3, 100, 100, {500, 0, 0}, 0, 0, 0, 0, 20, NONE, 0},
    {4, 100, 20, {300, 100, 10}, 0, 0, 0, 0, 20, NONE, 0},
    {5, 1000, 1000, {2000, 500, 100}, 0, 0, 0, 0, 20, NONE, 0},
    {6, 100, 200, {400, 400, 400}, 2, 2, 0, 0, 40, NONE, 0},
    {7, 100, 100, {900, 100, 300}, 1, 3, 0, 0, 40, NONE, 0},
    {8, 100, 100, {600, 0, 0}, 0, 0, 0, 1.5, 30, NONE, 0},
    {9, 500, 100, {700, 300, 200}, 0, 0, 0, 0, 20, NONE, 0},
    {10, 100, 100, {300, 300, 300}, 0, 0, 0, 0, 40, FLUSHED, 0},
    {14, 100, 10, {200, 200, 200}, 0, 0, 0, 0, 40, NONE, 0},
    {15, 100, 3, {200, 200, 200}, 0, 0, 0, 0, 40, NONE, 0},
    {16, 1000, 100, {1000, 500, 100}, 0, 0, 0, 0, 20, NONE, 0},
    {17, 1000, 10, {1000, 500, 100}, 0, 0, 0, 0, 20, NONE, 0},
    {18, 100, 10, {200, 200, 200}, 0.2, 0.8, 0, 0, 40, NONE, 0},
};

/* The world's sums; what was taken of the ideal is between these. */
static struct sums expect_sum(const struct world *w, double least, double most)
{
	struct sums sums = run(w);
	double of_all = sums.taken / sums.ideal;
	cr_expect(of_all > least && of_all < most, "world %u: %.0f taken of %.0f, %.3f", w->seed,
		  sums.taken, sums.ideal, of_all);
	return sums;
}

Test(quota, the_sum_is_the_limit)
{
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++)
		expect_sum(&worlds[i], 0.98, 1.02);
}

/* At all nodes at once, at one after the other with and without pauses, at one, unlike. */
static const struct world bursts[] = {
    {31, 100, 100, {200, 200, 200}, 0.2, 0.8, 0, 0, 40, NONE, 0},
    {32, 100, 100, {600, 600, 600}, 0.2, 0.8, 0, 0, 40, NONE, 0},
    {33, 100, 100, {600, 600, 600}, 0.2, 0.8, 0.2, 0, 40, NONE, 0},
    {34, 100, 100, {600, 600, 600}, 0.2, 0.8, 0.33, 0, 40, NONE, 0},
    {35, 100, 100, {600, 100, 20}, 0.2, 0.8, 0, 0, 40, NONE, 0},
    {36, 100, 100, {900, 0, 0}, 0.2, 0.8, 0, 0, 40, NONE, 0},
    {37, 100, 200, {900, 900, 900}, 0.2, 2.8, 0, 0, 60, NONE, 0},
    {38, 100, 200, {900, 900, 900}, 0.2, 2.8, 0.2, 0, 60, NONE, 0},
    {39, 100, 200, {900, 900, 900}, 0.2, 2.8, 1, 0, 60, NONE, 0},
    {40, 1000, 1000, {5000, 5000, 5000}, 0.2, 0.8, 0, 0, 20, NONE, 0},
    {41, 1000, 1000, {5000, 5000, 5000}, 0.2, 0.8, 0.2, 0, 20, NONE, 0},
    {42, 100, 100, {900, 900, 900}, 0.05, 0.95, 0, 0, 40, NONE, 0},
};

Test(quota, of_bursts_as_well)
{
	for (size_t i = 0; i < ARRAY_LEN(bursts); i++)
		expect_sum(&bursts[i], 0.98, 1.02);
}

/* Where nodes are asked unlike often, and the pause fills the bucket whatever was left: what those
 * that are asked seldom were lent has not met a request when the burst ends. */
Test(quota, of_uneven_bursts_a_little_is_left)
{
	static const struct world uneven[] = {
	    {61, 100, 50, {400, 60, 15}, 0.2, 0.8, 0, 0, 40, NONE, 0},
	    {62, 100, 50, {400, 60, 15}, 0.2, 0.8, 0, 0, 40, NONE, 0},
	    {63, 100, 50, {400, 60, 15}, 0.2, 0.8, 0, 0, 40, NONE, 0},
	    {64, 100, 50, {400, 60, 15}, 0.2, 0.8, 0, 0, 40, NONE, 0},
	    {65, 1000, 500, {4000, 600, 150}, 0.2, 0.8, 0, 0, 40, NONE, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(uneven); i++) {
		struct sums sums = expect_sum(&uneven[i], 0.97, 1.01);
		double n = sums.n_bursts;
		double left = sums.parts + sums.whole + sums.nobody - sums.kept;
		cr_expect(sums.ideal - sums.taken < left,
			  "world %u: %.2f are missing a burst, and %.2f left", uneven[i].seed,
			  (sums.ideal - sums.taken) / n, left / n);
		cr_expect(sums.whole > 0.5 * sums.parts, "world %u: whole ones %.2f, parts %.2f",
			  uneven[i].seed, sums.whole / n, sums.parts / n);
	}
}

/*
 * A node that wakes has an eighth of its fair part, or eight requests, before it hears what the
 * others did, and its fair part of what is left before it has heard of all of them: all nodes
 * 1 - (1 - 1/n)^n of it, which is never under 63 %, one of them 1/n.
 */
Test(quota, what_is_over_before_the_nodes_have_heard)
{
	static const struct {
		struct world w;
		double least, most; /* of what one count lets through */
	} shorts[] = {
	    {{51, 100, 100, {3000, 3000, 3000}, 0.05, 1.95, 0.05, 0, 40, NONE, 0}, 1.02, 1.07},
	    {{52, 100, 100, {3000, 3000, 3000}, 0.05, 1.95, 0.5, 0, 40, NONE, 0}, 0.94, 0.99},
	    {{53, 100, 100, {30000, 30000, 30000}, 0.01, 1.99, 0, 0, 40, NONE, 0}, 0.79, 0.83},
	    {{54, 100, 100, {30000, 0, 0}, 0.01, 1.99, 0, 0, 40, NONE, 0}, 0.37, 0.40},
	    {{55, 100, 10, {200, 200, 200}, 0.2, 0.8, 0.33, 0, 40, NONE, 0}, 0.88, 0.92},
	    {{56, 100, 1000, {99000, 99000, 99000}, 0.01, 14.99, 0, 0, 90, NONE, 0}, 0.74, 0.78},
	    {{57, 100, 1000, {99000, 0, 0}, 0.01, 14.99, 0, 0, 90, NONE, 0}, 0.35, 0.38},
	    {{58, 100, 1000, {99000, 99000, 99000}, 0.03, 14.97, 0, 0, 90, NONE, 0}, 0.98, 1.01},
	    {{59, 100, 1000, {99000, 0, 0}, 0.03, 14.97, 0, 0, 90, NONE, 0}, 0.98, 1.01},
	};
	for (size_t i = 0; i < ARRAY_LEN(shorts); i++)
		expect_sum(&shorts[i].w, shorts[i].least, shorts[i].most);
}

/* What is off is what one has not heard of yet: it does not grow, also where bursts begin at all
 * nodes at once. */
Test(quota, who_tells_and_hears_late_is_off_by_that)
{
	static const double seconds[] = {6, 20, 80};
	static const struct world lates[] = {
	    {21, 100, 50, {150, 150, 150}, 0, 0, 0, 0, 0, NONE, 390},
	    {22, 100, 50, {300, 60, 15}, 0, 0, 0, 0, 0, NONE, 390},
	    {23, 200, 100, {400, 60, 30}, 0, 0, 0, 0, 0, NONE, 390},
	    {24, 100, 100, {900, 100, 300}, 1, 3, 0, 0, 0, NONE, 390},
	    {25, 100, 100, {600, 0, 0}, 0, 0, 0, 1.5, 0, NONE, 390},
	};
	for (size_t i = 0; i < ARRAY_LEN(lates); i++)
		for (size_t k = 0; k < ARRAY_LEN(seconds); k++) {
			struct world w = lates[i];
			w.seconds = seconds[k];
			struct sums sums = run(&w);
			double off = fabs(sums.taken - sums.ideal);
			cr_expect(off < fmax(0.5 * w.rate, 0.05 * sums.ideal),
				  "world %u, %.0f s: %.0f taken of %.0f", w.seed, w.seconds,
				  sums.taken, sums.ideal);
		}
}

Test(quota, below_the_limit_nobody_is_refused)
{
	const struct world w = {11, 100, 100, {30, 30, 20}, 0, 0, 0, 0, 30, NONE, 0};
	struct sums sums = run(&w);
	cr_expect(sums.taken >= sums.ideal * 0.998, "%.0f of %.0f", sums.taken, sums.ideal);
}

Test(quota, alone_each_keeps_a_fair_part)
{
	const struct world w = {12, 90, 90, {400, 400, 400}, 0, 0, 0, 0, 30, AWAY, 0};
	struct sums sums = run(&w);
	double off = sums.taken / sums.ideal - 1;
	cr_expect(fabs(off) < 0.04, "%.0f taken of %.0f, %+.2f %%", sums.taken, sums.ideal,
		  100 * off);
	for (int i = 0; i < NODES; i++)
		cr_expect(fabs(sums.of[i] * 3 / sums.taken - 1) < 0.2, "node %d: %.0f of %.0f", i,
			  sums.of[i], sums.taken);
}

/* The connection broke, and the server counts what it has lent as used. */
Test(quota, what_was_lent_is_given_back_after_a_time_alone)
{
	static const bool used_alone[] = {false, true};
	const struct gcra_limit limit = {8000000, 60 * UINT64_C(8000000)};
	struct gcra_result result;
	cr_assert(gcra_table_ready(1000) && quota_table_ready());
	quota_set_nodes(1);
	quota_together();
	for (size_t i = 0; i < ARRAY_LEN(used_alone); i++) {
		uint64_t key = gcra_hash(&i, sizeof(i)), now = (uint64_t)START;
		struct server server = {.has = false};
		struct quota_report report;
		struct quota_answer answer;
		struct quota *quota = quota_claim(key, key, &limit);
		quota_note(quota, gcra_take(key, &limit, now, &result), now);
		cr_assert(quota_collect_one(quota, &report, now + 1000));
		answer = server_take(&server, &report, (double)now + 1000);
		cr_assert_gt(answer.lease_us, 50e6);
		quota_answer(&report, &answer, now + 1001);
		for (unsigned ms = 20; ms < 90; ms += 20) {
			if (used_alone[i])
				quota_note(quota, gcra_take(key, &limit, now + ms * 1000, &result),
					   now + ms * 1000);
			quota_alone(1, now + ms * 1000);
		}
		quota_together();
		now += 95000;
		quota_note(quota, gcra_take(key, &limit, now, &result), now);
		cr_assert(quota_collect_one(quota, &report, now));
		answer = server_take(&server, &report, (double)now);
		cr_expect_gt(answer.lease_us, 50e6, "%.0f us are lent", answer.lease_us);
	}
}

/* How many others there are is what a server says. */
Test(quota, a_part_is_never_nothing)
{
	static const unsigned nodes[] = {0, 1, 256, 8192, 10000, 65536, 100000, 4000000000};
	const struct gcra_limit limit = {8, 8 * UINT64_C(1000000000)};
	cr_assert(gcra_table_ready(1000) && quota_table_ready());
	quota_together();
	struct quota *quota = quota_claim(gcra_hash("a", 1), 7, &limit);
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
		quota_set_nodes(nodes[i]);
		cr_expect_gt(quota_part(NULL), 0, "%u nodes", nodes[i]);
		cr_expect_gt(quota_part(quota), 0, "%u nodes", nodes[i]);
	}
}

Test(quota, unlike_demand_gets_unlike_parts)
{
	const struct world w = {13, 100, 100, {800, 100, 100}, 0, 0, 0, 0, 30, NONE, 0};
	struct sums sums = run(&w);
	cr_expect(sums.of[0] > 0.7 * sums.taken && sums.of[0] < 0.9 * sums.taken, "%.0f of %.0f",
		  sums.of[0], sums.taken);
	cr_expect(fabs(sums.of[1] - sums.of[2]) < 0.05 * sums.taken);
}
