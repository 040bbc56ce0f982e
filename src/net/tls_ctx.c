/* SPDX-License-Identifier: MIT */
/* What the contexts of servers and clients have in common, and what the library says of a failure.
 */
#include <openssl/err.h>

#include "tls.h"

SSL_CTX *tls_ctx_new(OSSL_LIB_CTX *lib, const SSL_METHOD *method, bool only_13)
{
	SSL_CTX *ctx = tls_ssl_ctx_new(lib, method);
	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, only_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | TLS_PREFERENCE);
	/* its buffers are given back when a connection is idle, not after each record */
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* forward secrecy and AEAD only; a library context of our own reads no openssl.cnf */
	if (SSL_CTX_set_cipher_list(ctx, TLS_CIPHERS) == 1)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

bool tls_ctx_use(SSL_CTX *ctx, const struct tls_pair *pair)
{
	return SSL_CTX_use_cert_and_key(ctx, pair->cert, pair->key, pair->chain, 1) == 1;
}

const char *tls_why(const char *otherwise)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());
	ERR_clear_error();
	return text ? text : otherwise;
}

const char *tls_library(void)
{
	return tls_library_name();
}
