/* SPDX-License-Identifier: MIT */
/*
 * Names of the DNS: what is asked, what two answers mean together, when it is asked again.  The
 * test answers in place of c-ares (the linker's --wrap).
 */
#ifdef WEIR_DNS
#include <arpa/inet.h>

#include "discover/dns_resolver.h"
#include "fixture.h"

void __wrap_ares_getaddrinfo(ares_channel channel, const char *name, const char *service,
			     const struct ares_addrinfo_hints *hints,
			     ares_addrinfo_callback callback, void *arg);
void __wrap_ares_freeaddrinfo(struct ares_addrinfo *info);
void __wrap_ares_query(ares_channel channel, const char *name, int class, int type,
		       ares_callback callback, void *arg);

static struct question {
	char name[128];
	int family; /* 0: of an SRV record */
	ares_addrinfo_callback addresses;
	ares_callback records;
	void *arg;
} open[400];

static size_t n_open;
static unsigned n_questions;

static struct question *put(const char *name, int family, void *arg)
{
	cr_assert_lt(n_open, ARRAY_LEN(open));
	struct question *q = &open[n_open++];
	*q = (struct question){.family = family, .arg = arg};
	snprintf(q->name, sizeof(q->name), "%s", name);
	n_questions++;
	return q;
}

void __wrap_ares_getaddrinfo(ares_channel channel, const char *name, const char *service,
			     const struct ares_addrinfo_hints *hints,
			     ares_addrinfo_callback callback, void *arg)
{
	cr_assert(channel && !service);
	put(name, hints->ai_family, arg)->addresses = callback;
}

void __wrap_ares_query(ares_channel channel, const char *name, int class, int type,
		       ares_callback callback, void *arg)
{
	cr_assert(channel && class == 1 && type == 33);
	put(name, 0, arg)->records = callback;
}

void __wrap_ares_freeaddrinfo(struct ares_addrinfo *info)
{
	for (struct ares_addrinfo_node *it = info ? info->nodes : NULL, *next; it; it = next) {
		next = it->ai_next;
		free(it->ai_addr);
		free(it);
	}
	free(info);
}

static struct question taken(const char *name, int family)
{
	for (size_t i = 0; i < n_open; i++)
		if (strcmp(open[i].name, name) == 0 && open[i].family == family) {
			struct question q = open[i];
			open[i] = open[--n_open];
			return q;
		}
	cr_assert_fail("%s is not asked", name);
	return (struct question){0};
}

/* "10.0.0.1 10.0.0.2" */
static void found(const char *name, int family, int ttl, const char *ips)
{
	struct question q = taken(name, family);
	struct ares_addrinfo *info = calloc(1, sizeof(*info));
	char room[256], *rest = room;
	snprintf(room, sizeof(room), "%s", ips);
	for (char *ip; (ip = strsep(&rest, " "));) {
		struct ares_addrinfo_node *node = calloc(1, sizeof(*node));
		struct sockaddr_in6 *to = calloc(1, sizeof(*to));
		node->ai_ttl = ttl;
		node->ai_addr = (struct sockaddr *)to;
		node->ai_addrlen = family == AF_INET6 ? sizeof(*to) : sizeof(struct sockaddr_in);
		to->sin6_family = (sa_family_t)family;
		cr_assert_eq(inet_pton(family, ip,
				       family == AF_INET6
					   ? (void *)&to->sin6_addr
					   : (void *)&((struct sockaddr_in *)to)->sin_addr),
			     1);
		node->ai_next = info->nodes;
		info->nodes = node;
	}
	w.before_us = clock_us();
	q.addresses(q.arg, ARES_SUCCESS, 0, info);
}

static void none(const char *name, int family, int status)
{
	struct question q = taken(name, family);
	w.before_us = clock_us();
	if (q.records)
		q.records(q.arg, status, 0, NULL, 0);
	else
		q.addresses(q.arg, status, 0, NULL);
}

static struct conf_backend entry = {
    .address_text = VIEW("app.test:8000"), .weight = 3, .priority = 2, .max_requests = 9};

static void dns(void)
{
	n_questions = 0;
	w.conf.dns = (__typeof__(w.conf.dns)){.timeout_us = 1000000,
					      .tries = 1,
					      .min_ttl_us = 2000000,
					      .max_ttl_us = 60000000,
					      .gone_us = 12000000};
	w.sources[w.pool.n_sources++] = (struct conf_source){
	    .kind = CONF_SOURCE_dns, .text = VIEW("app.test:8000"), .entry = &entry};
	discover_prepare(w.d, &w.conf);
	discover_commit(w.d);
}

#define V4(status) none("app.test", AF_INET, status)
#define V6(status) none("app.test", AF_INET6, status)

Test(dns, addresses_are_members_like_the_entry, WORLD)
{
	dns();
	cr_expect(n_open == 2);
	found("app.test", AF_INET, 30, "10.0.0.2 10.0.0.1 0.0.0.0");
	cr_expect_eq(source_of(0)->n_members, 0, "the other one is awaited");
	V6(ARES_ENODATA);
	expect_members("10.0.0.1:8000 w3 p2 (DNS), 10.0.0.2:8000 w3 p2 (DNS)");
	cr_expect_eq(source_of(0)->members[0]->backend.max_requests, 9);
	expect_error("");
	expect_due(30000);
	fire();
	cr_expect(n_open == 2);
	found("app.test", AF_INET, 7, "10.0.0.3");
	V6(ARES_ENOTFOUND);
	expect_members("gone 10.0.0.1:8000 w3 p2 (DNS), gone 10.0.0.2:8000 w3 p2 (DNS), "
		       "10.0.0.3:8000 w3 p2 (DNS)");
	expect_due(7000);
}

Test(dns, time_to_live_has_bounds, WORLD)
{
	static const struct {
		int ttl;
		unsigned ms;
	} rows[] = {{0, 2000}, {1, 2000}, {2, 2000}, {3, 3000}, {60, 60000}, {61, 60000}};
	dns();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		found("app.test", AF_INET, rows[i].ttl, "10.0.0.1");
		V6(ARES_ENODATA);
		expect_due(rows[i].ms);
		fire();
	}
	found("app.test", AF_INET, 50, "10.0.0.1");
	found("app.test", AF_INET6, 40, "::1");
	expect_due(40000);
	expect_members("10.0.0.1:8000 w3 p2 (DNS), [::1]:8000 w3 p2 (DNS)");
	fire();
	found("app.test", AF_INET6, 40, "::1");
	found("app.test", AF_INET, 50, "10.0.0.1");
	expect_due(40000);
}

Test(dns, an_empty_answer_changes_nothing_and_is_said, WORLD)
{
	dns();
	found("app.test", AF_INET, 30, "10.0.0.1");
	V6(ARES_ENODATA);
	fire();
	V4(ARES_ENODATA);
	V6(ARES_ENODATA);
	expect_members("10.0.0.1:8000 w3 p2 (DNS)");
	cr_expect(strncmp(source_of(0)->error, "app.test: ", 10) == 0 &&
		  strstr(source_of(0)->error, " (an empty answer)"));
	expect_due(500);
	cr_expect_eq(source_of(0)->n_changes, 1);
}

Test(dns, a_failure_changes_nothing_and_is_said, WORLD)
{
	dns();
	found("app.test", AF_INET, 30, "10.0.0.1");
	V6(ARES_ENODATA);
	fire();
	V4(ARES_ECONNREFUSED);
	V6(ARES_ENODATA);
	expect_members("10.0.0.1:8000 w3 p2 (DNS)");
	cr_expect(strstr(source_of(0)->error, "app.test: "));
	cr_expect(!strstr(source_of(0)->error, "empty"));
	fire();
	V6(ARES_ENOTFOUND);
	V4(ARES_ECONNREFUSED);
	expect_error("app.test: no DNS server has an answer (SERVFAIL, REFUSED, or not there)");
	fire();
	V6(ARES_ETIMEOUT);
	V4(ARES_ETIMEOUT);
	cr_expect(strstr(source_of(0)->error, "app.test: ") &&
		  !strstr(source_of(0)->error, "SERVFAIL"));
	expect_due(2000);
	expect_members("10.0.0.1:8000 w3 p2 (DNS)");
}

Test(dns, a_family_that_fails_keeps_what_it_had, WORLD)
{
	dns();
	found("app.test", AF_INET, 30, "10.0.0.1");
	found("app.test", AF_INET6, 30, "::1");
	fire();
	found("app.test", AF_INET, 30, "10.0.0.2");
	V6(ARES_ETIMEOUT);
	expect_members("gone 10.0.0.1:8000 w3 p2 (DNS), 10.0.0.2:8000 w3 p2 (DNS), "
		       "[::1]:8000 w3 p2 (DNS)");
	expect_error("");
	expect_due(30000);
	/* one that has none any more beside it has not */
	fire();
	V6(ARES_ENODATA);
	found("app.test", AF_INET, 30, "10.0.0.2");
	expect_members("gone 10.0.0.1:8000 w3 p2 (DNS), 10.0.0.2:8000 w3 p2 (DNS), "
		       "gone [::1]:8000 w3 p2 (DNS)");
	expect_error("");
	/* what is gone is not carried over */
	fire();
	found("app.test", AF_INET, 30, "10.0.0.2");
	V6(ARES_ETIMEOUT);
	cr_expect_str_eq(members(), "gone 10.0.0.1:8000 w3 p2 (DNS), 10.0.0.2:8000 w3 p2 (DNS), "
				    "gone [::1]:8000 w3 p2 (DNS)");
}

Test(dns, a_name_that_does_not_exist_for_long_has_no_members, WORLD)
{
	dns();
	found("app.test", AF_INET, 30, "10.0.0.1");
	V6(ARES_ENODATA);
	fire();
	V4(ARES_ENOTFOUND);
	V6(ARES_ENOTFOUND);
	expect_members("10.0.0.1:8000 w3 p2 (DNS)");
	cr_expect(strncmp(source_of(0)->error, "app.test: ", 10) == 0);
	expect_due(5000);
	/* in between it exists: that begins anew */
	clock_ahead_us += 9000000;
	fire();
	V4(ARES_ETIMEOUT);
	V6(ARES_ENOTFOUND);
	clock_ahead_us += 9000000;
	fire();
	V4(ARES_ENOTFOUND);
	V6(ARES_ENOTFOUND);
	expect_members("10.0.0.1:8000 w3 p2 (DNS)");
	clock_ahead_us += 13000000;
	fire();
	V4(ARES_ENOTFOUND);
	V6(ARES_ENOTFOUND);
	expect_members("gone 10.0.0.1:8000 w3 p2 (DNS)");
	cr_expect_eq(source_of(0)->n_failures, 4);
	fire();
	found("app.test", AF_INET, 30, "10.0.0.1");
	V6(ARES_ENODATA);
	expect_members("10.0.0.1:8000 w3 p2 (DNS)");
	fire();
	V4(ARES_ENOTFOUND);
	V6(ARES_ENOTFOUND);
	expect_members("10.0.0.1:8000 w3 p2 (DNS)");
}

/* ---- services ---- */

static unsigned char bytes[65536];
static int n_bytes;

static void put16(unsigned n)
{
	bytes[n_bytes++] = (unsigned char)(n >> 8);
	bytes[n_bytes++] = (unsigned char)n;
}

static void records_begin(unsigned n)
{
	static const unsigned char name[] = {1, 's', 4, 't', 'e', 's', 't', 0};
	n_bytes = 0;
	put16(1), put16(0x8180), put16(1), put16(n), put16(0), put16(0);
	memcpy(bytes + n_bytes, name, sizeof(name));
	n_bytes += (int)sizeof(name);
	put16(33), put16(1);
}

/* `host` is one label, or "" for "." */
static void record(unsigned priority, unsigned weight, unsigned port, const char *host)
{
	size_t len = strlen(host);
	put16(0xc00c), put16(33), put16(1), put16(0), put16(20);
	put16((unsigned)(6 + len + (len ? 2 : 1)));
	put16(priority), put16(weight), put16(port);
	if (len) {
		bytes[n_bytes++] = (unsigned char)len;
		memcpy(bytes + n_bytes, host, len);
		n_bytes += (int)len;
	}
	bytes[n_bytes++] = 0;
}

static void records_end(void)
{
	struct question q = taken("s.test", 0);
	w.before_us = clock_us();
	q.records(q.arg, ARES_SUCCESS, 0, bytes, n_bytes);
}

/* As dns(), but for a service. */
static void service_begin(void)
{
	entry.srv = VIEW("s.test");
	dns();
}

Test(dns, targets_of_a_service, WORLD)
{
	service_begin();
	cr_expect(n_open == 1);
	records_begin(4);
	record(30, 5, 81, "b");
	record(10, 0, 80, "a");
	record(30, 7, 82, "c");
	record(10, 1, 0, "d");
	records_end();
	cr_expect_eq(n_open, 6, "of each that has a port");
	found("a", AF_INET, 30, "10.0.0.1");
	none("a", AF_INET6, ARES_ENODATA);
	found("b", AF_INET, 30, "10.0.0.2");
	none("b", AF_INET6, ARES_ENODATA);
	found("c", AF_INET, 30, "10.0.0.3");
	cr_expect_eq(source_of(0)->n_members, 0);
	none("c", AF_INET6, ARES_ENODATA);
	expect_members("10.0.0.1:80 w1 p2 (SRV a:80), 10.0.0.2:81 w5 p3 (SRV b:81), "
		       "10.0.0.3:82 w7 p3 (SRV c:82)");
	expect_due(20000); /* that of the records is less */
	/* one target that fails keeps its members, beside others that are found */
	fire();
	records_begin(2);
	record(30, 5, 81, "b");
	record(10, 0, 80, "a");
	records_end();
	found("b", AF_INET, 10, "10.0.0.2");
	none("b", AF_INET6, ARES_ENODATA);
	none("a", AF_INET, ARES_ETIMEOUT);
	none("a", AF_INET6, ARES_ETIMEOUT);
	expect_members("10.0.0.1:80 w1 p2 (SRV a:80), 10.0.0.2:81 w5 p3 (SRV b:81), "
		       "gone 10.0.0.3:82 w7 p3 (SRV c:82)");
	cr_expect(strncmp(source_of(0)->error, "a: ", 3) == 0);
	expect_due(10000);
}

Test(dns, a_service_that_is_none, WORLD)
{
	service_begin();
	records_begin(1);
	record(0, 0, 1, "");
	records_end();
	expect_due(5000); /* it does not exist */
	fire();
	records_begin(0);
	records_end();
	cr_expect(strstr(source_of(0)->error, " (an empty answer)"));
	fire();
	bytes[0] = 0;
	n_bytes = 5;
	records_end();
	cr_expect(source_of(0)->error[0] && !strstr(source_of(0)->error, "empty"));
	fire();
	none("s.test", 0, ARES_ENOTFOUND);
	expect_due(5000);
	fire();
	none("s.test", 0, ARES_ESERVFAIL);
	cr_expect(source_of(0)->n_failures == 5);
}

Test(dns, so_many_questions_at_a_time, WORLD)
{
	char host[16];
	service_begin();
	records_begin(100);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(host, sizeof(host), "h%u", i);
		record(i, 1, 80, host);
	}
	records_end();
	cr_expect_eq(n_open, 128);
	cr_expect_eq(n_questions, 129);
	for (unsigned i = 0; i < 100; i++) {
		char ip[16];
		snprintf(host, sizeof(host), "h%u", i);
		snprintf(ip, sizeof(ip), "10.0.1.%u", i + 1);
		found(host, AF_INET, 30, ip);
		none(host, AF_INET6, ARES_ENODATA);
	}
	cr_expect(n_open == 0 && n_questions == 201);
	cr_expect_eq(source_of(0)->n_members, 100);
	expect_error("");
	fire();
	records_begin(300);
	for (unsigned i = 0; i < 300; i++)
		record(i, 1, 80 + i, "h");
	records_end();
	while (n_open) {
		found("h", AF_INET, 30, "10.0.0.1");
		none("h", AF_INET6, ARES_ENODATA);
	}
	expect_error("more than 256 priorities: the last ones are one");
	const struct member *last = member_find(source_of(0), VIEW("10.0.0.1:379"));
	cr_expect(last && last->backend.priority == 255);
}

Test(dns, an_answer_that_comes_after_the_end_is_dropped, WORLD)
{
	dns();
	w.pool.n_sources = 0;
	discover_prepare(w.d, &w.conf);
	discover_commit(w.d);
	found("app.test", AF_INET, 30, "10.0.0.1");
	V6(ARES_EDESTRUCTION);
	cr_expect_eq(w.n_changed, 0);
}

Test(dns, a_resolver_that_goes_is_asked_no_more, WORLD)
{
	char host[16];
	service_begin();
	records_begin(100);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(host, sizeof(host), "h%u", i);
		record(1, 1, 80, host);
	}
	records_end();
	while (n_open) {
		unsigned before = n_questions;
		none(open[0].name, open[0].family, ARES_EDESTRUCTION);
		cr_expect_eq(n_questions, before);
	}
	cr_expect(source_of(0)->n_failures == 1 && source_of(0)->error[0]);
}
#endif
