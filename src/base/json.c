/* SPDX-License-Identifier: MIT */
/* JSON out, piece by piece, without a tree: answers of the API can be millions of members long. */
#include "weir/base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "weir/base/defs.h"
#include "weir/base/text.h"

void json_init(struct json *j, struct str *out, bool pretty)
{
	*j = (struct json){.out = out, .pretty = pretty, .first = true};
}

static void newline(struct json *j)
{
	str_char(j->out, '\n');
	for (unsigned i = 0; i < j->depth; i++)
		str_text(j->out, "  ");
}

/* Whatever has to stand between the previous thing and the next. */
static void separate(struct json *j)
{
	if (j->after_key) {
		j->after_key = false;
		return;
	}
	if (!j->first)
		str_char(j->out, ',');
	if (j->pretty && j->depth)
		newline(j);
	j->first = false;
}

static void open_container(struct json *j, char bracket)
{
	separate(j);
	str_char(j->out, bracket);
	j->depth++;
	j->first = true;
}

static void close_container(struct json *j, char bracket)
{
	j->depth--;
	if (j->pretty && !j->first)
		newline(j);
	str_char(j->out, bracket);
	j->first = false;
	if (j->depth == 0 && j->pretty)
		str_char(j->out, '\n');
}

void json_object_begin(struct json *j)
{
	open_container(j, '{');
}

void json_object_end(struct json *j)
{
	close_container(j, '}');
}

void json_array_begin(struct json *j)
{
	open_container(j, '[');
}

void json_array_end(struct json *j)
{
	close_container(j, ']');
}

void json_key_view(struct json *j, struct view key)
{
	separate(j);
	json_quote(j->out, key);
	str_text(j->out, j->pretty ? ": " : ":");
	j->after_key = true;
}

/* "key": or "text" in one look at the room; false: there is none without more of it. */
static inline bool put_quoted(struct str *out, struct view v, struct view after)
{
	const size_t n = 1 + v.len + after.len;
	if (unlikely(n >= out->cap - out->len))
		return false;
	char *at = out->ptr + out->len;
	*at++ = '"';
	memcpy(at, v.ptr, v.len);
	memcpy(at + v.len, after.ptr, after.len);
	at[v.len + after.len] = '\0';
	out->len += n;
	return true;
}

/* Our own keys hold nothing to escape. */
void json_key(struct json *j, const char *key)
{
	separate(j);
	j->after_key = true;
	if (!j->pretty && put_quoted(j->out, view_str(key), VIEW("\":")))
		return;
	str_char(j->out, '"');
	str_text(j->out, key);
	str_text(j->out, j->pretty ? "\": " : "\":");
}

static void quote_escape(struct str *out, unsigned char c)
{
	char text[8];
	switch (c) {
	case '"':
		str_text(out, "\\\"");
		return;
	case '\\':
		str_text(out, "\\\\");
		return;
	case '\n':
		str_text(out, "\\n");
		return;
	case '\r':
		str_text(out, "\\r");
		return;
	case '\t':
		str_text(out, "\\t");
		return;
	default:
		snprintf(text, sizeof(text), "\\u%04x", c);
		str_text(out, text);
	}
}

static inline bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Eight bytes: is one of them not plain? */
static inline bool needs_look(uint64_t x)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
	uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\', del = x ^ ones * 0x7f;
	uint64_t found = x | ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) |
			 ((slash - ones) & ~slash) | ((del - ones) & ~del);
	return (found & tops) != 0;
}

static inline uint64_t load(const char *p, size_t n)
{
	uint64_t x = 0;
	memcpy(&x, p, n);
	return x;
}

/* The last bytes are looked at together with some before them, a second time. */
static bool is_all_plain(struct view v)
{
	size_t i = 0;
	for (; i + 8 <= v.len; i += 8)
		if (needs_look(load(v.ptr + i, 8)))
			return false;
	if (v.len >= 8)
		return !needs_look(load(v.ptr + v.len - 8, 8));
	if (v.len >= 4)
		return !needs_look(load(v.ptr, 4) | load(v.ptr + v.len - 4, 4) << 32);
	while (i < v.len && is_plain((unsigned char)v.ptr[i]))
		i++;
	return i == v.len;
}

void json_quote(struct str *out, struct view v)
{
	const unsigned char *p = (const unsigned char *)v.ptr;
	size_t i = 0, plain = 0; /* start of the run that needs no escape */
	if (v.len && is_all_plain(v) && put_quoted(out, v, VIEW("\"")))
		return;
	str_char(out, '"');
	while (i < v.len) {
		unsigned char c = p[i];
		if (is_plain(c)) {
			i++;
			continue;
		}
		size_t len = c >= 0x80 ? text_harmless_len(v.ptr + i, v.len - i) : 0;
		if (len) {
			i += len;
			continue;
		}
		str_put(out, v.ptr + plain, i - plain);
		len = utf8_len(v.ptr + i, v.len - i);
		if (len > 1) /* as an escape it is neither lost nor shown */
			str_printf(out, "\\u%04x", utf8_code_point(v.ptr + i, len));
		else if (len == 0)
			str_text(out, "\\ufffd");
		else
			quote_escape(out, c);
		i += len ? len : 1;
		plain = i;
	}
	if (v.len > plain)
		str_put(out, v.ptr + plain, v.len - plain);
	str_char(out, '"');
}

void json_view(struct json *j, struct view v)
{
	separate(j);
	json_quote(j->out, v);
}

void json_text(struct json *j, const char *s)
{
	if (s)
		json_view(j, view_str(s));
	else
		json_null(j);
}

void json_u64(struct json *j, uint64_t n)
{
	separate(j);
	str_u64(j->out, n);
}

void json_i64(struct json *j, int64_t n)
{
	separate(j);
	if (n < 0)
		str_char(j->out, '-');
	str_u64(j->out, n < 0 ? (uint64_t)0 - (uint64_t)n : (uint64_t)n);
}

/* 1 <= x < 999999 with six digits, as "%.6g" has it but for ties, at a tenth of its cost. */
static void put_six_digits(struct str *out, double x)
{
	uint64_t scale = 1, rest;
	while (x * (double)scale < 99999.95)
		scale *= 10;
	uint64_t n = (uint64_t)llrint(x * (double)scale);
	str_u64(out, n / scale);
	rest = n % scale;
	if (!rest)
		return;
	str_char(out, '.');
	for (; rest; rest = rest * 10 % scale)
		str_char(out, (char)('0' + rest * 10 / scale));
}

void json_double(struct json *j, double x)
{
	separate(j);
	if (x == 0)
		str_char(j->out, '0');
	else if (x >= 1 && x < 999999)
		put_six_digits(j->out, x);
	else if (isfinite(x))
		str_printf(j->out, "%.6g", x);
	else
		str_text(j->out, "null");
}

void json_bool(struct json *j, bool b)
{
	separate(j);
	str_text(j->out, b ? "true" : "false");
}

void json_null(struct json *j)
{
	separate(j);
	str_text(j->out, "null");
}

void json_textf(struct json *j, const char *fmt, ...)
{
	struct str s = STR_INIT;
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&s, fmt, ap);
	va_end(ap);
	json_view(j, str_as_view(&s));
	str_fini(&s);
}

void json_raw(struct json *j, struct view json_text)
{
	separate(j);
	str_view(j->out, json_text);
}

char *json_raw_room(struct json *j, size_t n)
{
	separate(j);
	return str_reserve(j->out, n) ? j->out->ptr + j->out->len : NULL;
}

void json_raw_end(struct json *j, const char *end)
{
	j->out->len = (size_t)(end - j->out->ptr);
	j->out->ptr[j->out->len] = '\0';
}
