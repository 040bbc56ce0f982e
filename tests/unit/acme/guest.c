/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "acme/guest.h"

static bool shows(const struct guest *g, const char *authorization)
{
	return view_eq(guest_authorization(g), view_str(authorization));
}

Test(guest, is_shown_until_there_is_another)
{
	struct guest g = {.shown = false};
	struct tls_challenge challenge;
	struct str told = STR_INIT;
	guest_put(VIEW("a.example"), VIEW("tok.print"), &told);
	cr_assert(!guest_take(&g, VIEW_NONE, VIEW("print"), false), "nothing, as before");
	cr_assert(guest_take(&g, str_as_view(&told), VIEW("print"), false));
	cr_assert(shows(&g, "tok.print"));
	cr_assert_eq(guest_challenge(&g, &challenge), tls_answers_challenges());
	cr_assert(view_eq(challenge.name, VIEW("a.example")));
	cr_assert(!guest_take(&g, str_as_view(&told), VIEW("print"), false), "the same");
	cr_assert(guest_take(&g, VIEW("b.example tok.print"), VIEW("print"), false));
	cr_assert(guest_take(&g, VIEW_NONE, VIEW("print"), false));
	cr_assert(shows(&g, "") && !guest_challenge(&g, &challenge));
	str_fini(&told);
	guest_fini(&g);
}

Test(guest, of_another_account_is_taken_from_those_we_know)
{
	struct guest g = {.shown = false};
	cr_assert(!guest_take(&g, VIEW("a.example tok.theirs"), VIEW("ours"), false));
	cr_assert(shows(&g, ""));
	guest_fini(&g);
	cr_assert(guest_take(&g, VIEW("a.example tok.theirs"), VIEW("ours"), true));
	cr_assert(shows(&g, "tok.theirs"));
	guest_fini(&g);
}

Test(guest, nonsense_is_nothing)
{
	static const char *const bad[] = {"a.example",        " tok.print",
					  "a.example ",       "a.example tok",
					  "a.example .print", "a.example tok.print\n",
					  "a b tok.print x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct guest g = {.shown = false};
		cr_assert(!guest_take(&g, view_str(bad[i]), VIEW("print"), true), "%s", bad[i]);
		cr_assert(shows(&g, ""), "%s", bad[i]);
		guest_fini(&g);
	}
}
