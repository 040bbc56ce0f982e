/* SPDX-License-Identifier: MIT */
/*
 * Latency by window and phase.  A thousand backends have 32 000 summaries of seven
 * numbers each: they are written straight into the answer.
 */
#include "api.h"

#include <string.h>

/* `"response": {"n":...}` and a comma: names, seven numbers and what is between. */
#define SUMMARY_MAX 288
#define WINDOW_NAME_MAX 16
#define WINDOWS_TEXT_MAX (N_WINDOWS * (N_PHASES * SUMMARY_MAX + WINDOW_NAME_MAX) + 2)

#define PUT(at, literal) ((char *)memcpy((at), literal, sizeof(literal) - 1) + sizeof(literal) - 1)

/* "2000", "12.5": what printf would do, ten times as fast. */
static char *put_hundredths(char *to, double x)
{
	uint64_t hundredths = (uint64_t)(x * 100 + 0.5), rest = hundredths % 100;
	to = digits_u64(to, hundredths / 100);
	if (rest) {
		*to++ = '.';
		*to++ = (char)('0' + rest / 10);
		if (rest % 10)
			*to++ = (char)('0' + rest % 10);
	}
	return to;
}

static char *put_summary(char *at, const struct hist_summary *s)
{
	at = digits_u64(PUT(at, "{\"n\":"), s->n);
	at = digits_u64(PUT(at, ",\"p50_us\":"), s->p50_us);
	at = digits_u64(PUT(at, ",\"p90_us\":"), s->p90_us);
	at = digits_u64(PUT(at, ",\"p99_us\":"), s->p99_us);
	at = digits_u64(PUT(at, ",\"p999_us\":"), s->p999_us);
	at = digits_u64(PUT(at, ",\"max_us\":"), s->max_us);
	at = put_hundredths(PUT(at, ",\"mean_us\":"), s->mean_us);
	return PUT(at, "}");
}

/* A comma if one is needed, and "name": */
static char *put_name(char *at, bool first, const char *name)
{
	if (!first)
		*at++ = ',';
	*at++ = '"';
	return PUT(stpcpy(at, name), "\":");
}

static char *put_window(char *at, const struct windows *windows, enum window window, int from)
{
	struct hist_summary summary[N_PHASES];
	*at++ = '{';
	if (windows)
		windows_summaries(windows, (enum phase)from, window, summary);
	for (int p = from; windows && p < N_PHASES; p++) {
		at = put_name(at, p == from, phase_name((enum phase)p));
		at = put_summary(at, &summary[p]);
	}
	*at++ = '}';
	return at;
}

void put_windows(struct json *j, const struct windows *windows, bool total_only)
{
	char *at = json_raw_room(j, WINDOWS_TEXT_MAX);
	if (!at)
		return;
	*at++ = '{';
	for (int w = 0; w < N_WINDOWS; w++) {
		at = put_name(at, w == 0, window_name((enum window)w));
		at = put_window(at, windows, (enum window)w, total_only ? PHASE_total : 0);
	}
	*at++ = '}';
	json_raw_end(j, at);
}

void put_buckets(struct json *j, const struct hist_total *total)
{
	json_array_begin(j);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		if (!total->count[i])
			continue;
		json_array_begin(j);
		json_u64(j, hist_lower_us(i));
		json_u64(j, total->count[i]);
		json_array_end(j);
	}
	json_array_end(j);
}

void put_window_buckets(struct json *j, const struct windows *windows)
{
	struct hist_total total;
	json_key(j, "buckets");
	json_object_begin(j);
	for (int w = 0; windows && w < N_WINDOWS; w++) {
		windows_read(windows, PHASE_total, (enum window)w, &total);
		json_key(j, window_name((enum window)w));
		put_buckets(j, &total);
	}
	json_object_end(j);
}
