/* SPDX-License-Identifier: MIT */
#include "weir/base/addr.h"

#include <criterion/criterion.h>
#include <ifaddrs.h>
#include <stdio.h>

#include "weir/base/defs.h"

static struct addr addr_of(const char *text)
{
	struct addr a;
	cr_assert(addr_parse(view_str(text), &a), "%s", text);
	return a;
}

static struct addr ip_of(const char *text)
{
	struct addr a;
	cr_assert(addr_parse_ip(view_str(text), &a), "%s", text);
	return a;
}

Test(addr, text_goes_both_ways)
{
	static const struct {
		const char *text;
		const char *formatted; /* NULL: the same */
		int family;
		uint16_t port;
	} rows[] = {
	    {"127.0.0.1:80", NULL, AF_INET, 80},
	    {"0.0.0.0:65535", NULL, AF_INET, 65535},
	    {"127.0.0.1:0", NULL, AF_INET, 0},
	    {"[::1]:80", NULL, AF_INET6, 80},
	    {"[2001:DB8:0:0::1]:1", "[2001:db8::1]:1", AF_INET6, 1},
	    {"*:80", "[::]:80", AF_INET6, 80},
	    {"[::ffff:10.0.0.1]:80", "10.0.0.1:80", AF_INET6, 80},
	    {"unix:/run/app.sock", NULL, AF_UNIX, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[ADDR_TEXT_MAX];
		struct addr a = addr_of(rows[i].text);
		size_t len = addr_format(&a, text);
		cr_assert_eq(len, strlen(text));
		cr_assert_str_eq(text, rows[i].formatted ? rows[i].formatted : rows[i].text);
		cr_assert_eq(a.sa.sa_family, rows[i].family);
		cr_assert_eq(addr_port(&a), rows[i].port);
		cr_assert_eq(addr_is_unix(&a), rows[i].family == AF_UNIX);
	}
}

Test(addr, twenty_bytes_hold_address_and_port)
{
	static const char *const texts[] = {"192.0.2.7:80", "[2001:db8::1]:443",
					    "[::ffff:10.0.0.1]:65535", "0.0.0.0:1"};
	cr_assert_eq(sizeof(struct addr_packed), 20);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct addr before = addr_of(texts[i]), after;
		memset(&after, 0xff, sizeof(after));
		struct addr_packed packed = addr_pack(&before);
		addr_unpack(&packed, &after);
		cr_assert(addr_eq(&before, &after), "%s", texts[i]);
	}
}

Test(addr, packed_a_unix_socket_is_one_without_a_path)
{
	struct addr before = addr_of("unix:/run/app.sock"), after;
	char text[ADDR_TEXT_MAX];
	memset(&after, 0xff, sizeof(after));
	struct addr_packed packed = addr_pack(&before);
	addr_unpack(&packed, &after);
	cr_assert(addr_is_unix(&after));
	addr_format(&after, text);
	cr_assert_str_eq(text, "unix:");
	packed = addr_pack(&(struct addr){.len = 0});
	addr_unpack(&packed, &after);
	cr_assert_eq(after.len, 0);
}

Test(addr, what_is_no_address)
{
	static const char *const bad[] = {"",
					  "127.0.0.1",
					  ":80",
					  "127.0.0.1:",
					  "127.0.0.1:65536",
					  "127.0.0.1:-1",
					  "127.1:80",
					  "256.0.0.1:80",
					  "127.0.0.1:80x",
					  "localhost:80",
					  "::1:80",
					  "[::1]",
					  "[::1:80",
					  "::1]:80",
					  "[127.0.0.1]:80",
					  "[]:80",
					  "[[::1]]:80",
					  "[::1%lo]:80",
					  "unix:",
					  "http://127.0.0.1:80"};
	struct addr a;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(addr_parse(view_str(bad[i]), &a), "\"%s\"", bad[i]);
	cr_assert_not(addr_parse(VIEW("127.0.0.1\0:80"), &a));
	cr_assert_not(addr_parse(VIEW("unix:/a\0b"), &a));
}

Test(addr, unix_paths_have_a_limit)
{
	char text[5 + 109];
	struct addr a;
	memset(text, 'x', sizeof(text));
	memcpy(text, "unix:", 5);
	cr_assert(addr_parse(view_of(text, 5 + 107), &a));
	char formatted[ADDR_TEXT_MAX];
	cr_assert_eq(addr_format(&a, formatted), 5 + 107);
	cr_assert_not(addr_parse(view_of(text, 5 + 108), &a));
}

Test(addr, equality)
{
	static const char *const all[] = {"127.0.0.1:80", "127.0.0.1:81", "127.0.0.2:80",
					  "[::1]:80",     "[::2]:80",     "unix:/a",
					  "unix:/b"};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		for (size_t k = 0; k < ARRAY_LEN(all); k++) {
			struct addr a = addr_of(all[i]), b = addr_of(all[k]);
			cr_assert_eq(addr_eq(&a, &b), i == k, "%s and %s", all[i], all[k]);
		}
	}
	struct addr none = {0}, one = addr_of("[::1]:80");
	cr_assert(addr_eq(&none, &none));
	cr_assert_not(addr_eq(&none, &one));
}

Test(addr, ip_only)
{
	char text[ADDR_IP_TEXT_MAX];
	struct addr a = ip_of("[fe80::1]");
	addr_format_ip(&a, text);
	cr_assert_str_eq(text, "fe80::1");
	a = ip_of("::ffff:192.0.2.1");
	addr_format_ip(&a, text);
	cr_assert_str_eq(text, "192.0.2.1");
	a = addr_of("unix:/a");
	addr_format_ip(&a, text);
	cr_assert_str_eq(text, "unix");
	struct addr none = {0};
	char long_text[ADDR_TEXT_MAX];
	addr_format(&none, long_text);
	cr_assert_str_eq(long_text, "-");
	cr_assert_not(addr_parse_ip(VIEW("10.1.2.3:80"), &a));
}

Test(cidr, membership)
{
	static const struct {
		const char *net;
		const char *ip;
		bool in;
	} rows[] = {
	    {"10.0.0.0/8", "10.255.0.1", true},
	    {"10.0.0.0/8", "11.0.0.0", false},
	    {"10.1.2.3/8", "10.9.9.9", true}, /* host bits do not count */
	    {"192.0.2.128/25", "192.0.2.129", true},
	    {"192.0.2.128/25", "192.0.2.127", false},
	    {"192.0.2.7", "192.0.2.7", true},
	    {"192.0.2.7", "192.0.2.8", false},
	    {"0.0.0.0/0", "255.255.255.255", true},
	    {"0.0.0.0/0", "::1", false},
	    {"10.0.0.0/8", "::ffff:10.0.0.1", true}, /* a dual-stack socket says it so */
	    {"fd00::/8", "fdff::1", true},
	    {"fd00::/8", "fe00::1", false},
	    {"fd00::/8", "10.0.0.1", false},
	    {"2001:db8::/33", "2001:db8:7fff::", true},
	    {"2001:db8::/33", "2001:db8:8000::", false},
	    {"::1", "::1", true},
	    {"::1", "::2", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cidr net;
		struct addr a = ip_of(rows[i].ip);
		cr_assert(cidr_parse(view_str(rows[i].net), &net));
		cr_assert_eq(cidr_has(&net, &a), rows[i].in, "%s in %s", rows[i].ip, rows[i].net);
	}
}

Test(cidr, every_prefix_length_has_its_border)
{
	for (unsigned bits = 1; bits <= 32; bits++) {
		char text[32];
		struct cidr net;
		snprintf(text, sizeof(text), "0.0.0.0/%u", bits);
		cr_assert(cidr_parse(view_str(text), &net));
		struct addr a = ip_of("0.0.0.0");
		a.in4.sin_addr.s_addr = htonl(UINT32_C(1) << (32 - bits)); /* the last bit inside */
		cr_assert_not(cidr_has(&net, &a), "%s", text);
		a.in4.sin_addr.s_addr = htonl((UINT32_C(1) << (32 - bits)) - 1);
		cr_assert(cidr_has(&net, &a), "%s", text);
	}
}

Test(cidr, what_is_no_network)
{
	static const char *const bad[] = {
	    "",     "/8",     "10.0.0.0/",    "10.0.0.0/33", "10.0.0.0/-1",
	    "10.0", "::/129", "10.0.0.0/8/8", "10.0.0.0:80", "host/8"};
	struct cidr net;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(cidr_parse(view_str(bad[i]), &net), "\"%s\"", bad[i]);
}

Test(cidr, any_of_several)
{
	struct cidr nets[2];
	struct addr in = ip_of("192.168.7.7"), out = ip_of("192.169.0.1"), un = addr_of("unix:/a");
	cr_assert(cidr_parse(VIEW("10.0.0.0/8"), &nets[0]));
	cr_assert(cidr_parse(VIEW("192.168.0.0/16"), &nets[1]));
	cr_assert(cidr_any(nets, 2, &in));
	cr_assert_not(cidr_any(nets, 1, &in));
	cr_assert_not(cidr_any(nets, 2, &out));
	cr_assert_not(cidr_any(nets, 2, &un));
}

Test(addr, nobody_can_be_reached_there)
{
	static const struct {
		const char *text;
		bool unreachable;
	} rows[] = {
	    {"0.0.0.0:80", true},
	    {"[::]:80", true},
	    {"*:80", true},
	    {"255.255.255.255:80", true},
	    {"224.0.0.1:80", true},
	    {"239.255.255.255:80", true},
	    {"[ff02::1]:80", true},
	    {"[::ffff:224.0.0.1]:80", true},
	    {"[::ffff:0.0.0.0]:80", true},
	    {"127.0.0.1:80", false},
	    {"223.255.255.255:80", false},
	    {"240.0.0.1:80", false},
	    {"[::1]:80", false},
	    {"[fe80::1]:80", false},
	    {"unix:/run/x", false},
	    {"[::ffff:10.0.0.1]:80", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr addr;
		cr_assert(addr_parse(view_str(rows[i].text), &addr), "%s", rows[i].text);
		cr_expect_eq(addr_unreachable(&addr) != NULL, rows[i].unreachable, "%s",
			     rows[i].text);
	}
}

/* ---- interfaces, of which the test says which there are ---- */

static struct ifaddrs *interfaces;
static unsigned n_asked;

int getifaddrs(struct ifaddrs **out)
{
	n_asked++;
	*out = interfaces;
	return interfaces ? 0 : -1;
}

void freeifaddrs(struct ifaddrs *all)
{
	cr_assert_eq(all, interfaces);
}

Test(addr, what_is_of_an_interface_is_here)
{
	static const struct {
		const char *text;
		bool here;
	} rows[] = {
	    {"127.0.0.1:1", true},      {"127.255.0.9:1", true},        {"[::1]:1", true},
	    {"192.0.2.7:1", true},      {"192.0.2.8:1", false},         {"[2001:db8::7]:1", true},
	    {"[2001:db8::8]:1", false}, {"[::ffff:192.0.2.7]:1", true}, {"128.0.0.1:1", false},
	    {"unix:/run/x", false},
	};
	struct addr v4 = addr_of("192.0.2.7:9"), v6 = addr_of("[2001:db8::7]:9");
	struct sockaddr link = {.sa_family = AF_PACKET};
	struct ifaddrs all[] = {{.ifa_next = &all[1]}, /* one without an address */
				{.ifa_next = &all[2], .ifa_addr = &link},
				{.ifa_next = &all[3], .ifa_addr = &v4.sa},
				{.ifa_addr = &v6.sa}};
	struct addr_interfaces own = {0};
	interfaces = all;
	n_asked = 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr addr = addr_of(rows[i].text);
		cr_expect_eq(addr_is_here(&own, &addr), rows[i].here, "%s", rows[i].text);
	}
	cr_expect_eq(n_asked, 1, "once for all");
	addr_interfaces_free(&own);
	interfaces = NULL;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr addr = addr_of(rows[i].text);
		cr_expect_eq(addr_is_here(&own, &addr), i < 3, "%s: nobody knows", rows[i].text);
	}
	addr_interfaces_free(&own);
}
