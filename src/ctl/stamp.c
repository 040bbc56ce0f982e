/* SPDX-License-Identifier: MIT */
/* Moments as people read them. */
#include "stamp.h"

#include <time.h>

#include "text.h"

/* Seconds since 1970, UTC; a number, or text such as 2026-01-31T12:00:00.123Z. */
static bool parse_stamp(const json_t *at, time_t *out)
{
	struct tm tm = {0};
	if (json_is_number(at)) {
		*out = (time_t)json_number_value(at);
		return true;
	}
	const char *text = json_string_value(at);
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (!rest || rest[strspn(rest, ".0123456789")] != 'Z')
		return false;
	*out = timegm(&tm);
	return true;
}

void put_stamp(struct str *out, const json_t *at)
{
	char text[32];
	struct tm tm;
	time_t s;
	if (parse_stamp(at, &s) && localtime_r(&s, &tm) &&
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
		str_text(out, text);
	else
		put_clean(out, json_is_string(at) ? json_string_value(at) : "-");
}
