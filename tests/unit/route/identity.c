/* SPDX-License-Identifier: MIT */
/* Who the client is, and what is said about it: every form that proxies write. */
#include "weir/route/identity.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "weir/base/defs.h"
#include "weir/http/h1.h"

static struct message msg;
static char texts[4096];
static struct cidr nets[2];
static const struct conf_cidrs trusted = {.rows = nets, .n = 2};

static void setup(void)
{
	cr_assert(cidr_parse(VIEW("10.0.0.0/8"), &nets[0]));
	cr_assert(cidr_parse(VIEW("fd00::/8"), &nets[1]));
}

TestSuite(route_identity, .init = setup);

/* `lines` end in CRLF each. */
static void parse(const char *lines)
{
	static const struct h1_limits limits = {sizeof(texts), sizeof(texts), HEADERS_MAX};
	static char head[4096];
	enum reject why;
	int n = snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
	cr_assert_eq(h1_parse_request(view_of(head, (size_t)n), &limits, &msg, &why), H1_OK, "%s",
		     lines);
}

static void believe(const char *lines, struct identity *who, struct addr *client)
{
	*who =
	    (struct identity){.peer_ip = VIEW("10.0.0.1"), .scheme = VIEW("http"), .trusted = true};
	cr_assert(addr_parse_ip(who->peer_ip, client));
	parse(lines);
	identity_believe(who, &msg, &trusted, client);
}

#define XFF(list) "X-Forwarded-For: " list "\r\n"
#define FWD(list) "Forwarded: " list "\r\n"
#define SCHEME(word) "X-Forwarded-Scheme: " word "\r\n"
#define SSL(word) "X-Forwarded-Ssl: " word "\r\n"
#define PROTO(list) "X-Forwarded-Proto: " list "\r\n"

Test(route_identity, the_client_in_every_form)
{
	static const struct {
		const char *lines, *client;
	} rows[] = {
	    {"", "10.0.0.1"},
	    {XFF("192.0.2.7"), "192.0.2.7"},
	    {XFF("192.0.2.7:4711"), "192.0.2.7"},
	    {XFF("2001:db8::7"), "2001:db8::7"},
	    {XFF("[2001:db8::7]"), "2001:db8::7"},
	    {XFF("[2001:db8::7]:4711"), "2001:db8::7"},
	    {XFF("::ffff:192.0.2.7"), "192.0.2.7"},
	    {XFF("192.0.2.7, 10.0.0.2:80, [fd00::1]:80"), "192.0.2.7"},
	    {XFF("6.6.6.6, 192.0.2.7,, 10.0.0.2 , ,"), "192.0.2.7"},
	    {XFF("6.6.6.6, 192.0.2.7") XFF("") XFF("10.0.0.2"), "192.0.2.7"},
	    {XFF("10.0.0.3, 10.0.0.2"), "10.0.0.3"},
	    {XFF(""), "10.0.0.1"},
	    {XFF(", ,"), "10.0.0.1"},
	    /* whoever cannot be named is in no network, not even the proxy's */
	    {XFF("unknown"), "unknown"},
	    {XFF("192.0.2.7, unknown"), "unknown"},
	    {XFF("192.0.2.7, _hidden, 10.0.0.2"), "unknown"},
	    {XFF("192.0.2.7:port"), "unknown"},
	    {XFF("192.0.2.7:"), "unknown"},
	    {XFF("[192.0.2.7]:80"), "unknown"},
	    {XFF("[2001:db8::7]80"), "unknown"},
	    {XFF("[2001:db8::7"), "unknown"},
	    {XFF("192.0.2"), "unknown"},
	    {XFF("unknown, 192.0.2.7"), "192.0.2.7"},
	    /* RFC 7239 */
	    {FWD("for=192.0.2.7"), "192.0.2.7"},
	    {FWD("For=192.0.2.7;proto=https;by=10.0.0.1"), "192.0.2.7"},
	    {FWD("by=10.0.0.1; for=\"192.0.2.7:80\" ;host=a"), "192.0.2.7"},
	    {FWD("for=\"[2001:db8::7]:_x\""), "2001:db8::7"},
	    {FWD("for=\"[2001:db8::7]\""), "2001:db8::7"},
	    {FWD("for=6.6.6.6, for=192.0.2.7, ,for=10.0.0.2"), "192.0.2.7"},
	    {FWD("for=192.0.2.7") FWD("for=10.0.0.2"), "192.0.2.7"},
	    {FWD("for=unknown"), "unknown"},
	    {FWD("for=_SEVKISEK"), "unknown"},
	    {FWD("proto=https"), "unknown"},
	    {FWD("for=192.0.2.7;for=10.0.0.2"), "unknown"},
	    {FWD("for=\"192.0.2.7"), "unknown"},
	    {FWD("for=192.0.2.7\""), "unknown"},
	    {FWD("for=192.0.2.7;"), "192.0.2.7"},
	    {FWD("for"), "unknown"},
	    {FWD("=192.0.2.7"), "unknown"},
	    {FWD("for="), "unknown"},
	    {FWD("for=6.6.6.6;host=\"a, for=10.0.0.9"), "unknown"},
	    /* a proxy that writes the one passes on the other as it came */
	    {FWD("for=6.6.6.6") XFF("192.0.2.7"), "192.0.2.7"},
	    {FWD("for=192.0.2.7") XFF(""), "192.0.2.7"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct identity who;
		struct addr client;
		char text[ADDR_IP_TEXT_MAX];
		believe(rows[i].lines, &who, &client);
		addr_format_ip(&client, text);
		cr_assert_str_eq(text, rows[i].client, "%s: %s", rows[i].lines, text);
		cr_assert_eq(client.len == 0, strcmp(text, "unknown") == 0);
	}
}

Test(route_identity, the_scheme_at_the_place_of_the_client)
{
	static const struct {
		const char *lines, *scheme;
	} rows[] = {
	    {XFF("192.0.2.7"), "http"},
	    {PROTO("https"), "https"},
	    {PROTO("HTTPS"), "https"},
	    {PROTO("wss"), "https"},
	    {PROTO("gopher"), "http"},
	    {XFF("192.0.2.7, 10.0.0.2") PROTO("https, http"), "https"},
	    {XFF("6.6.6.6, 192.0.2.7") PROTO("https, http"), "http"},
	    {XFF("192.0.2.7, 10.0.0.2, 10.0.0.3") PROTO("https"), "https"},
	    {FWD("for=192.0.2.7;proto=https"), "https"},
	    {FWD("for=192.0.2.7;proto=https, for=10.0.0.2;proto=http"), "https"},
	    {FWD("for=6.6.6.6;proto=https, for=192.0.2.7;proto=http"), "http"},
	    {FWD("for=192.0.2.7;proto=https") PROTO("http"), "http"},
	    {FWD("proto=https") XFF("192.0.2.7"), "http"},
	    {FWD("proto=https"), "https"},
	    /* what others write instead, the last of each */
	    {SCHEME("https"), "https"},
	    {XFF("192.0.2.7") SCHEME("https"), "https"},
	    {SCHEME("http") SCHEME("HTTPS"), "https"},
	    {SCHEME("https") SCHEME("http"), "http"},
	    {SSL("on"), "https"},
	    {XFF("192.0.2.7") SSL("On"), "https"},
	    {SSL("off"), "http"},
	    {SSL("on") SSL("off"), "http"},
	    {SSL("1"), "http"},
	    {"X_Forwarded_Ssl: on\r\n", "http"},
	    {PROTO("http") SCHEME("https") SSL("on"), "http"},
	    {FWD("for=192.0.2.7;proto=http") SCHEME("https"), "http"},
	    {FWD("for=192.0.2.7") SSL("on"), "https"},
	    {SCHEME("http") SSL("on"), "http"},
	    {PROTO("gopher") SSL("on"), "https"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct identity who;
		struct addr client;
		believe(rows[i].lines, &who, &client);
		cr_assert(view_eq(who.scheme, view_str(rows[i].scheme)), "%s", rows[i].lines);
	}
}

/* Every field that goes on, as lines. */
static const char *claimed(const char *lines, struct identity *who, const struct addr *forwarded)
{
	static char head[4096];
	struct str room = str_fixed(texts, sizeof(texts));
	parse(lines);
	who->forwarded = forwarded;
	identity_claim(who, &msg, msg.upgrade, &room);
	struct h1_out out = h1_out_init(head, sizeof(head) - 1);
	h1_put_headers(&out, &msg);
	cr_assert_not(out.overflow || room.overflow);
	head[out.len] = '\0';
	return head;
}

Test(route_identity, strangers_say_nothing_about_themselves)
{
	struct identity who = {.peer_ip = VIEW("192.0.2.7"), .scheme = VIEW("https")};
	const char *got = claimed(
	    XFF("6.6.6.6") FWD("for=6.6.6.6") PROTO(
		"gopher") "X-Forwarded-Prefix: /x\r\nX-Forwarded-Scheme: x\r\nX-Forwarded-Ssl: "
			  "on\r\n"
			  "X-Forwarded-User: root\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Host: "
			  "evil\r\n"
			  "X-Forwarded-Server: x\r\nX-Forwarded: for=x\r\nX-Forwarded-By: x\r\n"
			  "X-Real-IP: 6.6.6.6\r\nX-Client-Cert-Subject: CN=root\r\n"
			  "X-Client-Cert-Issuer: x\r\nX-Own: 1\r\nProxy: x\r\n",
	    &who, NULL);
	cr_assert_str_eq(got, "Host: a\r\nX-Own: 1\r\nX-Forwarded-For: 192.0.2.7\r\n"
			      "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n");
}

Test(route_identity, trusted_proxies_are_joined)
{
	struct identity who = {
	    .peer_ip = VIEW("10.0.0.1"), .scheme = VIEW("http"), .trusted = true};
	cr_assert_str_eq(
	    claimed(XFF("192.0.2.7")
			PROTO("https") "X-Forwarded-Prefix: /x\r\n"
				       "X-Client-Cert-Subject: CN=a\r\nX-Forwarded-Host: b\r\n",
		    &who, NULL),
	    "Host: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /x\r\n"
	    "X-Client-Cert-Subject: CN=a\r\nX-Forwarded-Host: b\r\n"
	    "X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n");
	struct addr client = {.len = 0};
	cr_assert_str_eq(claimed(FWD("for=_x"), &who, &client),
			 "Host: a\r\nForwarded: for=_x\r\nX-Forwarded-For: unknown, 10.0.0.1\r\n"
			 "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"
			 "Forwarded: for=10.0.0.1\r\n");
}

Test(route_identity, the_certificate_of_this_connection_is_the_one)
{
	struct identity who = {.peer_ip = VIEW("10.0.0.1"),
			       .scheme = VIEW("https"),
			       .subject = VIEW("CN=real"),
			       .fingerprint = VIEW("ab"),
			       .trusted = true};
	cr_assert_str_eq(
	    claimed("X-Client-Cert-Subject: CN=root\r\n", &who, NULL),
	    "Host: a\r\nX-Forwarded-For: 10.0.0.1\r\nX-Client-Cert-Subject: CN=real\r\n"
	    "X-Client-Cert-Fingerprint: ab\r\nX-Forwarded-Proto: https\r\n"
	    "X-Forwarded-Host: a\r\n");
}

Test(route_identity, an_upgrade_is_seen)
{
	struct identity who = {.peer_ip = VIEW("192.0.2.7"), .scheme = VIEW("http")};
	claimed("Connection: Upgrade\r\nUpgrade: websocket\r\n", &who, NULL);
	cr_assert(message_find(&msg, HDR_UPGRADE) && message_find(&msg, HDR_CONNECTION));
	claimed("Connection: X-Hop\r\nUpgrade: websocket\r\n", &who, NULL);
	cr_assert_not(message_find(&msg, HDR_UPGRADE) || message_find(&msg, HDR_CONNECTION));
	cr_assert(msg.names_fields);
}
