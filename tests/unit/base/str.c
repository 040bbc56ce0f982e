/* SPDX-License-Identifier: MIT */
#include "weir/base/str.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(str, grows_on_the_heap)
{
	struct str s = STR_INIT;
	for (int i = 0; i < 1000; i++)
		str_printf(&s, "%d,", i);
	cr_assert_eq(s.len, 10 * 2 + 90 * 3 + 900 * 4);
	cr_assert_eq(strlen(s.ptr), s.len);
	cr_assert(view_starts(str_as_view(&s), VIEW("0,1,2,")));
	cr_assert(view_ends(str_as_view(&s), VIEW(",998,999,")));
	cr_assert_not(s.overflow);
	str_fini(&s);
	cr_assert_null(s.ptr);
}

Test(str, an_empty_one_is_a_view_too)
{
	struct str s = STR_INIT;
	cr_assert_eq(str_as_view(&s).len, 0);
	cr_assert_not_null(str_as_view(&s).ptr);
	str_text(&s, "");
	cr_assert_str_eq(s.ptr, "");
	str_fini(&s);
}

Test(str, fixed_room_takes_what_fits)
{
	char room[8];
	memset(room, 'x', sizeof(room));
	struct str s = str_fixed(room, 5);
	str_text(&s, "abcd");
	cr_assert_not(s.overflow);
	cr_assert_str_eq(room, "abcd");
	str_char(&s, 'e');
	cr_assert(s.overflow);
	cr_assert_str_eq(room, "abcd");
	cr_assert_eq(room[5], 'x');
	str_reset(&s);
	cr_assert_not(s.overflow);
	str_text(&s, "123456");
	cr_assert(s.overflow);
	cr_assert_str_eq(room, "1234");
	cr_assert_eq(room[5], 'x');
	str_fini(&s);
}

Test(str, fixed_room_cuts_formatted_text)
{
	char room[8];
	memset(room, 'x', sizeof(room));
	struct str s = str_fixed(room, 5);
	str_printf(&s, "%s", "ab");
	str_printf(&s, "%d", 123456);
	cr_assert(s.overflow);
	cr_assert_eq(s.len, 4);
	cr_assert_str_eq(room, "ab12");
	cr_assert_eq(room[5], 'x');
	str_printf(&s, "%s", "more");
	cr_assert_str_eq(room, "ab12");
}

Test(str, room_for_nothing_but_the_end)
{
	char room[1] = {'x'};
	struct str s = str_fixed(room, 1);
	str_text(&s, "a");
	str_printf(&s, "%s", "b");
	cr_assert(s.overflow);
	cr_assert_eq(s.len, 0);
	cr_assert_eq(room[0], '\0');
}

Test(str, impossible_sizes_are_refused)
{
	struct str s = STR_INIT;
	str_text(&s, "abc");
	cr_assert_not(str_reserve(&s, SIZE_MAX));
	cr_assert_not(str_reserve(&s, SIZE_MAX - 8));
	cr_assert(s.overflow);
	cr_assert_str_eq(s.ptr, "abc");
	str_fini(&s);
}

Test(str, bytes_may_be_zero)
{
	struct str s = STR_INIT;
	str_put(&s, "a\0b", 3);
	cr_assert(view_eq(str_as_view(&s), VIEW("a\0b")));
	str_fini(&s);
}

Test(str, numbers)
{
	struct str s = STR_INIT;
	str_u64(&s, 0);
	str_char(&s, ' ');
	str_u64(&s, UINT64_MAX);
	cr_assert_str_eq(s.ptr, "0 18446744073709551615");
	str_fini(&s);
}

Test(str, numbers_around_powers_of_ten)
{
	for (uint64_t n = 1; n < UINT64_MAX / 10; n *= 10)
		for (uint64_t near = n - 1; near <= n + 11; near++) {
			char text[DIGITS_U64 + 1] = {0}, want[32];
			snprintf(want, sizeof(want), "%llu", (unsigned long long)near);
			cr_assert_eq(digits_u64(text, near) - text, (ptrdiff_t)strlen(want));
			cr_assert_str_eq(text, want);
		}
}
