/* SPDX-License-Identifier: MIT */
/* JSON Web Keys and signatures (RFC 7515, 7517, 7638), as ACME uses them. */
#include "jose.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

#include "weir/base/base64.h"
#include "weir/base/check.h"
#include "weir/base/json.h"

#define POINT_LEN 64 /* x and y */
#define HALF (POINT_LEN / 2)

/* ---- base64 ---- */

void jose_base64(struct view bytes, struct str *out)
{
	base64_put(out, bytes, '-', '_');
}

bool jose_base64_read(struct view text, struct str *out)
{
	while (view_ends(text, VIEW("=")))
		text.len--;
	if (!str_reserve(out, text.len))
		return false;
	char *to = out->ptr + out->len;
	for (size_t i = 0; i < text.len; i++)
		to[i] = text.ptr[i] == '+' ? '-' : text.ptr[i] == '/' ? '_' : text.ptr[i];
	ptrdiff_t n = base64_read(view_of(to, text.len), BASE64_URL, to, text.len);
	if (text.len) {
		out->len += n > 0 ? (size_t)n : 0;
		out->ptr[out->len] = '\0';
	}
	return n >= 0;
}

/* ---- keys ---- */

EVP_PKEY *jose_key_new(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
	EVP_PKEY *key = NULL;
	if (!ctx || EVP_PKEY_keygen_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1) != 1 ||
	    EVP_PKEY_keygen(ctx, &key) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return key;
}

/* The last bytes of a SubjectPublicKeyInfo are those of the point (RFC 5480 2.2). */
static bool point_of(EVP_PKEY *key, unsigned char point[POINT_LEN])
{
	unsigned char *der = NULL;
	int len = EVP_PKEY_base_id(key) == EVP_PKEY_EC && EVP_PKEY_bits(key) == 256
		      ? i2d_PUBKEY(key, &der)
		      : -1;
	bool ok = len > POINT_LEN && der[len - POINT_LEN - 1] == POINT_CONVERSION_UNCOMPRESSED;
	if (ok)
		memcpy(point, der + len - POINT_LEN, POINT_LEN);
	OPENSSL_free(der);
	return ok;
}

/* Nobody is asked for a pass phrase. */
static int no_phrase(char *to, int size, int writing, void *arg)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

EVP_PKEY *jose_key_read(struct view pem)
{
	unsigned char point[POINT_LEN];
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_phrase, NULL) : NULL;
	if (key && !point_of(key, point)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	BIO_free(bio);
	ERR_clear_error();
	return key;
}

void jose_jwk(EVP_PKEY *key, struct str *out)
{
	unsigned char point[POINT_LEN];
	check(point_of(key, point));
	str_text(out, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
	jose_base64(view_of((const char *)point, HALF), out);
	str_text(out, "\",\"y\":\"");
	jose_base64(view_of((const char *)point + HALF, HALF), out);
	str_text(out, "\"}");
}

void jose_thumbprint(struct view jwk, struct str *out)
{
	unsigned char md[SHA256_DIGEST_LENGTH];
	SHA256((const unsigned char *)jwk.ptr, jwk.len, md);
	jose_base64(view_of((const char *)md, sizeof(md)), out);
}

/* ---- signatures ---- */

static void put_header(const char *algorithm, EVP_PKEY *key, const struct jose_header *h,
		       struct str *out)
{
	struct str text = STR_INIT, jwk = STR_INIT;
	struct json j;
	json_init(&j, &text, false);
	json_object_begin(&j);
	json_member_text(&j, "alg", algorithm);
	if (h->kid.len) {
		json_member_view(&j, "kid", h->kid);
	} else {
		jose_jwk(key, &jwk);
		json_key(&j, "jwk");
		json_raw(&j, str_as_view(&jwk));
	}
	if (h->nonce.len)
		json_member_view(&j, "nonce", h->nonce);
	json_member_view(&j, "url", h->url);
	json_object_end(&j);
	jose_base64(str_as_view(&text), out);
	str_fini(&text);
	str_fini(&jwk);
}

/* r and s, each at its full length (RFC 7518 3.4). */
static bool flat_signature(const unsigned char *der, size_t len, unsigned char flat[POINT_LEN])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
	const BIGNUM *r, *s;
	if (!sig)
		return false;
	ECDSA_SIG_get0(sig, &r, &s);
	bool ok = BN_bn2binpad(r, flat, HALF) == HALF && BN_bn2binpad(s, flat + HALF, HALF) == HALF;
	ECDSA_SIG_free(sig);
	return ok;
}

static bool sign(EVP_PKEY *key, struct view text, unsigned char flat[POINT_LEN])
{
	unsigned char der[128];
	size_t len = sizeof(der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, der, &len, (const unsigned char *)text.ptr, text.len) == 1 &&
		  flat_signature(der, len, flat);
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

/* "header.payload", which is signed; then the whole. */
static void put_whole(struct view text, struct view signature, struct str *out)
{
	size_t dot = (size_t)view_chr(text, '.');
	str_printf(out,
		   "{\"protected\":\"" VIEW_FMT "\",\"payload\":\"" VIEW_FMT "\",\"signature\":\"",
		   VIEW_ARG(view_head(text, dot)), VIEW_ARG(view_skip(text, dot + 1)));
	jose_base64(signature, out);
	str_text(out, "\"}");
}

bool jose_sign(EVP_PKEY *key, const struct jose_header *header, struct view payload,
	       struct str *out)
{
	struct str text = STR_INIT;
	unsigned char flat[POINT_LEN];
	put_header("ES256", key, header, &text);
	str_char(&text, '.');
	jose_base64(payload, &text);
	bool ok = !text.overflow && sign(key, str_as_view(&text), flat);
	if (ok)
		put_whole(str_as_view(&text), view_of((const char *)flat, sizeof(flat)), out);
	str_fini(&text);
	return ok;
}

bool jose_sign_shared(struct view mac_key, const struct jose_header *header, struct view payload,
		      struct str *out)
{
	struct str text = STR_INIT;
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	put_header("HS256", NULL, header, &text);
	str_char(&text, '.');
	jose_base64(payload, &text);
	bool ok = !text.overflow && mac_key.len &&
		  HMAC(EVP_sha256(), mac_key.ptr, (int)mac_key.len, (const unsigned char *)text.ptr,
		       text.len, mac, &len) != NULL;
	if (ok)
		put_whole(str_as_view(&text), view_of((const char *)mac, len), out);
	str_fini(&text);
	return ok;
}
