/* SPDX-License-Identifier: MIT */
#include "weir/base/yaml.h"

#include <criterion/criterion.h>

Test(yaml, a_text_is_read_as_a_text)
{
	static const struct {
		const char *text, *written;
	} cases[] = {
	    {"app", "app"},
	    {"10.0.0.1:80", "10.0.0.1:80"},
	    {"/a/b=c", "/a/b=c"},
	    {"", "\"\""},
	    {"on", "\"on\""},
	    {"NULL", "\"NULL\""},
	    {"12:30", "\"12:30\""},
	    {"0x1f", "\"0x1f\""},
	    {"1.5", "\"1.5\""},
	    {"a:", "\"a:\""},
	    {"a b", "\"a b\""},
	    {"*a", "\"*a\""},
	    {"say \"x\"\\\n\t", "\"say \\\"x\\\"\\\\\\n\\t\""},
	    {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
	    /* what would drive a terminal, or is no UTF-8 */
	    {"\x1b[31m", "\"\\u001B[31m\""},
	    {"\xe2\x80\xae", "\"\\u202E\""},
	    {"\xc3", "\"\\uFFFD\""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct str out = STR_INIT;
		yaml_put_text(&out, view_str(cases[i].text));
		cr_expect_str_eq(out.ptr, cases[i].written);
		str_fini(&out);
	}
}
