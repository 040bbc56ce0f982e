/* SPDX-License-Identifier: MIT */
/* Retry-After in seconds or as a date (RFC 9110 10.2.3). */
#include "weir/http/retry_after.h"

#include <stdbool.h>
#include <string.h>

#include "weir/base/parse.h"

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define DATE_LEN 29
#define DAYS_TO_1970 719468 /* from 1 March of year 0 */

/* `n` digits at `at`. */
static bool number_at(struct view v, size_t at, size_t n, uint64_t *out)
{
	return parse_u64(view_of(v.ptr + at, n), out);
}

/* From 1; 0: none of them. */
static unsigned month_at(struct view v, size_t at)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	for (unsigned m = 0; m < 12; m++)
		if (memcmp(v.ptr + at, months + 3 * m, 3) == 0)
			return m + 1;
	return 0;
}

/* Years are counted from March: the leap day is then the last of its year. */
static uint64_t days_of(uint64_t year, uint64_t month, uint64_t day)
{
	uint64_t y = year - (month <= 2), march_month = (month + 9) % 12;
	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * march_month + 2) / 5 + day - 1;
}

static bool parse_date(struct view v, uint64_t *out_s)
{
	uint64_t day, year, hour, minute, second;
	if (v.len != DATE_LEN || memcmp(v.ptr + 3, ", ", 2) != 0 || v.ptr[7] != ' ' ||
	    v.ptr[11] != ' ' || v.ptr[16] != ' ' || v.ptr[19] != ':' || v.ptr[22] != ':' ||
	    memcmp(v.ptr + 25, " GMT", 4) != 0)
		return false;
	unsigned month = month_at(v, 8);
	if (!month || !number_at(v, 5, 2, &day) || !number_at(v, 12, 4, &year) ||
	    !number_at(v, 17, 2, &hour) || !number_at(v, 20, 2, &minute) ||
	    !number_at(v, 23, 2, &second) || day < 1 || day > 31 || year < 1970 || hour > 23 ||
	    minute > 59 || second > 60)
		return false;
	*out_s =
	    (days_of(year, month, day) - DAYS_TO_1970) * 86400 + hour * 3600 + minute * 60 + second;
	return true;
}

uint64_t retry_after_s(struct view value, uint64_t now_s)
{
	uint64_t n;
	if (parse_is_digits(value))
		return parse_u64(value, &n) ? n : UINT64_MAX;
	return parse_date(value, &n) && n > now_s ? n - now_s : 0;
}
