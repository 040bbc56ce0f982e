/* SPDX-License-Identifier: MIT */
#include "weir/http/message.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "weir/base/defs.h"
#include "weir/http/h1.h"

static struct message msg;

static void add(struct view name, struct view value)
{
	msg.headers[msg.n_headers++] =
	    (struct header){.name = name, .value = value, .id = (uint8_t)hdr_lookup(name)};
	msg.ids |= UINT64_C(1) << hdr_lookup(name);
}

static bool kept(struct view name)
{
	return message_find_name(&msg, name) != NULL;
}

Test(http_message, each_row_is_found_in_any_case)
{
	for (unsigned id = HDR_OTHER + 1; id < HDR_N; id++) {
		struct view name = hdr_name(id);
		char text[64];
		memcpy(text, name.ptr, name.len);
		cr_assert_eq(hdr_lookup(name), id);
		for (size_t i = 0; i < name.len; i++) {
			text[i] = (char)(char_lower(text[i]) >= 'a' ? text[i] ^ 0x20 : text[i]);
			cr_assert_eq(hdr_lookup(view_of(text, name.len)), id, "%s", name.ptr);
		}
	}
}

Test(http_message, one_byte_off_is_another_name)
{
	for (unsigned id = HDR_OTHER + 1; id < HDR_N; id++) {
		struct view name = hdr_name(id);
		for (size_t i = 0; i < name.len; i++) {
			for (unsigned c = 0; c < 256; c++) {
				char text[64];
				memcpy(text, name.ptr, name.len);
				text[i] = (char)c;
				struct view other = view_of(text, name.len);
				bool same = char_lower((char)c) == name.ptr[i];
				cr_assert_eq(hdr_lookup(other) == id, same, "%s at %zu: %u",
					     name.ptr, i, c);
			}
		}
		cr_assert_neq(hdr_lookup(view_head(name, name.len - 1)), id);
	}
}

Test(http_message, names_are_lower_case_and_of_the_bytes_the_look_up_expects)
{
	for (unsigned id = HDR_OTHER + 1; id < HDR_N; id++) {
		struct view name = hdr_name(id);
		for (size_t i = 0; i < name.len; i++)
			cr_assert(strchr("abcdefghijklmnopqrstuvwxyz0123456789-", name.ptr[i]));
	}
	cr_assert_eq(hdr_name(HDR_OTHER).len, 0);
	cr_assert_eq(hdr_lookup(VIEW_NONE), HDR_OTHER);
	cr_assert_eq(hdr_lookup(VIEW("x-unknown")), HDR_OTHER);
}

Test(http_message, find_passes_over_what_is_dropped)
{
	msg.n_headers = 0;
	add(VIEW("Cookie"), VIEW("a"));
	add(VIEW("X-Mine"), VIEW("1"));
	add(VIEW("cookie"), VIEW("b"));
	add(VIEW("x-mine"), VIEW("2"));
	cr_assert_eq(message_find(&msg, HDR_COOKIE), &msg.headers[0]);
	cr_assert_eq(message_find_name(&msg, VIEW("X-MINE")), &msg.headers[1]);
	msg.headers[0].drop = msg.headers[1].drop = true;
	cr_assert_eq(message_find(&msg, HDR_COOKIE), &msg.headers[2]);
	cr_assert_eq(message_find_name(&msg, VIEW("COOKIE")), &msg.headers[2]);
	cr_assert_eq(message_find_name(&msg, VIEW("X-MINE")), &msg.headers[3]);
	cr_assert_null(message_find(&msg, HDR_HOST));
	cr_assert_null(message_find_name(&msg, VIEW("X-Other")));
}

Test(http_message, upgrade_stays_when_asked_for)
{
	for (unsigned keep = 0; keep < 2; keep++) {
		msg.n_headers = 0;
		add(VIEW("Connection"), VIEW("Upgrade, X-Hop"));
		add(VIEW("Upgrade"), VIEW("websocket"));
		add(VIEW("X-Hop"), VIEW("1"));
		add(VIEW("X-Hop-2"), VIEW("2"));
		message_drop_hop_by_hop(&msg, keep);
		cr_assert_eq(kept(VIEW("Upgrade")), (bool)keep);
		cr_assert_not(kept(VIEW("Connection")));
		cr_assert_not(kept(VIEW("X-Hop")));
		cr_assert(kept(VIEW("X-Hop-2")));
	}
}

Test(http_message, connection_cannot_strip_what_matters)
{
	static const char *const names[] = {
	    "Host",          "Content-Length", "Cookie",           "Set-Cookie",
	    "Authorization", "Forwarded",      "X-Forwarded-For",  "X-Forwarded-Anything",
	    "X-Real-IP",     "X-Request-ID",   "Content-Type",     "Content-Encoding",
	    "Cache-Control", "Location",       "WWW-Authenticate", "Range",
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		msg.n_headers = 0;
		add(VIEW("Connection"), view_str(names[i]));
		add(view_str(names[i]), VIEW("x"));
		message_drop_hop_by_hop(&msg, false);
		cr_assert(kept(view_str(names[i])), "%s", names[i]);
	}
}

Test(http_message, idempotent_methods_are_those_of_rfc_9110)
{
	cr_assert(method_is_idempotent(METHOD_GET));
	cr_assert(method_is_idempotent(METHOD_HEAD));
	cr_assert(method_is_idempotent(METHOD_PUT));
	cr_assert(method_is_idempotent(METHOD_DELETE));
	cr_assert(method_is_idempotent(METHOD_OPTIONS));
	cr_assert(method_is_idempotent(METHOD_TRACE));
	cr_assert_not(method_is_idempotent(METHOD_POST));
	cr_assert_not(method_is_idempotent(METHOD_PATCH));
	cr_assert_not(method_is_idempotent(METHOD_CONNECT));
	cr_assert_not(method_is_idempotent(METHOD_OTHER));
}

Test(http_message, reasons)
{
	cr_assert_str_eq(status_reason(200), "OK");
	cr_assert_str_eq(status_reason(431), "Request Header Fields Too Large");
	cr_assert_str_eq(status_reason(511), "Network Authentication Required");
	cr_assert_str_eq(status_reason(0), "");
	cr_assert_str_eq(status_reason(299), "");
	cr_assert_str_eq(status_reason(512), "");
	cr_assert_str_eq(status_reason(4000000000u), "");
}

/* The registry: whatever is in it has a phrase of its own, and nothing else has one. */
Test(http_message, reasons_of_the_registry)
{
	static const struct {
		unsigned first, last;
	} registered[] = {{100, 103}, {200, 208}, {226, 226}, {300, 305}, {307, 308}, {400, 417},
			  {421, 426}, {428, 429}, {431, 431}, {451, 451}, {500, 508}, {511, 511}};
	size_t at = 0;
	for (unsigned status = 0; status < 1000; status++) {
		while (at < ARRAY_LEN(registered) && status > registered[at].last)
			at++;
		bool known = at < ARRAY_LEN(registered) && status >= registered[at].first;
		cr_assert(known == (*status_reason(status) != '\0'), "%u: '%s'", status,
			  status_reason(status));
		for (unsigned other = 100; known && other < status; other++)
			cr_assert_str_neq(status_reason(status), status_reason(other));
	}
}

Test(http_message, rejects_have_a_name_a_status_and_a_sentence)
{
	for (unsigned why = REJECT_NONE + 1; why < REJECT_N; why++) {
		unsigned status = reject_status(why);
		cr_assert(status >= 400 && status < 600 && *status_reason(status));
		cr_assert(strlen(reject_sentence(why)) > 10);
		for (const char *p = reject_name(why); *p; p++)
			cr_assert(strchr("abcdefghijklmnopqrstuvwxyz0123456789_", *p), "%s",
				  reject_name(why));
	}
	cr_assert_str_eq(reject_name(REJECT_BAD_CHUNK), "bad_chunk");
	cr_assert_eq(reject_status(REJECT_CODING_UNKNOWN), 501);
}
