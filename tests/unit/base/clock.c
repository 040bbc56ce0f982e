/* SPDX-License-Identifier: MIT */
/* Dates as text, held against the C library's calendar. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "weir/base/clock.h"
#include "weir/base/rng.h"

static void assert_date(uint64_t wall_us)
{
	char rfc[CLOCK_RFC3339_LEN + 1], clf[CLOCK_CLF_LEN + 1], want[64], full[80];
	time_t s = (time_t)(wall_us / 1000000);
	struct tm tm;
	gmtime_r(&s, &tm);
	memset(rfc, 'x', sizeof(rfc));
	memset(clf, 'x', sizeof(clf));
	clock_rfc3339(rfc, wall_us);
	clock_clf(clf, wall_us);
	strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(full, sizeof(full), "%s.%03uZ", want, (unsigned)(wall_us / 1000 % 1000));
	cr_assert_str_eq(rfc, full);
	strftime(want, sizeof(want), "%d/%b/%Y:%H:%M:%S +0000", &tm);
	cr_assert_str_eq(clf, want);
	cr_assert_eq(strlen(rfc), CLOCK_RFC3339_LEN);
	cr_assert_eq(strlen(clf), CLOCK_CLF_LEN);
}

Test(clock, every_day_from_1970_to_9999)
{
	const uint64_t day = UINT64_C(86400000000);
	for (uint64_t d = 0; d < 2932897; d++) /* 31 December 9999 is the last */
		assert_date(d * day + d * 29 % day);
}

Test(clock, moments)
{
	struct rng rng;
	rng_init(&rng, 1);
	assert_date(0);
	assert_date(951782399999999);  /* the second before 29 February 2000 */
	assert_date(951868800000000);  /* 1 March 2000 */
	assert_date(4107542399999999); /* 28 February 2100 is followed by March */
	for (int i = 0; i < 100000; i++)
		assert_date(rng_next(&rng) % UINT64_C(253402300800000000));
}

Test(clock, http_dates)
{
	static const struct {
		uint64_t s;
		const char *text;
	} rows[] = {
	    {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
	    {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
	    {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
	    {4102444799, "Thu, 31 Dec 2099 23:59:59 GMT"},
	};
	char text[CLOCK_HTTP_LEN + 1];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		clock_http(text, rows[i].s * 1000000 + 999999);
		cr_assert_str_eq(text, rows[i].text);
	}
}

Test(clock, the_local_time_of_day)
{
	char text[CLOCK_LOCAL_LEN + 1];
	setenv("TZ", "UTC-02", 1); /* two hours east */
	tzset();
	clock_local(text, UINT64_C(784111777) * 1000000);
	cr_assert_str_eq(text, "10:49");
	clock_local(text, UINT64_MAX);
	cr_assert_leq(strlen(text), (size_t)CLOCK_LOCAL_LEN);
}
