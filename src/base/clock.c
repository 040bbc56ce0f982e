/* SPDX-License-Identifier: MIT */
/* Dates by arithmetic, without the lock that gmtime_r takes; the local time is for people. */
#include "weir/base/clock.h"

#include <string.h>

uint64_t clock_ahead_us;

#define DAYS_400Y 146097  /* the calendar repeats after 400 years */
#define MARCH_0000 719468 /* days from 1 March of year 0 to 1 January 1970 */

struct date {
	unsigned year, month, day, hour, minute, second; /* month and day from 1 */
};

/*
 * The Gregorian calendar in UTC, by arithmetic: gmtime_r takes a lock of the C
 * library, and every line of the access log has a date.  Years are counted from
 * March: the leap day is then the last of its year and moves no month.
 */
static struct date date_of(uint64_t seconds)
{
	uint64_t days = seconds / 86400 + MARCH_0000;
	unsigned left = (unsigned)(seconds % 86400), era_day = (unsigned)(days % DAYS_400Y);
	unsigned era_year =
	    (era_day - era_day / 1460 + era_day / 36524 - era_day / (DAYS_400Y - 1)) / 365;
	unsigned year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
	unsigned march_month = (5 * year_day + 2) / 153;
	struct date d = {
	    .year = (unsigned)(days / DAYS_400Y) * 400 + era_year + (march_month >= 10),
	    .month = march_month < 10 ? march_month + 3 : march_month - 9,
	    .day = year_day - (153 * march_month + 2) / 5 + 1,
	    .hour = left / 3600,
	    .minute = left / 60 % 60,
	    .second = left % 60,
	};
	return d;
}

/* `n` decimal digits; returns what is behind them. */
static char *put_digits(char *out, unsigned value, unsigned n)
{
	for (unsigned i = n; i-- > 0; value /= 10)
		out[i] = (char)('0' + value % 10);
	return out + n;
}

static char *put_two(char *out, unsigned value, char after)
{
	out = put_digits(out, value, 2);
	*out++ = after;
	return out;
}

void clock_rfc3339(char out[CLOCK_RFC3339_LEN + 1], uint64_t wall_us)
{
	struct date d = date_of(wall_us / 1000000);
	out = put_digits(out, d.year, 4);
	*out++ = '-';
	out = put_two(out, d.month, '-');
	out = put_two(out, d.day, 'T');
	out = put_two(out, d.hour, ':');
	out = put_two(out, d.minute, ':');
	out = put_two(out, d.second, '.');
	out = put_digits(out, (unsigned)(wall_us / 1000 % 1000), 3);
	*out++ = 'Z';
	*out = '\0';
}

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void clock_http(char out[CLOCK_HTTP_LEN + 1], uint64_t wall_us)
{
	static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
	struct date d = date_of(wall_us / 1000000);
	memcpy(out, days[wall_us / 1000000 / 86400 % 7], 3);
	memcpy(out + 3, ", ", 2);
	out = put_two(out + 5, d.day, ' ');
	memcpy(out, months[d.month - 1], 3);
	out[3] = ' ';
	out = put_digits(out + 4, d.year, 4);
	*out++ = ' ';
	out = put_two(out, d.hour, ':');
	out = put_two(out, d.minute, ':');
	out = put_two(out, d.second, ' ');
	memcpy(out, "GMT", 4);
}

void clock_clf(char out[CLOCK_CLF_LEN + 1], uint64_t wall_us)
{
	struct date d = date_of(wall_us / 1000000);
	out = put_two(out, d.day, '/');
	memcpy(out, months[d.month - 1], 3);
	out[3] = '/';
	out = put_digits(out + 4, d.year, 4);
	*out++ = ':';
	out = put_two(out, d.hour, ':');
	out = put_two(out, d.minute, ':');
	out = put_two(out, d.second, ' ');
	memcpy(out, "+0000", 6);
}

void clock_local(char out[CLOCK_LOCAL_LEN + 1], uint64_t wall_us)
{
	time_t at = (time_t)(wall_us / 1000000);
	struct tm tm;
	if (!localtime_r(&at, &tm) || !strftime(out, CLOCK_LOCAL_LEN + 1, "%H:%M", &tm))
		*out = '\0';
}
