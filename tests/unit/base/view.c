/* SPDX-License-Identifier: MIT */
#include "weir/base/view.h"

#include <criterion/criterion.h>

#define cr_view(v, text) cr_assert(view_eq(v, view_str(text)), "got \"" VIEW_FMT "\"", VIEW_ARG(v))

Test(view, equality_looks_at_every_byte)
{
	cr_assert(view_eq(VIEW("abc"), VIEW("abc")));
	cr_assert(view_eq(VIEW_NONE, VIEW("")));
	cr_assert_not(view_eq(VIEW("abc"), VIEW("abC")));
	cr_assert_not(view_eq(VIEW("abc"), VIEW("ab")));
	cr_assert(view_eq(VIEW("a\0b"), VIEW("a\0b")));
	cr_assert_not(view_eq(VIEW("a\0b"), VIEW("a\0c")));
}

Test(view, case_is_ignored_for_ascii_letters_only)
{
	cr_assert(view_ieq(VIEW("Content-LENGTH"), VIEW("content-length")));
	cr_assert_not(view_ieq(VIEW("@"), VIEW("`"))); /* 0x40 and 0x60 differ in the same bit */
	cr_assert_not(view_ieq(VIEW("["), VIEW("{")));
	cr_assert_not(view_ieq(VIEW("\xc4"), VIEW("\xe4")));
}

Test(view, prefixes_and_suffixes)
{
	cr_assert(view_starts(VIEW("/api/x"), VIEW("/api")));
	cr_assert(view_starts(VIEW("/api"), VIEW_NONE));
	cr_assert_not(view_starts(VIEW("/ap"), VIEW("/api")));
	cr_assert(view_istarts(VIEW("Bearer x"), VIEW("bearer ")));
	cr_assert(view_ends(VIEW("a.example.com"), VIEW(".example.com")));
	cr_assert_not(view_ends(VIEW("com"), VIEW(".com")));
}

Test(view, finds_the_first_byte)
{
	cr_assert_eq(view_chr(VIEW("a:b:c"), ':'), 1);
	cr_assert_eq(view_chr(VIEW("abc"), ':'), -1);
	cr_assert_eq(view_chr(VIEW_NONE, ':'), -1);
	cr_assert_eq(view_chr(view_head(VIEW("ab:"), 2), ':'), -1);
}

Test(view, trims_space_and_tab_only)
{
	cr_view(view_trim(VIEW(" \t a b\t ")), "a b");
	cr_view(view_trim(VIEW(" \t ")), "");
	cr_view(view_trim(VIEW("\ra\n")), "\ra\n");
	cr_view(view_trim(VIEW_NONE), "");
}

Test(view, skip_and_head_stay_inside)
{
	cr_view(view_skip(VIEW("abc"), 1), "bc");
	cr_view(view_skip(VIEW("abc"), 9), "");
	cr_view(view_skip(VIEW_NONE, 0), "");
	cr_view(view_skip(VIEW_NONE, 9), "");
	cr_view(view_head(VIEW("abc"), 2), "ab");
	cr_view(view_head(VIEW("abc"), 9), "abc");
}

Test(view, token_lists)
{
	struct view rest = VIEW(" close , ,\tUpgrade,"), token;
	cr_assert(view_next_token(&rest, &token));
	cr_view(token, "close");
	cr_assert(view_next_token(&rest, &token));
	cr_view(token, "Upgrade");
	cr_assert_not(view_next_token(&rest, &token));
	rest = VIEW_NONE;
	cr_assert_not(view_next_token(&rest, &token));
}

Test(view, order_is_by_bytes_then_length)
{
	cr_assert(view_cmp(VIEW("a"), VIEW("b")) < 0);
	cr_assert(view_cmp(VIEW("b"), VIEW("ab")) > 0);
	cr_assert(view_cmp(VIEW("a"), VIEW("ab")) < 0);
	cr_assert(view_cmp(VIEW("ab"), VIEW("a")) > 0);
	cr_assert_eq(view_cmp(VIEW("ab"), VIEW("ab")), 0);
	cr_assert_eq(view_cmp(VIEW_NONE, VIEW("")), 0);
	cr_assert(view_cmp(VIEW("\xff"), VIEW("a")) > 0);
}
