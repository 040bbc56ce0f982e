/* SPDX-License-Identifier: MIT */
/* Records of TLS 1.3: known keys, there and back, anything else refused. */
#include "net/tls_record.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (TLS_RECORD_MAX + TLS_RECORD_MORE)

static struct tls_records all;
static char sealed[ROOM], opened[ROOM], text[TLS_RECORD_MAX];

static const uint32_t ciphers[] = {0x03001301, 0x03001302, 0x03001303};

static void start(void)
{
	cr_assert(tls_records_init(&all, NULL, 4096));
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7);
}

static void stop(void)
{
	tls_records_fini(&all);
}

TestSuite(tls_record, .init = start, .fini = stop);

/* Two ends of one connection. */
static void pair(uint32_t cipher, unsigned seed, struct tls_record **a, struct tls_record **b)
{
	*a = tls_record_new(&all);
	*b = tls_record_new(&all);
	cr_assert(*a && *b);
	memset((*a)->in.secret, (int)seed, TLS_SECRET_MAX);
	memset((*a)->out.secret, (int)seed + 1, TLS_SECRET_MAX);
	memcpy((*b)->in.secret, (*a)->out.secret, TLS_SECRET_MAX);
	memcpy((*b)->out.secret, (*a)->in.secret, TLS_SECRET_MAX);
	cr_assert(tls_record_start(&all, *a, cipher) && tls_record_start(&all, *b, cipher));
}

static void assert_there_and_back(struct tls_record *a, struct tls_record *b, size_t len)
{
	size_t n, whole = tls_record_seal(&all, a, TLS_DATA, text, len, sealed);
	cr_assert_eq(whole, len + TLS_RECORD_MORE);
	cr_assert_eq(tls_record_open(&all, b, sealed, whole, opened, &n), TLS_DATA);
	cr_assert_eq(n, len);
	cr_assert(memcmp(opened, text, n) == 0);
}

/* RFC 8448 3: secrets and what is derived from them. */
Test(tls_record, keys_are_those_of_the_rfc)
{
	static const unsigned char client[32] = {0x9e, 0x40, 0x64, 0x6c, 0xe7, 0x9a, 0x7f, 0x9d,
						 0xc0, 0x5a, 0xf8, 0x88, 0x9b, 0xce, 0x65, 0x52,
						 0x87, 0x5a, 0xfa, 0x0b, 0x06, 0xdf, 0x00, 0x87,
						 0xf7, 0x92, 0xeb, 0xb7, 0xc1, 0x75, 0x04, 0xa5};
	static const unsigned char server[32] = {0xa1, 0x1a, 0xf9, 0xf0, 0x55, 0x31, 0xf8, 0x56,
						 0xad, 0x47, 0x11, 0x6b, 0x45, 0xa9, 0x50, 0x32,
						 0x82, 0x04, 0xb4, 0xf4, 0x4b, 0xfb, 0x6b, 0x3a,
						 0x4b, 0x4f, 0x1f, 0x3f, 0xcb, 0x63, 0x16, 0x43};
	static const unsigned char client_key[16] = {0x17, 0x42, 0x2d, 0xda, 0x59, 0x6e,
						     0xd5, 0xd9, 0xac, 0xd8, 0x90, 0xe3,
						     0xc6, 0x3f, 0x50, 0x51};
	static const unsigned char client_iv[12] = {0x5b, 0x78, 0x92, 0x3d, 0xee, 0x08,
						    0x57, 0x90, 0x33, 0xe5, 0x23, 0xd9};
	static const unsigned char server_key[16] = {0x9f, 0x02, 0x28, 0x3b, 0x6c, 0x9c,
						     0x07, 0xef, 0xc2, 0x6b, 0xb9, 0xf2,
						     0xac, 0x92, 0xe3, 0x56};
	static const unsigned char server_iv[12] = {0xcf, 0x78, 0x2b, 0x88, 0xdd, 0x83,
						    0x54, 0x9a, 0xad, 0xf1, 0xe9, 0x84};
	struct tls_record *r = tls_record_new(&all);
	memcpy(r->in.secret, client, 32);
	memcpy(r->out.secret, server, 32);
	cr_assert(tls_record_start(&all, r, ciphers[0]));
	cr_assert(memcmp(r->in.key, client_key, 16) == 0);
	cr_assert(memcmp(r->in.iv, client_iv, 12) == 0);
	cr_assert(memcmp(r->out.key, server_key, 16) == 0);
	cr_assert(memcmp(r->out.iv, server_iv, 12) == 0);
	tls_record_free(&all, r);
}

Test(tls_record, what_is_sealed_is_opened)
{
	static const size_t sizes[] = {
	    0, 1, 15, 16, 17, 100, 4096, TLS_RECORD_MAX - 1, TLS_RECORD_MAX};
	for (unsigned c = 0; c < TLS_N_SUITES; c++) {
		struct tls_record *a, *b;
		pair(ciphers[c], c, &a, &b);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			assert_there_and_back(a, b, sizes[i]);
			assert_there_and_back(b, a, sizes[i]);
		}
		tls_record_free(&all, a);
		tls_record_free(&all, b);
	}
}

Test(tls_record, it_is_opened_in_its_own_place)
{
	struct tls_record *a, *b;
	size_t n;
	pair(ciphers[0], 1, &a, &b);
	size_t whole = tls_record_seal(&all, a, TLS_ALERT, text, 1000, sealed);
	cr_assert_eq(tls_record_open(&all, b, sealed, whole, sealed + TLS_RECORD_HEAD, &n),
		     TLS_ALERT);
	cr_assert_eq(n, 1000);
	cr_assert(memcmp(sealed + TLS_RECORD_HEAD, text, n) == 0);
	tls_record_free(&all, a);
	tls_record_free(&all, b);
}

Test(tls_record, a_changed_byte_is_found)
{
	for (unsigned c = 0; c < TLS_N_SUITES; c++) {
		struct tls_record *a, *b;
		size_t n;
		pair(ciphers[c], c, &a, &b);
		size_t whole = tls_record_seal(&all, a, TLS_DATA, text, 40, sealed);
		for (size_t i = 0; i < whole; i++) {
			sealed[i] ^= 0x10;
			cr_assert_eq(tls_record_open(&all, b, sealed, whole, opened, &n), TLS_BAD);
			sealed[i] ^= 0x10;
		}
		cr_assert_eq(tls_record_open(&all, b, sealed, whole, opened, &n), TLS_DATA);
		/* nor is it taken twice, or ahead of another */
		cr_assert_eq(tls_record_open(&all, b, sealed, whole, opened, &n), TLS_BAD);
		tls_record_seal(&all, a, TLS_DATA, text, 40, sealed);
		whole = tls_record_seal(&all, a, TLS_DATA, text, 40, sealed);
		cr_assert_eq(tls_record_open(&all, b, sealed, whole, opened, &n), TLS_BAD);
		tls_record_free(&all, a);
		tls_record_free(&all, b);
	}
}

Test(tls_record, padding_is_taken_off)
{
	static const char padded[] = "hello\x17\0\0\0";
	struct tls_record *a, *b;
	size_t n;
	pair(ciphers[0], 3, &a, &b);
	/* content type 0 is one more byte of padding */
	size_t whole = tls_record_seal(&all, a, (enum tls_content)0, padded, 9, sealed);
	cr_assert_eq(tls_record_open(&all, b, sealed, whole, opened, &n), TLS_DATA);
	cr_assert_eq(n, 5);
	cr_assert(memcmp(opened, "hello", 5) == 0);
	/* nothing but padding has no type */
	whole = tls_record_seal(&all, a, (enum tls_content)0, "\0\0\0", 3, sealed);
	cr_assert_eq(tls_record_open(&all, b, sealed, whole, opened, &n), TLS_NO_TYPE);
	tls_record_free(&all, a);
	tls_record_free(&all, b);
}

Test(tls_record, too_short_ones_are_refused)
{
	struct tls_record *a, *b;
	size_t n;
	pair(ciphers[0], 4, &a, &b);
	tls_record_seal(&all, a, TLS_DATA, text, 40, sealed);
	for (size_t len = 0; len < TLS_RECORD_MORE; len++)
		cr_assert_eq(tls_record_open(&all, b, sealed, len, opened, &n), TLS_BAD);
	tls_record_free(&all, a);
	tls_record_free(&all, b);
}

Test(tls_record, keys_are_updated)
{
	for (unsigned c = 0; c < TLS_N_SUITES; c++) {
		struct tls_record *a, *b;
		pair(ciphers[c], c, &a, &b);
		for (unsigned i = 0; i < 3; i++) {
			assert_there_and_back(a, b, 100);
			cr_assert(tls_record_update(&all, a, &a->out));
			cr_assert(tls_record_update(&all, b, &b->in));
			assert_there_and_back(a, b, 100);
			assert_there_and_back(b, a, 100);
		}
		cr_assert(tls_record_update(&all, a, &a->out));
		size_t n, whole = tls_record_seal(&all, a, TLS_DATA, text, 10, sealed);
		cr_assert_eq(tls_record_open(&all, b, sealed, whole, opened, &n), TLS_BAD);
		tls_record_free(&all, a);
		tls_record_free(&all, b);
	}
}

Test(tls_record, an_update_is_due_before_a_key_wears_out)
{
	struct tls_record *a, *b;
	pair(ciphers[0], 5, &a, &b);
	all.rekey_after = 3;
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(!tls_record_is_due(&all, a));
		assert_there_and_back(a, b, 1);
	}
	cr_assert(tls_record_is_due(&all, a));
	cr_assert(tls_record_update(&all, a, &a->out));
	cr_assert(!tls_record_is_due(&all, a));
	tls_record_free(&all, a);
	tls_record_free(&all, b);
}

/* More connections than keep their keys, of all ciphers, in turns. */
Test(tls_record, idle_ones_go_on_where_they_were)
{
	enum { N = TLS_WARM_MAX };
	static struct tls_record *a[N], *b[N];
	for (unsigned i = 0; i < N; i++)
		pair(ciphers[i % TLS_N_SUITES], i, &a[i], &b[i]);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < N; i++)
			assert_there_and_back(a[i], b[i], 64 + round);
	cr_assert_eq(all.n_warm, TLS_WARM_MAX);
	for (unsigned i = 0; i < N; i++) {
		tls_record_free(&all, a[i]);
		tls_record_free(&all, b[i]);
	}
	cr_assert_eq(all.n_warm, 0);
	cr_assert_eq(all.slab.n_live, 0);
}
