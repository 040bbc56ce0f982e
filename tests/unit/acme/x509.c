/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "acme/x509.h"

static struct view rows[] = {{"example.com", 11}, {"www.example.com", 15}};
static const struct conf_views names = {rows, 2};

static X509 *cert_of(const struct str *pem)
{
	BIO *bio = BIO_new_mem_buf(pem->ptr, (int)pem->len);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	return cert;
}

static void check_names(GENERAL_NAMES *all)
{
	cr_assert_eq(sk_GENERAL_NAME_num(all), 2);
	for (int i = 0; i < 2; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
		cr_assert_eq(name->type, GEN_DNS);
		cr_assert(view_eq(view_of((const char *)ASN1_STRING_get0_data(name->d.dNSName),
					  (size_t)ASN1_STRING_length(name->d.dNSName)),
				  rows[i]));
	}
	GENERAL_NAMES_free(all);
}

Test(x509, a_request_has_all_names_and_is_signed)
{
	for (int type = CONF_ACME_ECDSA; type <= CONF_ACME_RSA; type++) {
		struct str key = STR_INIT, der = STR_INIT;
		cr_assert(x509_key((enum conf_acme_key)type, &key));
		cr_assert(x509_request(str_as_view(&key), &names, &der));
		const unsigned char *at = (const unsigned char *)der.ptr;
		X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)der.len);
		cr_assert_not_null(req);
		EVP_PKEY *pub = X509_REQ_get_pubkey(req);
		cr_assert_eq(X509_REQ_verify(req, pub), 1);
		cr_assert_eq(EVP_PKEY_bits(pub), type == CONF_ACME_RSA ? 2048 : 256);
		STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
		check_names(X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL));
		sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
		EVP_PKEY_free(pub);
		X509_REQ_free(req);
		x509_forget(&key);
		str_fini(&der);
	}
}

Test(x509, ours_is_for_the_names_and_valid_now)
{
	struct str pem = STR_INIT, why = STR_INIT;
	struct x509_facts facts;
	cr_assert(x509_self_signed(&names, &pem));
	cr_assert(x509_facts(str_as_view(&pem), &names, &facts, &why));
	cr_assert(facts.same_names);
	cr_assert(facts.not_before_s < time(NULL) && facts.not_after_s > time(NULL) + 86400);
	X509 *cert = cert_of(&pem);
	check_names(X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL));
	cr_assert_eq(X509_check_host(cert, "www.example.com", 0, 0, NULL), 1);
	X509_free(cert);
	x509_forget(&pem);
}

Test(x509, facts_see_other_names)
{
	struct str pem = STR_INIT, why = STR_INIT;
	struct x509_facts facts;
	struct view turned[] = {rows[1], {"EXAMPLE.com", 11}},
		    other[] = {rows[0], {"a.example", 9}};
	cr_assert(x509_self_signed(&names, &pem));
	cr_assert(x509_facts(str_as_view(&pem), &(struct conf_views){turned, 2}, &facts, &why));
	cr_assert(facts.same_names, "in any order");
	cr_assert(x509_facts(str_as_view(&pem), &(struct conf_views){turned, 1}, &facts, &why));
	cr_assert_not(facts.same_names);
	cr_assert(x509_facts(str_as_view(&pem), &(struct conf_views){other, 2}, &facts, &why));
	cr_assert_not(facts.same_names);
	x509_forget(&pem);
}

Test(x509, what_does_not_fit_is_refused_with_a_sentence)
{
	struct str a = STR_INIT, b = STR_INIT, mixed = STR_INIT, why = STR_INIT;
	struct x509_facts facts;
	cr_assert(x509_key(CONF_ACME_ECDSA, &mixed));
	cr_assert_not(x509_facts(str_as_view(&mixed), &names, &facts, &why));
	cr_assert_str_eq(why.ptr, "it holds no certificate");
	cr_assert(x509_self_signed(&names, &a) && x509_self_signed(&names, &b));
	str_view(&mixed, view_str(strstr(a.ptr, "-----BEGIN CERT")));
	str_reset(&why);
	cr_assert_not(x509_facts(str_as_view(&mixed), &names, &facts, &why));
	cr_assert_str_eq(why.ptr, "its key does not belong to its certificate");
	str_reset(&why);
	cr_assert_not(x509_facts(view_str(strstr(a.ptr, "-----BEGIN CERT")), &names, &facts, &why));
	cr_assert_str_eq(why.ptr, "it holds no private key");
	x509_forget(&a);
	x509_forget(&b);
	x509_forget(&mixed);
	str_fini(&why);
}

Test(x509, a_challenge_holds_the_hash_of_what_is_asked_for)
{
	static const char authorization[] = "token.thumbprint";
	unsigned char md[SHA256_DIGEST_LENGTH];
	struct str pem = STR_INIT;
	cr_assert(x509_challenge(rows[0], VIEW("token.thumbprint"), &pem));
	X509 *cert = cert_of(&pem);
	ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
	int at = X509_get_ext_by_OBJ(cert, oid, -1);
	cr_assert_geq(at, 0);
	X509_EXTENSION *ext = X509_get_ext(cert, at);
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(ext);
	const unsigned char *der = ASN1_STRING_get0_data(value);
	/* RFC 8737 3: critical, an OCTET STRING of 32 bytes in it */
	cr_assert(X509_EXTENSION_get_critical(ext));
	cr_assert_eq(ASN1_STRING_length(value), 34);
	SHA256((const unsigned char *)authorization, strlen(authorization), md);
	cr_assert(der[0] == 4 && der[1] == 32 && memcmp(der + 2, md, 32) == 0);
	cr_assert_eq(X509_check_host(cert, "example.com", 0, 0, NULL), 1);
	ASN1_OBJECT_free(oid);
	X509_free(cert);
	x509_forget(&pem);
}
