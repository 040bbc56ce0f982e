/* SPDX-License-Identifier: MIT */
/* Load reports: the forms in use, and everything else. */
#include <criterion/criterion.h>
#include <string.h>

#include "balance/prequal.h"
#include "weir/balance/orca.h"
#include "weir/balance/strategy.h"

Test(orca, forms_in_use)
{
	static const struct {
		const char *text;
		unsigned n;
		double rif;
	} rows[] = {
	    {"named_metrics.rif=7", 1, 7},
	    {"cpu_utilization=0.6, named_metrics.rif=7", 2, 7},
	    {"cpu_utilization:0.6,named_metrics.rif:7,eps:0", 3, 7},
	    {"TEXT cpu_utilization=0.25, mem_utilization=1e-2", 2, -1},
	    {"  rif=3\t", 1, 3},
	    {"{\"rif\": 2}", 1, 2},
	    {"JSON {\"cpu_utilization\":0.3,\"named_metrics\":{\"rif\":12}}", 2, 12},
	    {"JSON { \"named_metrics\" : { \"rif\" : 1, \"x\":2 } , \"eps\":1 }", 3, 1},
	    {"JSON {}", 0, -1},
	    {"rps_fractional=12.5,named_metrics.a-b=1", 2, -1},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct orca orca;
		cr_expect(orca_parse(view_str(rows[i].text), &orca), "%s", rows[i].text);
		cr_expect_eq(orca.n, rows[i].n, "%s: %u metrics", rows[i].text, orca.n);
		cr_expect_eq(orca.rif, rows[i].rif, "%s: %g", rows[i].text, orca.rif);
	}
}

Test(orca, everything_else)
{
	static const char *const rows[] = {
	    "",
	    " ",
	    "rif",
	    "rif=",
	    "=1",
	    "rif=x",
	    "rif=nan",
	    "rif=inf",
	    "rif=-1",
	    "rif=1e300",
	    "rif=1,",
	    "rif=1,rif=2",
	    "rif=1 x=2",
	    "rif=1;x=2",
	    "rif==1",
	    "rif=1=2",
	    "JSON",
	    "TEXT",
	    "{",
	    "{}x",
	    "{\"rif\":}",
	    "{\"rif\":1",
	    "{\"rif\":1,}",
	    "{\"rif\":1}}",
	    "{rif:1}",
	    "{\"rif\":\"1\"}",
	    "{\"a\":{\"b\":{\"c\":1}}}",
	    "{\"a\":{}}",
	    "[1]",
	    "BIN AAAA",
	    "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,q=1",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct orca orca;
		cr_expect_not(orca_parse(view_str(rows[i]), &orca), "'%s'", rows[i]);
	}
	char longest[ORCA_MAX + 2];
	struct orca orca;
	memset(longest, 'a', sizeof(longest));
	longest[ORCA_MAX - 2] = '=';
	longest[ORCA_MAX - 1] = '1';
	cr_expect(orca_parse(view_of(longest, ORCA_MAX), &orca));
	longest[ORCA_MAX] = '1';
	cr_expect_not(orca_parse(view_of(longest, ORCA_MAX + 1), &orca));
}

Test(report, survives_packing)
{
	static const struct strategy_report rows[] = {
	    {0, 16}, {7, 1234567}, {65535, UINT64_C(1) << 50}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct strategy_report back = strategy_report_unpack(strategy_report_pack(rows[i]));
		cr_expect_eq(back.in_flight, rows[i].in_flight);
		cr_expect(rows[i].at_us - back.at_us < 16);
	}
	cr_expect_eq(
	    strategy_report_unpack(strategy_report_pack((struct strategy_report){1 << 20, 16}))
		.in_flight,
	    65535);
}

/* The paper's example, and small sets, where its formula has no solution. */
Test(prequal, reuse_budget)
{
	cr_expect_float_eq(prequal_uses(16, 100), 2 / ((1 - 0.16) * 3 - 1), 1e-9);
	cr_expect_float_eq(prequal_uses(16, 100), 1.3158, 1e-4);
	cr_expect_eq(prequal_uses(16, 4), 4);
	cr_expect_eq(prequal_uses(16, 10), 2);
	cr_expect_eq(prequal_uses(16, 16), 2);
	cr_expect_eq(prequal_uses(16, 24), 1);
	cr_expect_eq(prequal_uses(16, 0), 1);
	for (uint32_t n = 1; n < 5000; n++)
		cr_expect(prequal_uses(16, n) >= 1 && prequal_uses(16, n) <= 4);
}
