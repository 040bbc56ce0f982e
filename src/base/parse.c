/* SPDX-License-Identifier: MIT */
/* Numbers, durations and sizes as people write them; anything left over is an error. */
#include "weir/base/parse.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "weir/base/defs.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first: formatting takes the first that divides. */
static const struct unit durations[] = {
    {"d", UINT64_C(86400000000)},
    {"h", UINT64_C(3600000000)},
    {"m", UINT64_C(60000000)},
    {"s", 1000000},
    {"ms", 1000},
    {"us", 1},
};
static const struct unit sizes[] = {
    {"GiB", UINT64_C(1) << 30},
    {"MiB", 1 << 20},
    {"KiB", 1 << 10},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"kB", 1000},
    {"B", 1},
};

/* Leading digits of v; they are taken off. */
static bool take_digits(struct view *v, uint64_t *out)
{
	uint64_t n = 0;
	size_t i = 0;
	for (; i < v->len && char_is_digit(v->ptr[i]); i++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(v->ptr[i] - '0'), &n))
			return false;
	*v = view_skip(*v, i);
	*out = n;
	return i > 0;
}

bool parse_u64(struct view v, uint64_t *out)
{
	return take_digits(&v, out) && v.len == 0;
}

bool parse_is_digits(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (!char_is_digit(v.ptr[i]))
			return false;
	return v.len > 0;
}

bool parse_i64(struct view v, int64_t *out)
{
	bool negative = v.len && v.ptr[0] == '-';
	uint64_t n;
	if (!parse_u64(negative ? view_skip(v, 1) : v, &n))
		return false;
	if (n > (uint64_t)INT64_MAX + negative)
		return false;
	*out = negative ? (int64_t)(0 - n) : (int64_t)n;
	return true;
}

bool parse_double(struct view v, double *out)
{
	char text[64];
	if (v.len == 0 || v.len >= sizeof(text))
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (!char_is_digit(v.ptr[i]) && !memchr(".-+eE", v.ptr[i], 5))
			return false;
	memcpy(text, v.ptr, v.len);
	text[v.len] = '\0';
	char *end;
	errno = 0;
	*out = strtod(text, &end);
	return *end == '\0' && end != text && errno == 0 && isfinite(*out);
}

static bool parse_unit(struct view v, const struct unit *units, size_t n_units, uint64_t *out)
{
	uint64_t n;
	if (!take_digits(&v, &n))
		return false;
	if (v.len == 0) {
		*out = 0;
		return n == 0; /* only zero needs no unit */
	}
	for (size_t i = 0; i < n_units; i++)
		if (view_eq(v, view_str(units[i].name)))
			return !__builtin_mul_overflow(n, units[i].factor, out);
	return false;
}

bool parse_duration_us(struct view v, uint64_t *out_us)
{
	return parse_unit(v, durations, ARRAY_LEN(durations), out_us);
}

bool parse_size(struct view v, uint64_t *out_bytes)
{
	return parse_unit(v, sizes, ARRAY_LEN(sizes), out_bytes);
}

static void format_unit(struct str *out, uint64_t n, const struct unit *units, size_t n_units)
{
	if (n == 0) {
		str_char(out, '0');
		return;
	}
	size_t i = 0;
	while (i + 1 < n_units && n % units[i].factor)
		i++;
	str_u64(out, n / units[i].factor);
	str_text(out, units[i].name);
}

void format_duration_us(struct str *out, uint64_t us)
{
	format_unit(out, us, durations, ARRAY_LEN(durations));
}

void format_size(struct str *out, uint64_t bytes)
{
	format_unit(out, bytes, sizes, ARRAY_LEN(sizes));
}
