/* SPDX-License-Identifier: MIT */
/* The PROXY protocol: what is taken, what is refused, what is written. */
#include "fixture.h"

#include "weir/base/check.h"
#include "weir/net/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2(rest) VIEW(SIGNATURE rest)
#define TCP4_ADDRESSES "\x0a\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x01\xbb"

static struct proxy_header header;
static const char *why;

static enum proxy_result parse(struct view bytes)
{
	why = NULL;
	enum proxy_result result = proxy_parse(bytes, &header, &why);
	cr_expect((result == PROXY_BAD) == (why != NULL));
	return result;
}

static const char *text(const struct addr *addr)
{
	static char out[ADDR_TEXT_MAX];
	addr_format(addr, out);
	return out;
}

static void expect_bad(struct view bytes, const char *sentence)
{
	cr_expect_eq(parse(bytes), PROXY_BAD, "%s", sentence);
	if (why)
		cr_expect(strstr(why, sentence), "got: %s, expected: %s", why, sentence);
}

Test(proxy_protocol, version_1)
{
	cr_assert_eq(parse(VIEW("PROXY TCP4 192.0.2.1 192.0.2.2 65535 0\r\nGET /")), PROXY_OK);
	cr_expect_eq(header.len, 40);
	cr_expect_eq(header.version, 1);
	cr_expect_not(header.local);
	cr_expect_str_eq(text(&header.source), "192.0.2.1:65535");
	cr_expect_str_eq(text(&header.destination), "192.0.2.2:0");
	cr_assert_eq(parse(VIEW("PROXY TCP6 2001:db8::1 ::1 1 2\r\n")), PROXY_OK);
	cr_expect_str_eq(text(&header.source), "[2001:db8::1]:1");
	cr_assert_eq(parse(VIEW("PROXY UNKNOWN\r\n")), PROXY_OK);
	cr_expect(header.local);
	cr_assert_eq(parse(VIEW("PROXY UNKNOWN whatever ::1 x\r\n")), PROXY_OK);
	cr_expect(header.local);
}

Test(proxy_protocol, version_1_refused)
{
	static const char *const addresses[] = {
	    "PROXY TCP4 192.0.2.1 192.0.2.2 65536 0\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 01 0\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1 +2\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
	    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
	    "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
	    "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
	    "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
	    "PROXY TCP4 ::1 192.0.2.2 1 2\r\n",
	    "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
	    "PROXY TCP4 \r\n",
	    "PROXY TCP4\r\n",
	};
	for (unsigned i = 0; i < ARRAY_LEN(addresses); i++)
		expect_bad(view_str(addresses[i]), "malformed addresses");
	expect_bad(VIEW("PROXY TCP4 1.2.3.4 \0.2.3.4 1 2\r\n"), "malformed addresses");
	expect_bad(VIEW("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n"), "unknown protocol");
	expect_bad(VIEW("PROXY \r\n"), "unknown protocol");
	expect_bad(VIEW("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"), "CRLF");
	expect_bad(VIEW("GET / HTTP/1.1\r\n"), "no PROXY header");
	expect_bad(VIEW("PROXX"), "no PROXY header");
	expect_bad(VIEW("\x16\x03\x01"), "no PROXY header");
	char longest[108];
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "PROXY UNKNOWN ", 14);
	cr_expect_eq(parse(view_of(longest, 106)), PROXY_MORE);
	expect_bad(view_of(longest, 107), "longer than 107");
	memcpy(longest + 105, "\r\n", 2);
	cr_expect_eq(parse(view_of(longest, 108)), PROXY_OK);
	cr_expect_eq(header.len, 107);
}

Test(proxy_protocol, each_prefix_wants_more)
{
	static const struct view whole[] = {
	    VIEW("PROXY TCP4 192.0.2.1 192.0.2.2 65535 0\r\n"),
	    V2("\x21\x11\x00\x0c" TCP4_ADDRESSES),
	};
	for (unsigned i = 0; i < ARRAY_LEN(whole); i++) {
		for (size_t n = 0; n < whole[i].len; n++)
			cr_expect_eq(parse(view_head(whole[i], n)), PROXY_MORE, "%zu", n);
		cr_expect_eq(parse(whole[i]), PROXY_OK);
	}
}

Test(proxy_protocol, version_2)
{
	cr_assert_eq(parse(V2("\x21\x11\x00\x0c" TCP4_ADDRESSES "rest")), PROXY_OK);
	cr_expect_eq(header.len, 28);
	cr_expect_str_eq(text(&header.source), "10.0.0.1:12345");
	cr_expect_str_eq(text(&header.destination), "10.0.0.2:443");
	cr_assert_eq(parse(V2("\x20\x00\x00\x00")), PROXY_OK);
	cr_expect(header.local);
	cr_assert_eq(parse(V2("\x20\x11\x00\x03xxx")), PROXY_OK, "LOCAL: the rest is passed over");
	cr_expect_eq(header.len, 19);
	cr_assert_eq(parse(V2("\x21\x11\x00\x22" TCP4_ADDRESSES "\x01\x00\x02h2"
			      "\x02\x00\x03"
			      "a.b\x05\x00\x01"
			      "7\xee\x00\x01z"
			      "\x04\x00\x00")),
		     PROXY_OK);
	cr_expect(view_eq(header.alpn, VIEW("h2")));
	cr_expect(view_eq(header.authority, VIEW("a.b")));
	cr_expect(view_eq(header.unique_id, VIEW("7")));
}

Test(proxy_protocol, version_2_refused)
{
	expect_bad(V2("\x11\x11\x00\x00"), "unknown version or command");
	expect_bad(V2("\x22\x11\x00\x00"), "unknown version or command");
	expect_bad(V2("\x21\x11\x00\x0b" TCP4_ADDRESSES), "too short");
	expect_bad(V2("\x21\x12\x00\x0c" TCP4_ADDRESSES), "another protocol");
	expect_bad(V2("\x21\x11\x00\x0e" TCP4_ADDRESSES "\x01\x00"), "beyond its end");
	expect_bad(V2("\x21\x11\x00\x10" TCP4_ADDRESSES "\x01\x00\x02h"), "beyond its end");
	expect_bad(V2("\x21\x11\x00\x10" TCP4_ADDRESSES "\x20\x00\x01\x01"), "TLS entry");
	expect_bad(V2("\x21\x11\x00\x13" TCP4_ADDRESSES "\x03\x00\x04\x00\x00\x00\x00"),
		   "checksum");
	expect_bad(V2("\x21\x11\xff\xff" TCP4_ADDRESSES), "larger than 4096");
}

/* Made with an independent CRC-32C over these very bytes. */
Test(proxy_protocol, checksum)
{
	cr_expect_eq(parse(V2("\x21\x11\x00\x13" TCP4_ADDRESSES "\x03\x00\x04\x49\x27\x7a\x57")),
		     PROXY_OK);
}

static void round_trip(unsigned version, const char *source, const char *destination)
{
	char out[PROXY_WRITE_MAX];
	struct proxy_header in = {
	    .alpn = VIEW("h2"),
	    .authority = VIEW("app.example"),
	    .unique_id = VIEW("01HX"),
	    .tls = true,
	};
	cr_assert(addr_parse(view_str(source), &in.source));
	cr_assert(addr_parse(view_str(destination), &in.destination));
	size_t len = proxy_write(version, &in, out);
	cr_assert_eq(parse(view_of(out, len)), PROXY_OK, "%s", why);
	cr_expect_eq(header.len, len);
	cr_expect_eq(header.version, version);
	cr_expect(addr_eq(&header.source, &in.source));
	cr_expect(addr_eq(&header.destination, &in.destination));
	if (version == 1)
		return;
	cr_expect(header.tls);
	cr_expect(view_eq(header.alpn, in.alpn));
	cr_expect(view_eq(header.authority, in.authority));
	cr_expect(view_eq(header.unique_id, in.unique_id));
}

Test(proxy_protocol, what_is_written_can_be_read)
{
	for (unsigned version = 1; version <= 2; version++) {
		round_trip(version, "192.0.2.1:1", "192.0.2.2:65535");
		round_trip(version, "[2001:db8::1]:80", "[::1]:1");
	}
}

Test(proxy_protocol, who_cannot_be_named)
{
	char out[PROXY_WRITE_MAX];
	struct proxy_header in = {.local = true};
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned version = 1; version <= 2; version++) {
			size_t len = proxy_write(version, &in, out);
			cr_assert_eq(parse(view_of(out, len)), PROXY_OK, "%s", why);
			cr_expect(header.local);
		}
		in.local = false; /* then: no address at all, two that do not fit */
		cr_assert(addr_parse(VIEW("192.0.2.1:1"), &in.source));
		if (i)
			cr_assert(addr_parse(VIEW("[::1]:1"), &in.destination));
	}
}

Test(proxy_protocol, entries_that_are_too_long_are_left_out)
{
	static const char filler[400];
	char out[PROXY_WRITE_MAX];
	struct proxy_header in = {
	    .alpn = view_of(filler, PROXY_TLV_MAX),
	    .authority = view_of(filler, PROXY_TLV_MAX + 1),
	    .unique_id = view_of(filler, 129),
	};
	cr_assert(addr_parse(VIEW("192.0.2.1:1"), &in.source));
	cr_assert(addr_parse(VIEW("192.0.2.1:2"), &in.destination));
	cr_assert_eq(parse(view_of(out, proxy_write(2, &in, out))), PROXY_OK);
	cr_expect_eq(header.alpn.len, PROXY_TLV_MAX);
	cr_expect_eq(header.authority.len, 0);
	cr_expect_eq(header.unique_id.len, 0);
}
