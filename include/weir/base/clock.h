/* SPDX-License-Identifier: MIT */
/*
 * Time.  Durations and stamps are unsigned 64-bit microseconds (`_us`) on the
 * monotonic clock, unless a name says wall.  No system call: the vDSO answers.
 */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * What clock_us adds to CLOCK_MONOTONIC, which begins anew when the machine starts: whoever
 * goes on with instants of an earlier process sets it, before anybody asks for the time.
 */
extern uint64_t clock_ahead_us;

static inline uint64_t clock_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000 + clock_ahead_us;
}

/* Microseconds since 1970 (UTC). */
static inline uint64_t clock_wall_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* RFC 3339 in UTC with milliseconds, "2026-01-31T12:00:00.123Z"; needs 25 bytes. */
#define CLOCK_RFC3339_LEN 24
void clock_rfc3339(char out[CLOCK_RFC3339_LEN + 1], uint64_t wall_us);

/* "31/Jan/2026:12:00:00 +0000" as the combined log format has it; needs 27 bytes. */
#define CLOCK_CLF_LEN 26
void clock_clf(char out[CLOCK_CLF_LEN + 1], uint64_t wall_us);

/* "Sun, 06 Nov 1994 08:49:37 GMT", the form of Date (RFC 9110 5.6.7); needs 30 bytes. */
#define CLOCK_HTTP_LEN 29
void clock_http(char out[CLOCK_HTTP_LEN + 1], uint64_t wall_us);

/* "14:05" where the machine is; needs 6 bytes.  Takes a lock of the C library: not for workers. */
#define CLOCK_LOCAL_LEN 5
void clock_local(char out[CLOCK_LOCAL_LEN + 1], uint64_t wall_us);

#endif
