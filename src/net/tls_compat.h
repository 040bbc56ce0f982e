/* SPDX-License-Identifier: MIT */
/*
 * What the TLS libraries we build with do differently: OpenSSL 3, and AWS-LC, which
 * keeps to the API of OpenSSL 1.1.1 and has no library contexts, no fetching and no
 * providers: what one needs there is found without a lock.
 */
#ifndef WEIR_SRC_NET_TLS_COMPAT_H
#define WEIR_SRC_NET_TLS_COMPAT_H

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#ifdef OPENSSL_IS_AWSLC
#define TLS_AWSLC 1
#else
#define TLS_AWSLC 0
#endif

/* Gives back the buffers of records; none may be in use.  AWS-LC never keeps any. */
static inline void tls_free_buffers(SSL *ssl)
{
#if TLS_AWSLC
	(void)ssl;
#else
	SSL_free_buffers(ssl);
#endif
}

/* The client takes small records only (max_fragment_length, RFC 6066 4).  AWS-LC does not
 * agree to that. */
static inline bool tls_has_small_records(const SSL *ssl)
{
#if TLS_AWSLC
	(void)ssl;
	return false;
#else
	return SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl)) !=
	       TLSEXT_max_fragment_length_DISABLED;
#endif
}

#endif
