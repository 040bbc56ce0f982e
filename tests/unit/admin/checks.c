/* SPDX-License-Identifier: MIT */
/* What is told of a backend's health checks. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "fixture.h"
#include "health/target.h"

static struct fixture f;

static void begin(void)
{
	fixture_init(&f, NULL);
}

static void end(void)
{
	fixture_fini(&f);
}

Test(admin_checks, the_last_ones_newest_first, .init = begin, .fini = end)
{
	static const struct health_facts facts = {
	    .checked = true,
	    .checks = {{.duration_us = 1200, .status = 503, .reason = "status 503, expected 200"},
		       {.duration_us = 900, .ok = true, .reason = "connected"}},
	    .n_checks = 2,
	    .asked_load = true,
	    .n_loads = 5,
	    .n_loads_lost = 1,
	};
	struct health_target *t = calloc(1, sizeof(*t));
	struct backend *b = f.pools[0].backends[0];
	t->news.shown = facts;
	b->health = t;
	struct reply r = ask(&f, "GET", "/v1/pools/app", NULL);
	b->health = NULL;
	free(t);
	cr_assert_eq(r.status, 200);
	cr_expect_eq(json_size(&r.body, "backends.0.checks"), 2);
	cr_expect_str_eq(json_at(&r.body, "backends.0.checks.0.ok"), "false");
	cr_expect_str_eq(json_at(&r.body, "backends.0.checks.0.status"), "503");
	cr_expect_str_eq(json_at(&r.body, "backends.0.checks.0.duration_us"), "1200");
	cr_expect_str_eq(json_at(&r.body, "backends.0.checks.0.reason"),
			 "status 503, expected 200");
	cr_expect_str_eq(json_at(&r.body, "backends.0.checks.1.ok"), "true");
	cr_expect_str_eq(json_at(&r.body, "backends.0.checks.1.status"), "null");
	cr_expect_str_eq(json_at(&r.body, "backends.0.load_probes.answered"), "5");
	cr_expect_str_eq(json_at(&r.body, "backends.0.load_probes.lost"), "1");
	cr_expect_eq(json_size(&r.body, "backends.1.checks"), 0, "nobody watches it");
	reply_fini(&r);
}
