/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "weir/http/trace_context.h"

#define GOOD "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Test(trace_context, reads_what_it_writes)
{
	struct trace_context c;
	char text[TRACEPARENT_LEN];
	cr_assert(traceparent_parse(VIEW(GOOD), &c));
	cr_assert_eq(c.flags, TRACE_FLAG_SAMPLED);
	cr_assert_eq(c.trace_id[0], 0x4b);
	cr_assert_eq(c.span_id[7], 0xb7);
	traceparent_write(&c, text);
	cr_assert(view_eq(view_of(text, sizeof(text)), VIEW(GOOD)));
	cr_assert_eq(memcmp(text + TRACEPARENT_SPAN_AT, "00f067aa0ba902b7", 16), 0);
}

Test(trace_context, every_changed_byte_is_refused_or_means_something_else)
{
	static const char bad[] = "gG-_ X\n\xff";
	char text[] = GOOD;
	struct trace_context c;
	for (size_t i = 0; i < TRACEPARENT_LEN; i++) {
		for (size_t k = 0; k < sizeof(bad) - 1; k++) {
			bool dash = i == 2 || i == 35 || i == 52;
			text[i] = bad[k];
			cr_expect(traceparent_parse(VIEW(text), &c) == (dash && bad[k] == '-'),
				  "byte %zu as %x", i, (unsigned char)bad[k]);
		}
		text[i] = GOOD[i];
	}
}

Test(trace_context, lengths_and_versions)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {
	    {GOOD, true},
	    {GOOD "-", false},
	    {GOOD "-00", false},
	    {"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true},
	    {"fe-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", true},
	    {"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x", false},
	    {"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
	    {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
	    {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
	    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
	    {"", false},
	};
	struct trace_context c;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect(traceparent_parse(view_str(cases[i].text), &c) == cases[i].ok, "%s",
			  cases[i].text);
	for (size_t n = 0; n < TRACEPARENT_LEN; n++)
		cr_expect(!traceparent_parse(view_of(GOOD, n), &c));
}

Test(trace_context, unknown_flags_are_not_passed_on)
{
	struct trace_context c;
	cr_assert(
	    traceparent_parse(VIEW("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe"), &c));
	cr_assert_eq(c.flags, TRACE_FLAG_RANDOM);
}
