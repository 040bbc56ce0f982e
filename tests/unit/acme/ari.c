/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "acme/ari.h"
#include "acme/jose.h"
#include "acme/x509.h"
#include "weir/base/defs.h"

Test(ari, times_are_read)
{
	cr_assert_eq(ari_time("1970-01-02T00:00:00Z"), 86400);
	cr_assert_eq(ari_time("2025-01-02T04:00:00Z"), 1735790400);
	cr_assert_eq(ari_time("2025-01-02T04:00:00.123456789Z"), 1735790400);
	cr_assert_eq(ari_time("2025-01-02T05:30:00+01:30"), 1735790400);
	cr_assert_eq(ari_time("2025-01-01T23:00:00-05:00"), 1735790400);
	cr_assert_eq(ari_time("2025-01-02T04:00:00"), 0);
	cr_assert_eq(ari_time("2025-01-02T04:00:00+1"), 0);
	cr_assert_eq(ari_time("tomorrow"), 0);
	cr_assert_eq(ari_time(""), 0);
}

/* A certificate with the key identifier and number of the example in RFC 9773 4.1. */
static void put_example(struct str *pem)
{
	static const unsigned char keyid[] = {0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40,
					      0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
					      0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4};
	static const unsigned char serial[] = {0x87, 0x65, 0x43, 0x21};
	EVP_PKEY *key = jose_key_new();
	X509 *cert = X509_new();
	BIGNUM *bn = BN_bin2bn(serial, sizeof(serial), NULL);
	AUTHORITY_KEYID *aki = AUTHORITY_KEYID_new();
	aki->keyid = ASN1_OCTET_STRING_new();
	ASN1_OCTET_STRING_set(aki->keyid, keyid, sizeof(keyid));
	X509_set_version(cert, 2);
	BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_set_pubkey(cert, key);
	X509_add1_ext_i2d(cert, NID_authority_key_identifier, aki, 0, 0);
	X509_sign(cert, key, EVP_sha256());
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	PEM_write_bio_X509(bio, cert);
	long len = BIO_get_mem_data(bio, &text);
	str_put(pem, text, (size_t)len);
	BIO_free(bio);
	AUTHORITY_KEYID_free(aki);
	BN_free(bn);
	X509_free(cert);
	EVP_PKEY_free(key);
}

Test(ari, certificates_are_named_as_in_the_rfc)
{
	struct str pem = STR_INIT, why = STR_INIT;
	struct x509_facts facts;
	struct view name = VIEW("a.example");
	put_example(&pem);
	cr_assert(x509_facts(str_as_view(&pem), &(struct conf_views){&name, 1}, &facts, &why));
	cr_assert_str_eq(facts.id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
	x509_forget(&pem);
}

/* ---- what an authority says ---- */

extern bool (*acme_asked)(const struct ca *ca, struct view url);

static struct ari ari;
static struct fetcher fetcher;
static char url[200];
static struct ari_answer got;
static unsigned n_got;

static bool is_asked(const struct ca *ca, struct view what)
{
	cr_assert(ca == &ari.ca && ca->fetcher == &fetcher);
	snprintf(url, sizeof(url), VIEW_FMT, VIEW_ARG(what));
	return true;
}

static void on_done(void *arg, const struct ari_answer *answer)
{
	cr_assert_eq(arg, &fetcher);
	got = *answer;
	n_got++;
}

static void begin(void)
{
	acme_asked = is_asked;
	ari_init(&ari, &fetcher);
	ari.done = on_done;
	ari.arg = &fetcher;
}

static void end(void)
{
	ari_fini(&ari);
}

TestSuite(ari_asks, .init = begin, .fini = end);

/* NULL: it fails. */
static void answer(const char *json, uint64_t retry_after_s)
{
	struct ca_answer a = {.ok = json != NULL,
			      .root = json ? json_loads(json, 0, NULL) : NULL,
			      .retry_after_s = retry_after_s};
	url[0] = '\0';
	ari.ca.done(ari.ca.arg, &a);
	json_decref(a.root);
}

static void ask_for_window(void)
{
	n_got = 0;
	ari_ask(&ari, VIEW("https://ca.test/directory"), "the.id");
	cr_assert_str_eq(url, "https://ca.test/directory");
	answer("{\"renewalInfo\": \"https://ca.test/ari\"}", 0);
	cr_assert_str_eq(url, "https://ca.test/ari/the.id");
	cr_assert_eq(n_got, 0);
}

#define WINDOW(start, end) "{\"suggestedWindow\": {\"start\": \"" start "\", \"end\": \"" end "\"}}"
#define DAY_2 "1970-01-02T00:00:00Z"
#define DAY_3 "1970-01-03T00:00:00Z"

Test(ari_asks, a_window_and_when_to_ask_again)
{
	static const struct {
		const char *json;
		uint64_t retry_after_s;
		struct ari_answer want;
	} rows[] = {
	    {WINDOW(DAY_2, DAY_3), 0, {86400, 172800, 21600}},
	    {WINDOW(DAY_2, DAY_3), 59, {86400, 172800, 60}},
	    {WINDOW(DAY_2, DAY_3), 61, {86400, 172800, 61}},
	    {WINDOW(DAY_2, DAY_3), 86399, {86400, 172800, 86399}},
	    {WINDOW(DAY_2, DAY_3), 86401, {86400, 172800, 86400}},
	    {WINDOW(DAY_3, DAY_2), 0, {0, 0, 21600}},
	    {WINDOW(DAY_2, DAY_2), 0, {0, 0, 21600}},
	    {WINDOW("", DAY_2), 0, {0, 0, 21600}},
	    {WINDOW(DAY_2, ""), 0, {0, 0, 21600}},
	    {"{}", 100, {0, 0, 100}},
	    {NULL, 100, {0, 0, 100}},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ask_for_window();
		answer(rows[i].json, rows[i].retry_after_s);
		cr_assert_eq(n_got, 1);
		cr_expect(got.start_s == rows[i].want.start_s && got.end_s == rows[i].want.end_s &&
			      got.again_s == rows[i].want.again_s,
			  "%zu: %lld %lld %llu", i, (long long)got.start_s, (long long)got.end_s,
			  (unsigned long long)got.again_s);
	}
}

Test(ari_asks, who_names_no_place_is_asked_no_more)
{
	static const char *const directories[] = {"{}", "{\"renewalInfo\": \"http://ca.test/ari\"}",
						  "{\"renewalInfo\": 1}", NULL};
	for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
		n_got = 0;
		ari_ask(&ari, VIEW("https://ca.test/directory"), "the.id");
		answer(directories[i], 0);
		cr_expect(n_got == 1 && url[0] == '\0' && got.start_s == 0 && got.again_s == 21600,
			  "%zu", i);
	}
}

Test(ari_asks, one_that_is_stopped_can_be_asked_again)
{
	ari_ask(&ari, VIEW("https://ca.test/directory"), "another.id");
	ari_stop(&ari);
	ask_for_window();
}
