/* SPDX-License-Identifier: MIT */
/* Who is to blame: asked of each outcome and of each way to refuse a response. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "weir/base/defs.h"
#include "weir/base/json.h"
#include "weir/http/h1.h"
#include "weir/proxy/outcome.h"

/* "Could a client bring this about at will, with a backend that is well?" */
static const struct {
	enum outcome outcome;
	enum outcome_fault fault;
	const char *how;
} rows[] = {
    {OUTCOME_ok, OUTCOME_FAULT_NEVER, "nothing failed"},
    {OUTCOME_local, OUTCOME_FAULT_NEVER, "no backend was asked"},
    {OUTCOME_tunnel, OUTCOME_FAULT_NEVER, "nothing failed"},
    {OUTCOME_tunnel_idle, OUTCOME_FAULT_NEVER, "yes: it says nothing in its tunnel"},
    {OUTCOME_bad_request, OUTCOME_FAULT_NEVER, "yes: it sends one"},
    {OUTCOME_no_route, OUTCOME_FAULT_NEVER, "yes"},
    {OUTCOME_regex_limit, OUTCOME_FAULT_NEVER, "yes: by a path that keeps it busy"},
    {OUTCOME_rate_limited, OUTCOME_FAULT_NEVER, "yes: by many requests"},
    {OUTCOME_unauthorized, OUTCOME_FAULT_NEVER, "yes: it says nothing"},
    {OUTCOME_auth_busy, OUTCOME_FAULT_NEVER, "yes: by many guesses"},
    {OUTCOME_auth_failed, OUTCOME_FAULT_NEVER, "the backend was not asked"},
    {OUTCOME_auth_timeout, OUTCOME_FAULT_NEVER, "the backend was not asked"},
    {OUTCOME_misdirected, OUTCOME_FAULT_NEVER, "yes"},
    {OUTCOME_bad_body, OUTCOME_FAULT_NEVER, "yes"},
    {OUTCOME_loop, OUTCOME_FAULT_NEVER, "yes: by Via"},
    {OUTCOME_body_too_large, OUTCOME_FAULT_NEVER, "yes"},
    {OUTCOME_client_gone_request, OUTCOME_FAULT_NEVER, "yes: it leaves"},
    {OUTCOME_client_gone_auth, OUTCOME_FAULT_NEVER, "yes: it leaves"},
    {OUTCOME_client_gone_queue, OUTCOME_FAULT_NEVER, "yes: it leaves"},
    {OUTCOME_client_gone_connect, OUTCOME_FAULT_NEVER, "yes: it leaves"},
    {OUTCOME_client_gone_wait, OUTCOME_FAULT_NEVER, "yes: it leaves"},
    {OUTCOME_client_gone_transfer, OUTCOME_FAULT_NEVER, "yes: it leaves"},
    {OUTCOME_client_timeout_head, OUTCOME_FAULT_NEVER, "yes: it sends nothing"},
    {OUTCOME_client_timeout_body, OUTCOME_FAULT_NEVER, "yes: it sends nothing"},
    {OUTCOME_client_timeout_write, OUTCOME_FAULT_NEVER, "yes: it reads nothing"},
    {OUTCOME_no_backend, OUTCOME_FAULT_NEVER, "there is nobody to blame"},
    {OUTCOME_pin_lost, OUTCOME_FAULT_NEVER, "there is nobody to blame"},
    {OUTCOME_queue_full, OUTCOME_FAULT_NEVER, "yes: by many requests"},
    {OUTCOME_queue_shed, OUTCOME_FAULT_NEVER, "yes: by many requests"},
    {OUTCOME_queue_timeout, OUTCOME_FAULT_NEVER, "yes: by many requests"},
    {OUTCOME_connect_refused, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_connect_failed, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_connect_timeout, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_tls_untrusted, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_tls_failed, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_http2_failed, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_connect_limit, OUTCOME_FAULT_NEVER, "yes: by many requests"},
    {OUTCOME_backend_closed, OUTCOME_FAULT_WHOLE, "yes: it holds back its body"},
    {OUTCOME_backend_reset, OUTCOME_FAULT_WHOLE, "yes: by a body that no backend takes"},
    {OUTCOME_backend_head_cut, OUTCOME_FAULT_WHOLE, "yes: by a body that no backend takes"},
    {OUTCOME_backend_timeout, OUTCOME_FAULT_ALWAYS, "no: all of the request was there"},
    {OUTCOME_backend_send_timeout, OUTCOME_FAULT_ALWAYS, "no: the backend stopped reading"},
    {OUTCOME_backend_refused, OUTCOME_FAULT_ALWAYS, "no: retry.on names the status"},
    {OUTCOME_refused_stream, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_bad_response, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_bad_response_field, OUTCOME_FAULT_NEVER, "yes: the app repeats what it sent"},
    {OUTCOME_response_header_bytes, OUTCOME_FAULT_NEVER, "yes: by a long redirect"},
    {OUTCOME_response_header_count, OUTCOME_FAULT_NEVER, "yes: by many cookies"},
    {OUTCOME_interim_responses, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_request_refused, OUTCOME_FAULT_NEVER, "yes: by what the backend's parser hates"},
    {OUTCOME_backend_cut, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_backend_bad_body, OUTCOME_FAULT_ALWAYS, "no"},
    {OUTCOME_backend_idle, OUTCOME_FAULT_ALWAYS, "no: the backend promised more"},
    {OUTCOME_total_timeout, OUTCOME_FAULT_LATE, "yes: it sends slowly before"},
    {OUTCOME_deadline_passed, OUTCOME_FAULT_LATE, "yes: it sets a short one"},
    {OUTCOME_deadline_short, OUTCOME_FAULT_NEVER, "yes: it sets a short one"},
    {OUTCOME_head_too_large, OUTCOME_FAULT_NEVER, "yes"},
    {OUTCOME_response_too_large, OUTCOME_FAULT_NEVER, "yes: by a long redirect"},
    {OUTCOME_answer_too_large, OUTCOME_FAULT_NEVER, "yes: by what the answer repeats"},
    {OUTCOME_no_memory, OUTCOME_FAULT_NEVER, "it is weir's own"},
    {OUTCOME_stopped, OUTCOME_FAULT_NEVER, "it is weir's own"},
};

Test(outcome, each_one_has_an_answer_and_is_counted_so)
{
	bool seen[N_OUTCOMES] = {false};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct outcome_row *row = outcome_row(rows[i].outcome);
		cr_expect_not(seen[rows[i].outcome], "%s twice", row->name);
		cr_expect_eq(row->fault, rows[i].fault, "%s: %s", row->name, rows[i].how);
		seen[rows[i].outcome] = true;
	}
	for (unsigned i = 0; i < N_OUTCOMES; i++)
		cr_expect(seen[i], "%s: could a client bring it about at will?",
			  outcome_row((enum outcome)i)->name);
}

/* Whatever is told to a client as its own fault, or weir's, is nobody else's. */
Test(outcome, only_errors_are_held_against_anybody)
{
	for (unsigned i = 0; i < N_OUTCOMES; i++) {
		const struct outcome_row *row = outcome_row((enum outcome)i);
		if (row->fault == OUTCOME_FAULT_NEVER)
			continue;
		cr_expect(row->is_error, "%s", row->name);
		cr_expect(row->status >= 500, "%s", row->name);
	}
}

/* man/guide/outcomes.md: what stands there is what the table says, and where to look behind it. */
Test(outcome, the_guide_has_each_one)
{
	const char *path = WEIR_SOURCE_DIR "/man/guide/outcomes.md";
	FILE *file = fopen(path, "r");
	cr_assert_not_null(file, "%s", path);
	static char page[64 * 1024];
	page[fread(page, 1, sizeof(page) - 1, file)] = 0;
	fclose(file);
	for (unsigned i = 0; i < N_OUTCOMES; i++) {
		const struct outcome_row *row = outcome_row((enum outcome)i);
		char status[8] = "", begin[512];
		if (row->status)
			snprintf(status, sizeof(status), "%u", row->status);
		snprintf(begin, sizeof(begin), "\n| `%s` | %c%c | %s | %s", row->name, row->who,
			 row->when, status, row->sentence);
		const char *at = strstr(page, begin);
		cr_expect_not_null(at, "%s is missing:%s", path, begin);
		if (!at)
			continue;
		const char *advice = strstr(at + strlen(begin), " | ");
		cr_expect(advice && advice - at < 512 && advice[3] != '|', "%s: where to look?",
			  row->name);
		bool counts = strncmp(at + strlen(begin), "; counts", 8) == 0;
		cr_expect_eq(counts, row->fault != OUTCOME_FAULT_NEVER, "%s", row->name);
	}
}

/* Framing is the server's own; what stands in fields may be the client's. */
Test(outcome, a_refused_field_is_told_from_refused_framing)
{
	static const enum reject framing[] = {REJECT_BAD_STATUS_LINE,   REJECT_BAD_VERSION,
					      REJECT_BAD_LENGTH,        REJECT_MANY_LENGTHS,
					      REJECT_LENGTH_AND_CODING, REJECT_BAD_CODING,
					      REJECT_CODING_IN_HTTP10,  REJECT_CODING_UNKNOWN,
					      REJECT_BAD_CHUNK,         REJECT_VERSION_UNSUPPORTED};
	static const enum reject field[] = {
	    REJECT_BARE_CR,         REJECT_BARE_LF,          REJECT_OBS_FOLD,
	    REJECT_BAD_HEADER_NAME, REJECT_BAD_HEADER_VALUE, REJECT_SPACE_BEFORE_COLON,
	    REJECT_HEAD_TOO_LARGE,  REJECT_LINE_TOO_LONG,    REJECT_TOO_MANY_HEADERS,
	    REJECT_BAD_TRAILER,     REJECT_TRAILER_TOO_LARGE};
	for (size_t i = 0; i < ARRAY_LEN(framing); i++)
		cr_expect_not(reject_is_of_field(framing[i]), "%s", reject_name(framing[i]));
	for (size_t i = 0; i < ARRAY_LEN(field); i++)
		cr_expect(reject_is_of_field(field[i]), "%s", reject_name(field[i]));
}

/* They are put together by the compiler: nothing in them may need an escape. */
Test(outcome, words_for_the_log_are_json)
{
	for (unsigned i = 0; i < N_OUTCOMES; i++) {
		const struct outcome_row *row = outcome_row((enum outcome)i);
		struct str want = STR_INIT;
		struct json j;
		json_init(&j, &want, false);
		json_object_begin(&j);
		json_member_text(&j, "outcome", row->name);
		json_member_text(&j, "end", row->sentence);
		json_object_end(&j);
		cr_assert(view_eq(row->members, view_of(want.ptr + 1, want.len - 2)), "%s",
			  row->name);
		str_fini(&want);
	}
}
