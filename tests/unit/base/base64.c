/* SPDX-License-Identifier: MIT */
/* Base64 is read strictly: one text for each value (RFC 4648, 10 has the examples). */
#include "weir/base/base64.h"

#include <criterion/criterion.h>

#include "weir/base/defs.h"

struct row {
	const char *text, *bytes; /* NULL: malformed */
};

static void expect(const struct row *row, enum base64_form form)
{
	char out[16];
	struct view text = view_str(row->text);
	ptrdiff_t n = base64_read(text, form, out, sizeof(out));
	if (!row->bytes) {
		cr_expect_eq(n, -1, "%s", row->text);
		return;
	}
	cr_assert_eq(n, (ptrdiff_t)strlen(row->bytes), "%s", row->text);
	cr_expect(view_eq(view_of(out, (size_t)n), view_str(row->bytes)), "%s", row->text);
	if (n)
		cr_expect_eq(base64_read(text, form, out, (size_t)n - 1), -1, "no room");
}

Test(base64, with_padding)
{
	static const struct row rows[] = {
	    {"", ""},
	    {"Zg==", "f"},
	    {"Zm8=", "fo"},
	    {"Zm9v", "foo"},
	    {"Zm9vYg==", "foob"},
	    {"Zm9vYmE=", "fooba"},
	    {"+/+/", "\xfb\xff\xbf"},
	    {"Zg", NULL},
	    {"Zg=", NULL},
	    {"Zh==", NULL},
	    {"Zm9=", NULL},
	    {"Z===", NULL},
	    {"====", NULL},
	    {"Zg==Zg==", NULL},
	    {"Zm 9", NULL},
	    {"-_-_", NULL},
	    {"Zm9vZ", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(&rows[i], BASE64_PADDED);
}

Test(base64, for_urls)
{
	static const struct row rows[] = {
	    {"", ""},        {"Zg", "f"},        {"Zm8", "fo"},
	    {"Zm9v", "foo"}, {"Zm9vYg", "foob"}, {"-_-_", "\xfb\xff\xbf"},
	    {"Zg==", NULL},  {"Zh", NULL},       {"Zm9", NULL},
	    {"Z", NULL},     {"+/+/", NULL},     {"Zm9vZ", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(&rows[i], BASE64_URL);
}

Test(base64, in_place)
{
	char text[] = "Zm9vYmFy";
	cr_assert_eq(base64_read(view_of(text, 8), BASE64_URL, text, 8), 6);
	cr_expect(view_eq(view_of(text, 6), VIEW("foobar")));
}
