/* SPDX-License-Identifier: MIT */
/*
 * Numbers, durations and sizes from text.  All of the text must fit the form;
 * overflow is a failure, never a wrap.
 */
#ifndef WEIR_BASE_PARSE_H
#define WEIR_BASE_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/str.h"
#include "weir/base/view.h"

bool parse_u64(struct view v, uint64_t *out);
/* Nothing but digits, at least one: when parse_u64 fails, the number is too large. */
bool parse_is_digits(struct view v);
bool parse_i64(struct view v, int64_t *out);
bool parse_double(struct view v, double *out);

/* "250ms", "2s", "1m", "1h", "1d", "10us" or "0"; microseconds come back. */
bool parse_duration_us(struct view v, uint64_t *out_us);

/* "64KiB", "1MiB", "2GiB", "512B", decimal "64kB", "1MB", "1GB", or "0". */
bool parse_size(struct view v, uint64_t *out_bytes);

/* The shortest exact form that the two above read back. */
void format_duration_us(struct str *out, uint64_t us);
void format_size(struct str *out, uint64_t bytes);

#endif
