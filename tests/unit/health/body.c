/* SPDX-License-Identifier: MIT */
/* health.body: a regex that gives up is no match, and no mismatch either. */
#include <criterion/criterion.h>

#include "health/settings.h"

Test(health_body, matches_differs_or_is_undecided)
{
	struct conf_health conf = {.body = VIEW("^((a|aa|aaa)+$|a*!)")};
	struct str why = STR_INIT;
	struct health_settings *s = health_settings_new(&conf, &why);
	cr_assert_not_null(s);
	cr_assert_eq(health_settings_match(s, VIEW("aaa!")), BODY_MATCHES);
	cr_assert_eq(health_settings_match(s, VIEW("b")), BODY_DIFFERS);
	cr_assert_eq(health_settings_match(s, VIEW_NONE), BODY_DIFFERS);
	cr_assert_eq(health_settings_match(s, VIEW("aaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")),
		     BODY_UNDECIDED);
	health_settings_free(s);
}
