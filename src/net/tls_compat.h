/* SPDX-License-Identifier: MIT */
/*
 * What the TLS libraries that we build with do differently: OpenSSL 3, and AWS-LC, which
 * keeps to the API of OpenSSL 1.1.1 and has no library contexts, no fetching and no
 * providers: what one needs there is found without a lock.  All differences are in
 * this file; whatever else src/net calls, both have.
 */
#ifndef WEIR_SRC_NET_TLS_COMPAT_H
#define WEIR_SRC_NET_TLS_COMPAT_H

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "weir/net/tls.h"

/* ---- AWS-LC ---- */

#ifdef OPENSSL_IS_AWSLC

#include <openssl/ec_key.h>
#include <openssl/hmac.h>
#include <openssl/nid.h>
#include <openssl/service_indicator.h>

#define TLS_AWSLC 1

/* Both secrets of a connection are told at once, when our Finished is made. */
#define TLS_SECRETS_AT_ONCE true

/* Never made: the library has no state that threads share. */
typedef struct ossl_lib_ctx_st OSSL_LIB_CTX;

static inline const char *tls_library_name(void)
{
	return awslc_version_string();
}

static inline bool tls_lib_new(OSSL_LIB_CTX **lib)
{
	*lib = NULL;
	return true;
}

static inline void tls_lib_free(OSSL_LIB_CTX *lib)
{
	(void)lib;
}

static inline const EVP_CIPHER *tls_cipher_get(OSSL_LIB_CTX *lib, const char *name)
{
	(void)lib;
	return EVP_get_cipherbyname(name);
}

static inline void tls_cipher_put(const EVP_CIPHER *cipher)
{
	(void)cipher;
}

static inline const EVP_MD *tls_digest_get(OSSL_LIB_CTX *lib, const char *name)
{
	(void)lib;
	return EVP_get_digestbyname(name);
}

static inline void tls_digest_put(const EVP_MD *md)
{
	(void)md;
}

static inline bool tls_random(OSSL_LIB_CTX *lib, unsigned char *ptr, size_t len)
{
	(void)lib;
	return RAND_bytes(ptr, len) == 1;
}

/* ECDSA before RSA whatever the curve; as in OpenSSL's list. */
static inline bool tls_prefer_ecdsa(SSL_CTX *ctx)
{
	static const uint16_t sigalgs[] = {
	    SSL_SIGN_ECDSA_SECP256R1_SHA256,
	    SSL_SIGN_ECDSA_SECP384R1_SHA384,
	    SSL_SIGN_ECDSA_SECP521R1_SHA512,
	    SSL_SIGN_ED25519,
	    SSL_SIGN_RSA_PSS_RSAE_SHA256,
	    SSL_SIGN_RSA_PSS_RSAE_SHA384,
	    SSL_SIGN_RSA_PSS_RSAE_SHA512,
	    SSL_SIGN_RSA_PKCS1_SHA256,
	    SSL_SIGN_RSA_PKCS1_SHA384,
	    SSL_SIGN_RSA_PKCS1_SHA512,
#ifdef SSL_SIGN_MLDSA44
	    SSL_SIGN_MLDSA44,
	    SSL_SIGN_MLDSA65,
	    SSL_SIGN_MLDSA87,
#endif
	};
	return SSL_CTX_set_signing_algorithm_prefs(ctx, sigalgs,
						   sizeof(sigalgs) / sizeof(*sigalgs)) == 1;
}

/* In brackets the client chooses: those without AES in hardware want ChaCha20. */
#define TLS_CIPHERS                                                     \
	"[ECDHE-ECDSA-AES256-GCM-SHA384|ECDHE-ECDSA-AES128-GCM-SHA256|" \
	"ECDHE-ECDSA-CHACHA20-POLY1305]:"                               \
	"[ECDHE-RSA-AES256-GCM-SHA384|ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]"
#define TLS_PREFERENCE SSL_OP_CIPHER_SERVER_PREFERENCE

static inline SSL_CTX *tls_ssl_ctx_new(OSSL_LIB_CTX *lib, const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	(void)lib;
	if (!ctx || tls_prefer_ecdsa(ctx))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

/* Sessions of TLS 1.3 have a life of their own. */
static inline void tls_set_session_life(SSL_CTX *ctx, uint32_t seconds)
{
	SSL_CTX_set_timeout(ctx, seconds);
	SSL_CTX_set_session_psk_dhe_timeout(ctx, seconds);
}

static inline X509 *tls_read_cert(OSSL_LIB_CTX *lib, BIO *bio, pem_password_cb *ask, void *arg)
{
	(void)lib;
	return PEM_read_bio_X509(bio, NULL, ask, arg);
}

static inline EVP_PKEY *tls_read_key(OSSL_LIB_CTX *lib, BIO *bio, pem_password_cb *ask, void *arg)
{
	(void)lib;
	return PEM_read_bio_PrivateKey(bio, NULL, ask, arg);
}

/* Whether there is a signature algorithm for it. */
static inline bool tls_serves_key(const EVP_PKEY *key)
{
	const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key);
	const EC_GROUP *group = ec ? EC_KEY_get0_group(ec) : NULL;
	int curve = group ? EC_GROUP_get_curve_name(group) : NID_undef;
	switch (EVP_PKEY_id(key)) {
	case EVP_PKEY_EC:
		return curve == NID_X9_62_prime256v1 || curve == NID_secp384r1 ||
		       curve == NID_secp521r1;
	case EVP_PKEY_RSA:
	case EVP_PKEY_ED25519:
#ifdef SSL_SIGN_MLDSA44
	case EVP_PKEY_PQDSA:
#endif
		return true;
	default:
		return false;
	}
}

/* The curve's name; "" when there is none. */
static inline void tls_key_group(const EVP_PKEY *key, char *to, size_t cap)
{
	const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key);
	const EC_GROUP *group = ec ? EC_KEY_get0_group(ec) : NULL;
	const char *name = group ? OBJ_nid2sn(EC_GROUP_get_curve_name(group)) : NULL;
	OPENSSL_strlcpy(to, name ? name : "", cap);
}

static inline bool tls_trust_system(OSSL_LIB_CTX *lib, X509_STORE *store)
{
	(void)lib;
	return X509_STORE_set_default_paths(store) == 1;
}

typedef HMAC_CTX TLS_MAC_CTX;

static inline bool tls_set_ticket_mac(HMAC_CTX *mac, const struct tls_ticket_key *key)
{
	return HMAC_Init_ex(mac, key->mac, sizeof(key->mac), EVP_sha256(), NULL) == 1;
}

/* The callback for the server's name comes before sessions are looked up. */
#define TLS_HELLO_GOOD 1
static inline void tls_set_hello_callback(SSL_CTX *ctx, int (*fn)(SSL *, int *, void *))
{
	(void)ctx;
	(void)fn;
}

static inline struct view tls_hello_name(SSL *ssl)
{
	(void)ssl;
	return VIEW_NONE;
}

/* Nor is there another callback for SSL objects so early. */
#define TLS_HELLO_HAS_ALPN false
static inline struct view tls_hello_alpn(SSL *ssl)
{
	(void)ssl;
	return VIEW_NONE;
}

#define tls_set_ticket_callback SSL_CTX_set_tlsext_ticket_key_cb

/* AWS-LC gives the buffers of records back by itself. */
static inline void tls_free_buffers(SSL *ssl)
{
	(void)ssl;
}

/* It does not agree to max_fragment_length. */
static inline bool tls_has_small_records(const SSL *ssl)
{
	(void)ssl;
	return false;
}

/* A ticket of TLS 1.3 waits for the first write: here it is, with nothing. */
static inline void tls_write_tickets(SSL *ssl)
{
	if (SSL_is_server(ssl))
		SSL_write(ssl, "", 0);
}

/* Records written with the key that is in use; `counted` by on_message is another number:
 * handshake messages share records that come later. */
static inline uint64_t tls_n_sealed(const SSL *ssl, uint64_t counted)
{
	(void)counted;
	return SSL_get_write_sequence(ssl);
}

/* What came of verifying the peer; X509_V_OK also when it did not come to that. */
static inline long tls_verdict(const SSL *ssl)
{
	long verdict = SSL_get_verify_result(ssl);
	return verdict == X509_V_ERR_INVALID_CALL ? X509_V_OK : verdict;
}

/* ---- OpenSSL 3 ---- */

#else

#include <openssl/core_names.h>

#define TLS_AWSLC 0

/* Ours with our Finished, the client's with its own. */
#define TLS_SECRETS_AT_ONCE false

static inline const char *tls_library_name(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

static inline bool tls_lib_new(OSSL_LIB_CTX **lib)
{
	*lib = OSSL_LIB_CTX_new();
	return *lib != NULL;
}

static inline void tls_lib_free(OSSL_LIB_CTX *lib)
{
	OSSL_LIB_CTX_free(lib);
}

static inline const EVP_CIPHER *tls_cipher_get(OSSL_LIB_CTX *lib, const char *name)
{
	return EVP_CIPHER_fetch(lib, name, NULL);
}

static inline void tls_cipher_put(const EVP_CIPHER *cipher)
{
	EVP_CIPHER_free((EVP_CIPHER *)cipher);
}

static inline const EVP_MD *tls_digest_get(OSSL_LIB_CTX *lib, const char *name)
{
	return EVP_MD_fetch(lib, name, NULL);
}

static inline void tls_digest_put(const EVP_MD *md)
{
	EVP_MD_free((EVP_MD *)md);
}

static inline bool tls_random(OSSL_LIB_CTX *lib, unsigned char *ptr, size_t len)
{
	return RAND_bytes_ex(lib, ptr, len, 0) == 1;
}

#define TLS_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define TLS_PREFERENCE (SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA)

static inline SSL_CTX *tls_ssl_ctx_new(OSSL_LIB_CTX *lib, const SSL_METHOD *method)
{
	return SSL_CTX_new_ex(lib, NULL, method);
}

static inline void tls_set_session_life(SSL_CTX *ctx, uint32_t seconds)
{
	SSL_CTX_set_timeout(ctx, (long)seconds);
}

static inline X509 *tls_read_cert(OSSL_LIB_CTX *lib, BIO *bio, pem_password_cb *ask, void *arg)
{
	X509 *cert = X509_new_ex(lib, NULL);
	if (cert && PEM_read_bio_X509(bio, &cert, ask, arg))
		return cert;
	X509_free(cert);
	return NULL;
}

static inline EVP_PKEY *tls_read_key(OSSL_LIB_CTX *lib, BIO *bio, pem_password_cb *ask, void *arg)
{
	return PEM_read_bio_PrivateKey_ex(bio, NULL, ask, arg, lib, NULL);
}

/* What it does not serve, it does not take either. */
static inline bool tls_serves_key(const EVP_PKEY *key)
{
	(void)key;
	return true;
}

static inline void tls_key_group(const EVP_PKEY *key, char *to, size_t cap)
{
	size_t len;
	if (!EVP_PKEY_get_group_name(key, to, cap, &len))
		*to = '\0';
}

static inline bool tls_trust_system(OSSL_LIB_CTX *lib, X509_STORE *store)
{
	return X509_STORE_set_default_paths_ex(store, lib, NULL) == 1;
}

typedef EVP_MAC_CTX TLS_MAC_CTX;

static inline bool tls_set_ticket_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *key)
{
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac,
					      sizeof(key->mac)),
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
	    OSSL_PARAM_construct_end(),
	};
	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

#define TLS_HELLO_GOOD SSL_CLIENT_HELLO_SUCCESS
static inline void tls_set_hello_callback(SSL_CTX *ctx, int (*fn)(SSL *, int *, void *))
{
	SSL_CTX_set_client_hello_cb(ctx, fn, NULL);
}

/* The one name of the extension (RFC 6066 3); what is malformed OpenSSL refuses later. */
static inline struct view tls_hello_name(SSL *ssl)
{
	const unsigned char *p;
	size_t n;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 || n < 5 ||
	    p[2] != TLSEXT_NAMETYPE_host_name || (size_t)(p[3] << 8 | p[4]) != n - 5)
		return VIEW_NONE;
	return view_of((const char *)p + 5, n - 5);
}

/* The list of protocols, without its length (RFC 7301 3.1). */
#define TLS_HELLO_HAS_ALPN true
static inline struct view tls_hello_alpn(SSL *ssl)
{
	const unsigned char *p;
	size_t n;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p,
				      &n) != 1 ||
	    n < 2 || (size_t)(p[0] << 8 | p[1]) != n - 2)
		return VIEW_NONE;
	return view_of((const char *)p + 2, n - 2);
}

#define tls_set_ticket_callback SSL_CTX_set_tlsext_ticket_key_evp_cb

/* Gives back the buffers of records; none may be in use. */
static inline void tls_free_buffers(SSL *ssl)
{
	SSL_free_buffers(ssl);
}

/* Written with the handshake. */
static inline void tls_write_tickets(SSL *ssl)
{
	(void)ssl;
}

static inline uint64_t tls_n_sealed(const SSL *ssl, uint64_t counted)
{
	(void)ssl;
	return counted;
}

static inline long tls_verdict(const SSL *ssl)
{
	return SSL_get_verify_result(ssl);
}

/* The client takes small records only (max_fragment_length, RFC 6066 4). */
static inline bool tls_has_small_records(const SSL *ssl)
{
	return SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl)) !=
	       TLSEXT_max_fragment_length_DISABLED;
}

#endif

#endif
