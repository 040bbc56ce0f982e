/* SPDX-License-Identifier: MIT */
/* SRV records out of bytes: as servers send them, cut everywhere, and malicious. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "discover/srv.h"

#define ROWS 16

/* One question for _http._tcp.a.b, a CNAME that is passed over, two SRV records: the first names
 * its target in full, the second points into the question. */
static const unsigned char good[] = {
    0x12, 0x34, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0,
    /* 12: _http._tcp.a.b */
    5, '_', 'h', 't', 't', 'p', 4, '_', 't', 'c', 'p', 1, 'a', 1, 'b', 0, 0, 33, 0, 1,
    /* a CNAME record */
    0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 23,
    /* SRV 10 60 8000 web1.a.b, 300 s */
    0xc0, 12, 0, 33, 0, 1, 0, 0, 1, 44, 0, 16, 0, 10, 0, 60, 0x1f, 0x40, 4, 'w', 'e', 'b', '1', 1,
    'a', 1, 'b', 0,
    /* SRV 20 0 8001 w2.a.b (a.b is at 23), 60 s */
    0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 11, 0, 20, 0, 0, 0x1f, 0x41, 2, 'w', '2', 0xc0, 23};

Test(srv, records)
{
	struct srv_record r[ROWS];
	uint32_t ttl;
	cr_assert_eq(srv_parse(good, sizeof(good), r, &ttl), 2);
	cr_expect_eq(ttl, 60);
	cr_expect_str_eq(r[0].target, "web1.a.b");
	cr_expect(r[0].port == 8000 && r[0].priority == 10 && r[0].weight == 60);
	cr_expect_str_eq(r[1].target, "w2.a.b");
	cr_expect(r[1].port == 8001 && r[1].priority == 20 && r[1].weight == 0);
}

Test(srv, cut_anywhere_is_malformed)
{
	struct srv_record r[ROWS];
	uint32_t ttl;
	for (size_t len = 0; len < sizeof(good); len++) {
		unsigned char *copy = malloc(len + 1); /* so that ASan sees a read too far */
		memcpy(copy, good, len);
		cr_expect_eq(srv_parse(copy, len, r, &ttl), -1, "%zu", len);
		free(copy);
	}
}

Test(srv, every_byte_changed_ends)
{
	struct srv_record r[ROWS];
	unsigned char bad[sizeof(good)];
	uint32_t ttl;
	for (size_t i = 0; i < sizeof(good); i++)
		for (unsigned b = 0; b < 256; b++) {
			memcpy(bad, good, sizeof(good));
			bad[i] = (unsigned char)b;
			cr_assert(srv_most(bad, sizeof(bad)) <= ROWS);
			int n = srv_parse(bad, sizeof(bad), r, &ttl);
			cr_assert(n >= -1 && n <= 3);
			for (int k = 0; k < n; k++)
				cr_assert(memchr(r[k].target, '\0', DNS_NAME_MAX));
		}
}

Test(srv, names_that_point_at_each_other)
{
	unsigned char loop[] = {0,
				0,
				0,
				0,
				0,
				0,
				0,
				1,
				0,
				0,
				0,
				0,
				/* 12 */ 0xc0,
				14,
				0xc0,
				12,
				0,
				33,
				0,
				1};
	struct srv_record r[ROWS];
	uint32_t ttl;
	cr_expect_eq(srv_parse(loop, sizeof(loop), r, &ttl), -1);
}

Test(srv, a_target_that_is_no_host)
{
	struct srv_record r[ROWS];
	unsigned char bad[sizeof(good)];
	uint32_t ttl;
	memcpy(bad, good, sizeof(good));
	unsigned char *w = memchr(bad + 40, 'w', sizeof(bad) - 40);
	*w = '\n';
	cr_expect_eq(srv_parse(bad, sizeof(bad), r, &ttl), -1);
}

/* 63 bytes are the longest label, RFC 1035 2.3.4; 64 is of a kind that nobody uses. */
Test(srv, the_longest_label)
{
	static const unsigned char head[] = {0, 0, 0x81, 0x80, 0, 0, 0, 1, 0, 0, 0,
					     0, 0, 0,    33,   0, 1, 0, 0, 0, 9};
	unsigned char msg[sizeof(head) + 2 + 6 + 1 + 64 + 1];
	struct srv_record r[1];
	uint32_t ttl;
	for (unsigned n = 63; n <= 64; n++) {
		size_t len = sizeof(head) + 2 + 6 + 1 + n + 1;
		memcpy(msg, head, sizeof(head));
		memcpy(msg + sizeof(head),
		       (unsigned char[]){0, (unsigned char)(8 + n), 0, 1, 0, 2, 0, 80,
					 (unsigned char)n},
		       9);
		memset(msg + sizeof(head) + 9, 'a', n);
		msg[len - 1] = 0;
		cr_expect_eq(srv_parse(msg, len, r, &ttl), n == 63 ? 1 : -1, "%u", n);
		cr_expect(n == 64 || strlen(r[0].target) == 63);
	}
}

/* As many as 64 KiB can have, and one that is cut: room is made for what fits, not for what is
 * claimed. */
Test(srv, a_whole_message_of_them)
{
	enum { HEAD = 12, RECORD = 18, N = (65535 - HEAD) / RECORD };
	static const unsigned char record[RECORD] = {0, 0, 33, 0, 1, 0, 0, 0,  9,
						     0, 7, 0,  1, 0, 2, 0, 80, 0};
	size_t len = HEAD + N * RECORD;
	unsigned char *msg = calloc(1, len);
	uint32_t ttl;
	for (size_t i = 0; i < N; i++)
		memcpy(msg + HEAD + i * RECORD, record, RECORD);
	msg[6] = N >> 8;
	msg[7] = N & 0xff;
	cr_assert_eq(srv_most(msg, len), N);
	struct srv_record *r = calloc(N, sizeof(*r));
	cr_assert_eq(srv_parse(msg, len, r, &ttl), N);
	cr_expect(r[N - 1].port == 80 && r[N - 1].weight == 2 && !r[N - 1].target[0]);
	free(r);
	msg[6] = msg[7] = 0xff;
	r = calloc(srv_most(msg, len), sizeof(*r));
	cr_assert_eq(srv_parse(msg, len, r, &ttl), -1);
	free(r);
	cr_assert_eq(srv_most(msg, 11), 0);
	free(msg);
}
