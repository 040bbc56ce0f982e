/* SPDX-License-Identifier: MIT */
/* Paths and hosts in the one form in which they are compared. */
#include "normalise.h"

#include "weir/base/defs.h"
#include "weir/base/hex.h"

/* RFC 3986 2.3 */
static bool is_unreserved(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

bool path_is_normal(struct view path)
{
	if (path.len == 0 || path.ptr[0] != '/')
		return true;
	bool after_slash = false;
	for (size_t i = 0; i < path.len; i++) {
		char c = path.ptr[i];
		if (c == '%')
			return false;
		if (after_slash && (c == '.' || c == '/'))
			return false;
		after_slash = c == '/';
	}
	return true;
}

struct out {
	char *room;
	size_t len;
	size_t segment; /* where the last segment begins: past its slash */
	size_t half;    /* see half_after */
};

/* The last segment is complete: resolve it if it is "." or "..". */
static bool resolve_dots(struct out *out)
{
	struct view last = view_of(out->room + out->segment, out->len - out->segment);
	if (view_eq(last, VIEW("."))) {
		out->len = out->segment;
		return true;
	}
	if (!view_eq(last, VIEW("..")))
		return false;
	out->len = out->segment;
	if (out->len > 1) {
		out->len--; /* the slash between the two */
		while (out->room[out->len - 1] != '/')
			out->len--;
	}
	return true;
}

static void put_slash(struct out *out)
{
	bool empty = out->len == out->segment;
	bool gone = resolve_dots(out);
	if (!gone && !(empty && out->len > 0))
		out->room[out->len++] = '/';
	out->segment = out->len;
}

static size_t put_escape(char *room, int byte)
{
	static const char digits[] = "0123456789ABCDEF";
	room[0] = '%';
	room[1] = digits[byte >> 4];
	room[2] = digits[byte & 15];
	return 3;
}

/* After so many more digits a '%' that is itself would begin an escape; `c` comes next. */
static size_t half_after(size_t half, char c)
{
	return c == '%' ? 2 : half && hex_value(c) >= 0 ? half - 1 : 0;
}

/* "%XX" at p: decoded or in upper case; a digit never completes an escape that nobody sent. */
static void put_encoded(struct out *out, const char *p)
{
	int byte = hex_value(p[1]) << 4 | hex_value(p[2]);
	bool joins = out->half && hex_value((char)byte) >= 0;
	out->half = 0;
	if (is_unreserved(byte) && !joins) {
		out->room[out->len++] = (char)byte;
		return;
	}
	out->len += put_escape(out->room + out->len, byte);
}

struct view path_normalise(struct view path, char *room)
{
	if (path.len == 0 || path.ptr[0] != '/')
		return path;
	struct out out = {.room = room};
	for (size_t i = 0; i < path.len; i++) {
		const char *p = path.ptr + i;
		if (*p == '/') {
			put_slash(&out);
			out.half = 0;
		} else if (*p == '%' && path.len - i > 2 && hex_value(p[1]) >= 0 &&
			   hex_value(p[2]) >= 0) {
			put_encoded(&out, p);
			i += 2;
		} else {
			room[out.len++] = *p;
			out.half = half_after(out.half, *p);
		}
	}
	resolve_dots(&out);
	return view_of(room, out.len);
}

/* The next byte with %XX decoded; a '%' that begins no such thing is itself. */
static int decoded_byte(struct view *v)
{
	const char *p = v->ptr;
	if (p[0] == '%' && v->len > 2 && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
		*v = view_skip(*v, 3);
		return hex_value(p[1]) << 4 | hex_value(p[2]);
	}
	*v = view_skip(*v, 1);
	return (unsigned char)p[0];
}

bool argument_eq(struct view sent, struct view wanted)
{
	while (sent.len && wanted.len) {
		bool plus = sent.ptr[0] == '+';
		int is = decoded_byte(&sent), want = decoded_byte(&wanted);
		if (is != want && !(plus && want == ' '))
			return false;
	}
	return sent.len == wanted.len;
}

struct view argument_decode(struct view value, char *room)
{
	size_t n = 0;
	while (value.len) {
		bool plus = value.ptr[0] == '+';
		int byte = decoded_byte(&value);
		room[n++] = plus ? ' ' : (char)byte;
	}
	return view_of(room, n);
}

struct view query_normalise(struct view query, char *room)
{
	size_t n = 0, half = 0;
	bool in_name = true;
	while (query.len) {
		char sent = query.ptr[0];
		size_t before = query.len;
		int byte = decoded_byte(&query);
		bool escaped = before - query.len > 1;
		if (sent == '&' || sent == '=')
			in_name = sent == '&';
		bool joins = half && hex_value((char)byte) >= 0;
		if (escaped && (byte == '&' || byte == '%' || joins || (byte == '=' && in_name)))
			n += put_escape(room + n, byte);
		else
			room[n++] = sent == '+' ? ' ' : (char)byte;
		half = escaped ? 0 : half_after(half, sent);
	}
	return view_of(room, n);
}

/* Where a ":port" begins, or the length: "a:80", "[::1]:80", but not "::1". */
static size_t before_port(struct view host)
{
	size_t i = host.len;
	while (i > 0 && char_is_digit(host.ptr[i - 1]))
		i--;
	if (i == 0 || host.ptr[i - 1] != ':')
		return host.len;
	struct view before = view_head(host, i - 1);
	bool bracket = before.len && before.ptr[before.len - 1] == ']';
	return bracket || view_chr(before, ':') < 0 ? before.len : host.len;
}

/* Eight bytes: whether one of them is a capital letter. */
static inline bool has_capital8(const char *p)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
	uint64_t x;
	memcpy(&x, p, 8);
	uint64_t low = x & ~tops; /* sums stay in their byte */
	uint64_t from_a = low + ones * (0x80 - 'A'), behind_z = low + ones * (0x7f - 'Z');
	return (from_a & ~behind_z & ~x & tops) != 0;
}

static bool has_capital(struct view v)
{
	size_t i = 0;
	for (; i + 8 <= v.len; i += 8)
		if (has_capital8(v.ptr + i))
			return true;
	if (v.len >= 8) /* some of them once more */
		return has_capital8(v.ptr + v.len - 8);
	for (; i < v.len; i++)
		if (char_lower(v.ptr[i]) != v.ptr[i])
			return true;
	return false;
}

struct view host_normalise(struct view host, char room[HOST_MAX])
{
	host.len = before_port(host);
	if (host.len && host.ptr[host.len - 1] == '.')
		host.len--;
	if (host.len > HOST_MAX)
		return VIEW("");
	if (likely(!has_capital(host)))
		return host;
	for (size_t i = 0; i < host.len; i++)
		room[i] = char_lower(host.ptr[i]);
	return view_of(room, host.len);
}
