/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <time.h>

#include "weir/base/defs.h"
#include "weir/http/retry_after.h"

#define NOW UINT64_C(784111777) /* Sun, 06 Nov 1994 08:49:37 GMT */

Test(http_retry_after, seconds_and_dates)
{
	static const struct {
		const char *value;
		uint64_t seconds;
	} rows[] = {
	    {"0", 0},
	    {"1", 1},
	    {"120", 120},
	    {"18446744073709551615", UINT64_MAX},
	    {"18446744073709551616", UINT64_MAX},
	    {"99999999999999999999999999999999", UINT64_MAX},
	    {"Sun, 06 Nov 1994 08:49:38 GMT", 1},
	    {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
	    {"Sun, 06 Nov 1994 08:49:36 GMT", 0},
	    {"Mon, 07 Nov 1994 08:49:37 GMT", 86400},
	    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
	    /* nothing of these is understood */
	    {"", 0},
	    {"-1", 0},
	    {"+1", 0},
	    {"1.5", 0},
	    {"1s", 0},
	    {"soon", 0},
	    {"Mon, 07 Nov 1994 08:49:37 UTC", 0},
	    {"Mon, 07 Nov 1994 24:49:37 GMT", 0},
	    {"Mon, 07 Nov 1994 08:60:37 GMT", 0},
	    {"Mon, 07 Nov 1994 08:49:61 GMT", 0},
	    {"Mon, 00 Nov 1994 08:49:37 GMT", 0},
	    {"Mon, 07 Noz 1994 08:49:37 GMT", 0},
	    {"Mon, 7  Nov 1994 08:49:37 GMT", 0},
	    {"Mon, 07 Nov -994 08:49:37 GMT", 0},
	    {"Mon, 07 Nov 1994 08:49:37 GMT ", 0},
	    {"Monday, 07-Nov-94 08:49:37 GMT", 0},
	    {"Mon Nov  7 08:49:37 1994", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		cr_expect_eq(retry_after_s(view_str(rows[i].value), NOW), rows[i].seconds, "%s",
			     rows[i].value);
}

/* Held against the C library's calendar. */
Test(http_retry_after, every_day_from_1970_to_9999)
{
	char text[64];
	for (uint64_t d = 1; d < 2932897; d += 1) {
		time_t t = (time_t)(d * 86400 + d * 29 % 86400);
		struct tm tm;
		gmtime_r(&t, &tm);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		cr_assert_eq(retry_after_s(view_str(text), 0), (uint64_t)t, "%s", text);
	}
}
