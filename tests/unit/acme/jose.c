/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <jansson.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <string.h>

#include "acme/jose.h"
#include "acme/x509.h"

static struct str base64(struct view v)
{
	struct str out = STR_INIT;
	jose_base64(v, &out);
	return out;
}

Test(jose, base64_is_that_of_the_rfc)
{
	/* RFC 4648 10, without padding; RFC 7515 C */
	static const char *const rows[][2] = {{"", ""},
					      {"f", "Zg"},
					      {"fo", "Zm8"},
					      {"foo", "Zm9v"},
					      {"foob", "Zm9vYg"},
					      {"fooba", "Zm9vYmE"},
					      {"foobar", "Zm9vYmFy"},
					      {"\x03\xec\xff\xe0\xc1", "A-z_4ME"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct str text = base64(view_str(rows[i][0])), back = STR_INIT;
		cr_assert_str_eq(str_as_view(&text).ptr, rows[i][1]);
		cr_assert(jose_base64_read(str_as_view(&text), &back));
		cr_assert(view_eq(str_as_view(&back), view_str(rows[i][0])));
		str_fini(&text);
		str_fini(&back);
	}
}

Test(jose, base64_of_both_alphabets_is_read_and_nothing_else)
{
	struct str out = STR_INIT;
	cr_assert(jose_base64_read(VIEW("A+z/4ME="), &out));
	cr_assert(view_eq(str_as_view(&out), VIEW("\x03\xec\xff\xe0\xc1")));
	cr_assert_not(jose_base64_read(VIEW("A z_"), &out));
	cr_assert_not(jose_base64_read(VIEW("Zm9vY"), &out), "six bits are no byte");
	str_fini(&out);
}

Test(jose, thumbprint_is_that_of_the_rfc)
{
	struct str out = STR_INIT;
	/* RFC 8037 A.3 */
	jose_thumbprint(VIEW("{\"crv\":\"Ed25519\",\"kty\":\"OKP\","
			     "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"),
			&out);
	cr_assert_str_eq(out.ptr, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
	str_fini(&out);
}

/* The key of RFC 7515 A.3, as PEM. */
static const char a3[] = "-----BEGIN EC PRIVATE KEY-----\n"
			 "MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49\n"
			 "AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\n"
			 "focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
			 "-----END EC PRIVATE KEY-----\n";

Test(jose, a_key_is_shown_as_in_the_rfc)
{
	EVP_PKEY *key = jose_key_read(VIEW(a3));
	struct str jwk = STR_INIT;
	cr_assert_not_null(key);
	jose_jwk(key, &jwk);
	cr_assert_str_eq(jwk.ptr, "{\"crv\":\"P-256\",\"kty\":\"EC\","
				  "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
				  "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");
	str_fini(&jwk);
	EVP_PKEY_free(key);
}

Test(jose, other_keys_are_none_for_accounts)
{
	struct str rsa = STR_INIT;
	cr_assert(x509_key(CONF_ACME_RSA, &rsa));
	cr_assert_null(jose_key_read(str_as_view(&rsa)));
	cr_assert_null(jose_key_read(VIEW("")));
	cr_assert_null(jose_key_read(VIEW("-----BEGIN PRIVATE KEY-----\nAAAA\n")));
	x509_forget(&rsa);
}

static struct str member(const json_t *root, const char *key)
{
	struct str out = STR_INIT;
	cr_assert(jose_base64_read(view_str(json_string_value(json_object_get(root, key))), &out));
	return out;
}

static bool verifies(EVP_PKEY *key, const json_t *root)
{
	struct str sig = member(root, "signature"), text = STR_INIT;
	unsigned char *der = NULL;
	const unsigned char *flat = (const unsigned char *)sig.ptr;
	cr_assert_eq(sig.len, 64);
	ECDSA_SIG *es = ECDSA_SIG_new();
	ECDSA_SIG_set0(es, BN_bin2bn(flat, 32, NULL), BN_bin2bn(flat + 32, 32, NULL));
	int len = i2d_ECDSA_SIG(es, &der);
	str_printf(&text, "%s.%s", json_string_value(json_object_get(root, "protected")),
		   json_string_value(json_object_get(root, "payload")));
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok =
	    EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestVerify(ctx, der, (size_t)len, (const unsigned char *)text.ptr, text.len) == 1;
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	ECDSA_SIG_free(es);
	str_fini(&sig);
	str_fini(&text);
	return ok;
}

Test(jose, requests_are_signed_by_the_key)
{
	EVP_PKEY *key = jose_key_new(), *other = jose_key_new();
	struct jose_header header = {.nonce = VIEW("n-1"), .url = VIEW("https://ca/new-acct")};
	for (int i = 0; i < 50; i++) { /* r and s are short now and then */
		struct str out = STR_INIT;
		cr_assert(jose_sign(key, &header, VIEW("{\"a\":1}"), &out));
		json_t *root = json_loads(out.ptr, 0, NULL);
		cr_assert(verifies(key, root));
		cr_assert_not(verifies(other, root));
		json_decref(root);
		str_fini(&out);
	}
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
}

Test(jose, headers_name_the_account_or_carry_the_key)
{
	EVP_PKEY *key = jose_key_read(VIEW(a3));
	struct jose_header header = {.nonce = VIEW("n"), .url = VIEW("https://ca/x")};
	for (int i = 0; i < 2; i++) {
		struct str out = STR_INIT;
		cr_assert(jose_sign(key, &header, VIEW_NONE, &out));
		json_t *root = json_loads(out.ptr, 0, NULL);
		struct str text = member(root, "protected");
		json_t *head = json_loads(text.ptr, 0, NULL);
		cr_assert_str_eq(json_string_value(json_object_get(head, "alg")), "ES256");
		cr_assert_str_eq(json_string_value(json_object_get(head, "nonce")), "n");
		cr_assert_str_eq(json_string_value(json_object_get(head, "url")), "https://ca/x");
		cr_assert_eq(json_is_object(json_object_get(head, "jwk")), i == 0);
		cr_assert_eq(json_is_string(json_object_get(head, "kid")), i == 1);
		cr_assert_str_eq(json_string_value(json_object_get(root, "payload")), "");
		header.kid = VIEW("https://ca/acct/1");
		json_decref(head);
		json_decref(root);
		str_fini(&text);
		str_fini(&out);
	}
	EVP_PKEY_free(key);
}

Test(jose, shared_keys_sign_by_hmac)
{
	struct jose_header header = {.kid = VIEW("kid-1"), .url = VIEW("https://ca/new-acct")};
	struct str out = STR_INIT, text = STR_INIT;
	unsigned char mac[32];
	cr_assert(jose_sign_shared(VIEW("secret"), &header, VIEW("{}"), &out));
	json_t *root = json_loads(out.ptr, 0, NULL);
	str_printf(&text, "%s.%s", json_string_value(json_object_get(root, "protected")),
		   json_string_value(json_object_get(root, "payload")));
	HMAC(EVP_sha256(), "secret", 6, (const unsigned char *)text.ptr, text.len, mac, NULL);
	struct str sig = member(root, "signature"), head = member(root, "protected");
	cr_assert(view_eq(str_as_view(&sig), view_of((const char *)mac, sizeof(mac))));
	cr_assert_str_eq(head.ptr, "{\"alg\":\"HS256\",\"kid\":\"kid-1\","
				   "\"url\":\"https://ca/new-acct\"}");
	cr_assert_not(jose_sign_shared(VIEW_NONE, &header, VIEW("{}"), &out));
	json_decref(root);
	str_fini(&sig);
	str_fini(&head);
	str_fini(&text);
	str_fini(&out);
}
