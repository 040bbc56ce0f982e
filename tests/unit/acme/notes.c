/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "acme/notes.h"

#define CA VIEW("https://ca.example/dir")
#define KEY "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"

static void come_back(struct notes in)
{
	struct str text = STR_INIT;
	struct notes out;
	in.directory = CA;
	notes_put(&in, &text);
	cr_assert(notes_read(str_as_view(&text), CA, &out));
	cr_assert(view_eq(in.order, out.order) && view_eq(in.key, out.key));
	cr_assert_eq(in.failures, out.failures);
	cr_assert_eq(in.again_s, out.again_s);
	cr_assert(!notes_read(str_as_view(&text), VIEW("https://ca.example/dir2"), &out));
	cr_assert(!notes_read(str_as_view(&text), VIEW("https://ca.example/di"), &out));
	cr_assert(out.failures == 0 && out.key.len == 0);
	str_fini(&text);
}

Test(notes, come_back)
{
	come_back((struct notes){.key = VIEW(KEY)});
	come_back((struct notes){.failures = 3, .again_s = 1800000000});
	come_back((struct notes){.order = VIEW("https://ca.example/order/1"),
				 .failures = 4000000000u,
				 .again_s = UINT64_MAX,
				 .key = VIEW(KEY)});
}

Test(notes, damage_is_nothing)
{
	struct notes n;
	cr_assert(!notes_read(VIEW_NONE, CA, &n));
	cr_assert(!notes_read(VIEW(KEY), CA, &n), "one of a version that took no notes");
	cr_assert(notes_read(VIEW("ACME directory: https://ca.example/dir\nACME failures: x\n"
				  "ACME again: -1\nsomething\nACME order: u"),
			     CA, &n));
	cr_assert(n.failures == 0 && n.again_s == 0 && view_eq(n.order, VIEW("u")) && !n.key.len);
}
