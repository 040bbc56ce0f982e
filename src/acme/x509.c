/* SPDX-License-Identifier: MIT */
/* Keys, requests and certificates as OpenSSL makes them. */
#include "x509.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "jose.h"

#include "weir/base/check.h"
#include "weir/base/hash.h"

#define RSA_BITS 2048
#define DAY_S 86400
/* Long enough for any outage; nobody trusts it anyway. */
#define SELF_SIGNED_DAYS 365
#define CHALLENGE_DAYS 7

void x509_forget(struct str *pem)
{
	if (pem->ptr)
		OPENSSL_cleanse(pem->ptr, pem->cap);
	str_fini(pem);
}

/* ---- PEM ---- */

static EVP_PKEY *key_of(struct view pem)
{
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
	BIO_free(bio);
	return key;
}

static bool put_pem(EVP_PKEY *key, X509 *cert, struct str *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	bool ok = bio && (!key || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) &&
		  (!cert || PEM_write_bio_X509(bio, cert));
	long len = ok ? BIO_get_mem_data(bio, &text) : 0;
	if (len > 0) {
		str_put(out, text, (size_t)len);
		OPENSSL_cleanse(text, (size_t)len);
	}
	BIO_free(bio);
	return len > 0 && !out->overflow;
}

/* ---- keys ---- */

static EVP_PKEY *rsa_key(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
	EVP_PKEY *key = NULL;
	if (!ctx || EVP_PKEY_keygen_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, RSA_BITS) != 1 || EVP_PKEY_keygen(ctx, &key) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	return key;
}

bool x509_key(enum conf_acme_key type, struct str *pem)
{
	EVP_PKEY *key = type == CONF_ACME_RSA ? rsa_key() : jose_key_new();
	bool ok = key && put_pem(key, NULL, pem);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ok;
}

/* ---- extensions ---- */

static X509_EXTENSION *names_extension(const struct conf_views *names)
{
	GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
	bool ok = all != NULL;
	for (size_t i = 0; ok && i < names->n; i++) {
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_IA5STRING *text = ASN1_IA5STRING_new();
		ok = name && text &&
		     ASN1_STRING_set(text, names->rows[i].ptr, (int)names->rows[i].len) == 1;
		if (ok)
			GENERAL_NAME_set0_value(name, GEN_DNS, text);
		else
			ASN1_IA5STRING_free(text);
		ok = ok && sk_GENERAL_NAME_push(all, name) > 0;
		if (!ok)
			GENERAL_NAME_free(name);
	}
	X509_EXTENSION *ext = ok ? X509V3_EXT_i2d(NID_subject_alt_name, 0, all) : NULL;
	GENERAL_NAMES_free(all);
	return ext;
}

/* id-pe-acmeIdentifier, critical: an OCTET STRING with the hash (RFC 8737 3). */
static X509_EXTENSION *identifier_extension(struct view key_authorization)
{
	unsigned char der[2 + SHA256_DIGEST_LENGTH] = {V_ASN1_OCTET_STRING, SHA256_DIGEST_LENGTH};
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
	X509_EXTENSION *ext = NULL;
	SHA256((const unsigned char *)key_authorization.ptr, key_authorization.len, der + 2);
	if (value && oid && ASN1_STRING_set(value, der, sizeof(der)) == 1)
		ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(oid);
	return ext;
}

/* ---- the request ---- */

static bool add_names(X509_REQ *req, const struct conf_views *names)
{
	STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
	X509_EXTENSION *ext = all ? names_extension(names) : NULL;
	bool ok = ext && sk_X509_EXTENSION_push(all, ext) > 0;
	if (!ok)
		X509_EXTENSION_free(ext);
	ok = ok && X509_REQ_add_extensions(req, all) == 1;
	sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
	return ok;
}

bool x509_request(struct view key_pem, const struct conf_views *names, struct str *der)
{
	EVP_PKEY *key = key_of(key_pem);
	X509_REQ *req = X509_REQ_new();
	unsigned char *bytes = NULL;
	bool ok = key && req && X509_REQ_set_version(req, 0) == 1 &&
		  X509_REQ_set_pubkey(req, key) == 1 && add_names(req, names) &&
		  X509_REQ_sign(req, key, EVP_sha256()) > 0;
	int len = ok ? i2d_X509_REQ(req, &bytes) : 0;
	if (len > 0)
		str_put(der, bytes, (size_t)len);
	OPENSSL_free(bytes);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return len > 0 && !der->overflow;
}

/* ---- certificates of our own ---- */

static bool set_serial(X509 *cert)
{
	unsigned char bytes[16];
	BIGNUM *bn = NULL;
	bool ok = RAND_bytes(bytes, sizeof(bytes)) == 1;
	bytes[0] &= 0x7f;
	bn = ok ? BN_bin2bn(bytes, sizeof(bytes), NULL) : NULL;
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
	BN_free(bn);
	return ok;
}

static bool set_names(X509 *cert, struct view first)
{
	X509_NAME *name = X509_get_subject_name(cert);
	/* a common name has 64 bytes at most (RFC 5280, upper bounds) */
	struct view cn = first.len <= 64 ? first : VIEW("weir");
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn.ptr,
					  (int)cn.len, -1, 0) == 1 &&
	       X509_set_issuer_name(cert, name) == 1;
}

static bool add(X509 *cert, X509_EXTENSION *ext)
{
	bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

/* `extra` may be NULL. */
static bool own_certificate(const struct conf_views *names, X509_EXTENSION *extra, int days,
			    struct str *pem)
{
	EVP_PKEY *key = jose_key_new();
	X509 *cert = X509_new();
	bool ok = key && cert && X509_set_version(cert, 2) == 1 && set_serial(cert) &&
		  X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S) &&
		  X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * DAY_S) &&
		  set_names(cert, names->rows[0]) && X509_set_pubkey(cert, key) == 1 &&
		  add(cert, names_extension(names)) &&
		  (!extra || X509_add_ext(cert, extra, -1) == 1) &&
		  X509_sign(cert, key, EVP_sha256()) > 0 && put_pem(key, cert, pem);
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ok;
}

bool x509_self_signed(const struct conf_views *names, struct str *pem)
{
	return own_certificate(names, NULL, SELF_SIGNED_DAYS, pem);
}

bool x509_challenge(struct view name, struct view key_authorization, struct str *pem)
{
	X509_EXTENSION *identifier = identifier_extension(key_authorization);
	bool ok = identifier && own_certificate(&(struct conf_views){.rows = &name, .n = 1},
						identifier, CHALLENGE_DAYS, pem);
	X509_EXTENSION_free(identifier);
	return ok;
}

/* ---- what a certificate is ---- */

static int64_t unix_time(const ASN1_TIME *when)
{
	struct tm tm;
	return when && ASN1_TIME_to_tm(when, &tm) ? timegm(&tm) : 0;
}

static bool is_name(const GENERAL_NAME *san, struct view name)
{
	return san->type == GEN_DNS &&
	       view_ieq(view_of((const char *)ASN1_STRING_get0_data(san->d.dNSName),
				(size_t)ASN1_STRING_length(san->d.dNSName)),
			name);
}

static bool is_for(const GENERAL_NAMES *all, struct view name)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++)
		if (is_name(sk_GENERAL_NAME_value(all, i), name))
			return true;
	return false;
}

static void compare_names(X509 *cert, const struct conf_views *names, struct x509_facts *facts)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	for (size_t i = 0; i < names->n && !facts->missing.len; i++)
		if (!is_for(all, names->rows[i]))
			facts->missing = names->rows[i];
	facts->same_names =
	    !facts->missing.len && all && (size_t)sk_GENERAL_NAME_num(all) == names->n;
	GENERAL_NAMES_free(all);
}

static unsigned count_rest(BIO *bio)
{
	unsigned n = 0;
	for (X509 *next; (next = PEM_read_bio_X509(bio, NULL, NULL, (void *)"")); n++)
		X509_free(next);
	return n;
}

/* AKI and serial number, each in base64; the number as it is in DER, with its leading 0. */
static void put_id(X509 *cert, struct x509_facts *facts)
{
	AUTHORITY_KEYID *aki = X509_get_ext_d2i(cert, NID_authority_key_identifier, NULL, NULL);
	unsigned char *der = NULL;
	int len = i2d_ASN1_INTEGER((ASN1_INTEGER *)X509_get0_serialNumber(cert), &der);
	struct str out = str_fixed(facts->id, sizeof(facts->id));
	if (aki && aki->keyid && len > 2 && der[1] < 128) {
		jose_base64(view_of((const char *)ASN1_STRING_get0_data(aki->keyid),
				    (size_t)ASN1_STRING_length(aki->keyid)),
			    &out);
		str_char(&out, '.');
		jose_base64(view_of((const char *)der + 2, (size_t)len - 2), &out);
	}
	if (out.overflow)
		facts->id[0] = '\0';
	OPENSSL_free(der);
	AUTHORITY_KEYID_free(aki);
}

static void fill(X509 *cert, const struct conf_views *names, struct x509_facts *facts)
{
	unsigned char md[SHA256_DIGEST_LENGTH];
	facts->not_before_s = unix_time(X509_get0_notBefore(cert));
	facts->not_after_s = unix_time(X509_get0_notAfter(cert));
	compare_names(cert, names, facts);
	if (X509_digest(cert, EVP_sha256(), md, NULL) == 1)
		facts->hash = hash_bytes(md, sizeof(md), 0);
	put_id(cert, facts);
}

bool x509_facts(struct view pem, const struct conf_views *names, struct x509_facts *facts,
		struct str *why)
{
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, (void *)"") : NULL;
	EVP_PKEY *key = key_of(pem);
	bool ok = cert && key && X509_check_private_key(cert, key) == 1;
	*facts = (struct x509_facts){.hash = 0};
	if (ok) {
		fill(cert, names, facts);
		facts->n_certs = 1 + count_rest(bio);
	} else {
		str_text(why, !cert  ? "it holds no certificate"
			      : !key ? "it holds no private key"
				     : "its key does not belong to its certificate");
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return ok;
}
