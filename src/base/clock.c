/* SPDX-License-Identifier: MIT */
#include "weir/base/clock.h"

#include <stdio.h>

void clock_rfc3339(char out[CLOCK_RFC3339_LEN + 1], uint64_t wall_us)
{
	time_t s = (time_t)(wall_us / 1000000);
	struct tm tm;
	gmtime_r(&s, &tm);
	size_t n = strftime(out, CLOCK_RFC3339_LEN + 1, "%Y-%m-%dT%H:%M:%S", &tm);
	unsigned ms = (unsigned)(wall_us / 1000 % 1000);
	char tail[6] = {
	    '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z',
	    '\0'};
	if (n + sizeof(tail) <= CLOCK_RFC3339_LEN + 1)
		for (size_t i = 0; i < sizeof(tail); i++)
			out[n + i] = tail[i];
}

void clock_clf(char out[CLOCK_CLF_LEN + 1], uint64_t wall_us)
{
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t s = (time_t)(wall_us / 1000000);
	struct tm tm;
	gmtime_r(&s, &tm);
	char text[64];
	snprintf(text, sizeof(text), "%02d/%s/%04d:%02d:%02d:%02d +0000", tm.tm_mday,
		 months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	snprintf(out, CLOCK_CLF_LEN + 1, "%.26s", text);
}
