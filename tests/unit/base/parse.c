/* SPDX-License-Identifier: MIT */
#include "weir/base/parse.h"

#include <criterion/criterion.h>

#include "weir/base/defs.h"

Test(parse, unsigned_numbers)
{
	uint64_t n;
	cr_assert(parse_u64(VIEW("0"), &n) && n == 0);
	cr_assert(parse_u64(VIEW("18446744073709551615"), &n) && n == UINT64_MAX);
	static const char *const bad[] = {"",
					  " 1",
					  "1 ",
					  "-1",
					  "+1",
					  "1x",
					  "0x10",
					  "18446744073709551616",
					  "99999999999999999999999"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(parse_u64(view_str(bad[i]), &n), "\"%s\"", bad[i]);
	cr_assert_not(parse_u64(VIEW("1\0"), &n));
}

Test(parse, signed_numbers)
{
	int64_t n;
	cr_assert(parse_i64(VIEW("-5"), &n) && n == -5);
	cr_assert(parse_i64(VIEW("9223372036854775807"), &n) && n == INT64_MAX);
	cr_assert(parse_i64(VIEW("-9223372036854775808"), &n) && n == INT64_MIN);
	static const char *const bad[] = {"", "-", "--1", "9223372036854775808",
					  "-9223372036854775809"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(parse_i64(view_str(bad[i]), &n), "\"%s\"", bad[i]);
}

Test(parse, real_numbers)
{
	double x;
	cr_assert(parse_double(VIEW("0.25"), &x) && x == 0.25);
	cr_assert(parse_double(VIEW("-1e3"), &x) && x == -1000);
	static const char *const bad[] = {"",      ".",     "1e", "nan", "inf",
					  "0x1p3", "1e999", "1 ", "1,5"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(parse_double(view_str(bad[i]), &x), "\"%s\"", bad[i]);
}

Test(parse, durations_carry_a_unit)
{
	static const struct {
		const char *text;
		uint64_t us;
	} good[] = {{"0", 0},
		    {"0s", 0},
		    {"10us", 10},
		    {"250ms", 250000},
		    {"2s", 2000000},
		    {"1m", 60000000},
		    {"1h", UINT64_C(3600000000)},
		    {"1d", UINT64_C(86400000000)},
		    {"213503982d", UINT64_C(213503982) * UINT64_C(86400000000)}};
	uint64_t us;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cr_assert(parse_duration_us(view_str(good[i].text), &us) && us == good[i].us, "%s",
			  good[i].text);
	static const char *const bad[] = {"",    "1",     "s",          "1.5s",
					  "-1s", "1 s",   "1S",         "1sec",
					  "1s ", "1m30s", "213503983d", "18446744073709551616us"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(parse_duration_us(view_str(bad[i]), &us), "\"%s\"", bad[i]);
}

Test(parse, sizes_carry_a_unit)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0},
		    {"512B", 512},
		    {"64KiB", 65536},
		    {"1MiB", 1048576},
		    {"2GiB", UINT64_C(2) << 30},
		    {"64kB", 64000},
		    {"1MB", 1000000},
		    {"1GB", 1000000000},
		    {"17179869183GiB", UINT64_C(17179869183) << 30}};
	uint64_t bytes;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cr_assert(parse_size(view_str(good[i].text), &bytes) && bytes == good[i].bytes,
			  "%s", good[i].text);
	static const char *const bad[] = {"",   "1",      "KiB", "1KB",           "1kib",
					  "1K", "1.5MiB", "-1B", "17179869184GiB"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(parse_size(view_str(bad[i]), &bytes), "\"%s\"", bad[i]);
}

Test(parse, formats_read_back)
{
	static const uint64_t numbers[] = {0,           1,        999,       1000,    1024,
					   1500,        60000000, 90000000,  1048576, 1000000,
					   86400000000, 7777777,  UINT64_MAX};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		struct str s = STR_INIT;
		uint64_t back;
		format_duration_us(&s, numbers[i]);
		cr_assert(parse_duration_us(str_as_view(&s), &back) && back == numbers[i], "%s",
			  s.ptr);
		str_reset(&s);
		format_size(&s, numbers[i]);
		cr_assert(parse_size(str_as_view(&s), &back) && back == numbers[i], "%s", s.ptr);
		str_fini(&s);
	}
}

Test(parse, formats_take_the_largest_unit_that_divides)
{
	struct str s = STR_INIT;
	format_duration_us(&s, 90000000);
	str_char(&s, ' ');
	format_duration_us(&s, 3600000000);
	str_char(&s, ' ');
	format_size(&s, 65536);
	str_char(&s, ' ');
	format_size(&s, 64000);
	cr_assert_str_eq(s.ptr, "90s 1h 64KiB 64kB");
	str_fini(&s);
}
