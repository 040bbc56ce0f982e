/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "acme/ari.h"
#include "acme/jose.h"
#include "acme/x509.h"

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
