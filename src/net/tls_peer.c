/* SPDX-License-Identifier: MIT */
/* Who is at the other end, and what was agreed with it: once the handshake is done. */
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "tls.h"

/* The longest subject that is passed on. */
#define SUBJECT_MAX 1024

static bool note_peer(struct tls_conn *c, X509 *cert, struct str *texts)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	BIO *bio = BIO_new(BIO_s_mem());
	char *subject;
	if (!bio)
		return false;
	X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253);
	long n = BIO_get_mem_data(bio, &subject);
	bool ok = n >= 0 && n <= SUBJECT_MAX && X509_digest(cert, EVP_sha256(), md, &len) == 1;
	if (ok)
		str_put(texts, subject, (size_t)n);
	for (unsigned i = 0; ok && i < len; i++)
		str_printf(texts, "%02x", md[i]);
	c->info.subject.len = ok ? (size_t)n : 0;
	BIO_free(bio);
	return ok;
}

bool tls_conn_note(struct tls_conn *c)
{
	struct str texts = STR_INIT;
	X509 *cert = c->server ? SSL_get0_peer_certificate(c->ssl) : NULL;
	struct view sni = view_str(SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name));
	c->info.version = SSL_get_version(c->ssl);
	c->info.cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(c->ssl));
	c->info.resumed = SSL_session_reused(c->ssl);
	if (cert && !note_peer(c, cert, &texts)) {
		c->why = "the client's certificate has a subject of more than 1 KiB";
		str_fini(&texts);
		return false;
	}
	size_t peer_len = texts.len;
	for (size_t i = 0; i < sni.len; i++)
		str_char(&texts, char_lower(sni.ptr[i]));
	c->peer = texts.ptr;
	if (cert) {
		c->info.subject = view_of(c->peer, c->info.subject.len);
		c->info.fingerprint =
		    view_of(c->peer + c->info.subject.len, peer_len - c->info.subject.len);
	}
	c->info.sni = sni.len ? view_of(c->peer + peer_len, sni.len) : VIEW_NONE;
	return true;
}
