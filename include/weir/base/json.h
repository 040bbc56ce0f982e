/* SPDX-License-Identifier: MIT */
/*
 * A JSON writer (RFC 8259) onto a struct str.  It places commas by itself:
 *
 *   struct json j;
 *   json_init(&j, &out, false);
 *   json_object_begin(&j);
 *   json_key(&j, "name");   json_view(&j, name);
 *   json_key(&j, "tries");  json_u64(&j, 3);
 *   json_object_end(&j);
 *
 * Text that is not valid UTF-8 is written with U+FFFD in place of each bad
 * byte, so that the output always parses.  Reading JSON is jansson's work.
 */
#ifndef WEIR_BASE_JSON_H
#define WEIR_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/str.h"
#include "weir/base/view.h"

struct json {
	struct str *out; /* borrows */
	unsigned depth;
	bool pretty;    /* two-space indentation */
	bool after_key; /* the next value completes a member */
	bool first;     /* nothing in the innermost container yet */
};

void json_init(struct json *j, struct str *out, bool pretty);

void json_object_begin(struct json *j);
void json_object_end(struct json *j);
void json_array_begin(struct json *j);
void json_array_end(struct json *j);
/* A literal of plain ASCII, written as it is; what others chose goes to json_key_view. */
void json_key(struct json *j, const char *key);
void json_key_view(struct json *j, struct view key);

void json_view(struct json *j, struct view v);
void json_text(struct json *j, const char *s); /* NULL writes null */
void json_u64(struct json *j, uint64_t n);
void json_i64(struct json *j, int64_t n);
/* Up to six significant decimals; NaN and infinities become null. */
void json_double(struct json *j, double x);
void json_bool(struct json *j, bool b);
void json_null(struct json *j);
void json_textf(struct json *j, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Text that is JSON already. */
void json_raw(struct json *j, struct view json_text);
/*
 * The same for those who write it themselves: room for n bytes, and then where they
 * end.  NULL without memory, and then there is no end to tell.
 */
char *json_raw_room(struct json *j, size_t n);
void json_raw_end(struct json *j, const char *end);

/* Only the escaping, quotes included; for hot formatters. */
void json_quote(struct str *out, struct view v);

/* Members in one line: json_member_u64(&j, "pid", pid). */
static inline void json_member_view(struct json *j, const char *key, struct view v)
{
	json_key(j, key);
	json_view(j, v);
}
static inline void json_member_text(struct json *j, const char *key, const char *s)
{
	json_key(j, key);
	json_text(j, s);
}
static inline void json_member_u64(struct json *j, const char *key, uint64_t n)
{
	json_key(j, key);
	json_u64(j, n);
}
static inline void json_member_double(struct json *j, const char *key, double x)
{
	json_key(j, key);
	json_double(j, x);
}
static inline void json_member_bool(struct json *j, const char *key, bool b)
{
	json_key(j, key);
	json_bool(j, b);
}

#endif
