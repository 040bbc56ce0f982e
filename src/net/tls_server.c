/* SPDX-License-Identifier: MIT */
/*
 * Towards clients: which certificate for which name, tickets, staples, who the client
 * is.  One SSL_CTX for each different set of certificates (tls_sets.c); the name in the ClientHello
 * chooses the set, the client's algorithms choose within it.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "tls_server.h"

#include "weir/base/check.h"
#include "weir/base/hash.h"

/* Tickets live as long as any of our keys is certain to. */
#define TICKET_LIFE_S (24 * 3600)

void tls_server_get(struct tls_server *server)
{
	atomic_fetch_add(&server->refs, 1);
}

void tls_server_put(struct tls_server *server)
{
	if (!server || atomic_fetch_sub(&server->refs, 1) > 1)
		return;
	for (size_t i = 0; i < server->n_sets; i++)
		SSL_CTX_free(server->sets[i].ctx);
	for (size_t i = 0; i < server->n_pairs; i++)
		tls_pair_fini(&server->pairs[i]);
	for (size_t i = 0; i < server->n_challenges; i++) {
		SSL_CTX_free(server->challenges[i].ctx);
		tls_pair_fini(&server->challenges[i].pair);
	}
	tls_tickets_put(server->tickets);
	arena_free(server->arena);
}

static struct tls_conn *conn_of(SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

/* ---- names ---- */

/* False when the client names nobody. */
static bool choose_ctx(SSL *ssl, struct view sent)
{
	char name[256];
	if (!sent.len || sent.len >= sizeof(name))
		return false;
	for (size_t i = 0; i < sent.len; i++)
		name[i] = char_lower(sent.ptr[i]);
	SSL_CTX *ctx = tls_server_ctx(conn_of(ssl)->server, view_of(name, sent.len));
	if (ctx != SSL_get_SSL_CTX(ssl))
		SSL_set_SSL_CTX(ssl, ctx);
	return true;
}

/* The one protocol that an authority offers (RFC 8737 3). */
static bool is_authority(SSL *ssl)
{
	struct view offered = tls_hello_alpn(ssl), only = TLS_CHALLENGE_ALPN;
	return offered.len == only.len + 1 && offered.ptr[0] == (char)only.len &&
	       view_eq(view_skip(offered, 1), only);
}

/* Who proves nothing about himself is asked for nothing: there is nothing to be had, either. */
static void choose_challenge(SSL *ssl, const struct tls_server *server)
{
	struct view name = tls_hello_name(ssl);
	for (size_t i = 0; i < server->n_challenges; i++) {
		if (!view_ieq(server->challenges[i].name, name))
			continue;
		SSL_set_SSL_CTX(ssl, server->challenges[i].ctx);
		SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	}
}

/* Before a session is looked up: it belongs to the certificates of one name. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
	const struct tls_server *server = conn_of(ssl)->server;
	(void)alert;
	(void)arg;
	if (unlikely(server->n_challenges) && is_authority(ssl))
		choose_challenge(ssl, server);
	else
		choose_ctx(ssl, tls_hello_name(ssl));
	return TLS_HELLO_GOOD;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	struct view sent = view_str(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	(void)alert;
	(void)arg;
	return choose_ctx(ssl, sent) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* ---- ALPN, staples ---- */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		   const unsigned char *in, unsigned in_len, void *arg)
{
	const struct tls_server *server = conn_of(ssl)->server;
	unsigned char *chosen;
	(void)arg;
	/* nothing in common: refused (RFC 7301 3.2), so that no other protocol's bytes are
	 * taken for ours */
	if (SSL_select_next_proto(&chosen, out_len, (const unsigned char *)server->alpn.ptr,
				  (unsigned)server->alpn.len, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static bool staple_is_fresh(const struct tls_pair *pair)
{
	const unsigned char *at = pair->ocsp;
	OCSP_RESPONSE *resp = d2i_OCSP_RESPONSE(NULL, &at, pair->ocsp_len);
	OCSP_BASICRESP *basic = resp ? OCSP_response_get1_basic(resp) : NULL;
	OCSP_SINGLERESP *one = basic ? OCSP_resp_get0(basic, 0) : NULL;
	ASN1_GENERALIZEDTIME *from, *to = NULL;
	bool fresh = false;
	if (one) {
		OCSP_single_get0_status(one, NULL, NULL, &from, &to);
		fresh = OCSP_check_validity(from, to, 300, -1) == 1;
	}
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(resp);
	ERR_clear_error();
	return fresh;
}

static int on_status_request(SSL *ssl, void *arg)
{
	const struct tls_server *server = conn_of(ssl)->server;
	const EVP_PKEY *key = SSL_get_privatekey(ssl); /* ours, not a copy */
	(void)arg;
	for (size_t i = 0; i < server->n_pairs; i++) {
		const struct tls_pair *pair = &server->pairs[i];
		if (pair->key != key || !pair->ocsp || !staple_is_fresh(pair))
			continue;
		unsigned char *copy = OPENSSL_memdup(pair->ocsp, (size_t)pair->ocsp_len);
		if (!copy)
			break;
		if (SSL_set_tlsext_status_ocsp_resp(ssl, copy, (size_t)pair->ocsp_len))
			return SSL_TLSEXT_ERR_OK; /* owns it now */
		OPENSSL_free(copy);
		break;
	}
	return SSL_TLSEXT_ERR_NOACK;
}

/* ---- tickets ---- */

static const struct tls_ticket_key *find_ticket_key(const struct tls_ticket_ring *ring,
						    const unsigned char *name)
{
	for (unsigned i = 0; i < ring->n; i++)
		if (memcmp(ring->keys[i].name, name, sizeof(ring->keys[i].name)) == 0)
			return &ring->keys[i];
	return NULL;
}

/* 1: done, 2: done, and a new ticket is due, 0: unknown key, -1: failed */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     TLS_MAC_CTX *mac, int encrypt)
{
	const struct tls_conn *c = conn_of(ssl);
	const struct tls_ticket_ring *ring =
	    c->server->tickets ? c->server->tickets : c->local->tickets;
	if (!ring)
		return encrypt ? -1 : 0;
	const struct tls_ticket_key *key = encrypt ? &ring->keys[0] : find_ticket_key(ring, name);
	const EVP_CIPHER *aes = c->local->ticket_aes;
	if (!key)
		return 0;
	if (encrypt) {
		memcpy(name, key->name, sizeof(key->name));
		if (!tls_random(c->local->lib, iv, 16) ||
		    EVP_EncryptInit_ex(cipher, aes, NULL, key->aes, iv) != 1)
			return -1;
	} else if (EVP_DecryptInit_ex(cipher, aes, NULL, key->aes, iv) != 1) {
		return -1;
	}
	if (!tls_set_ticket_mac(mac, key))
		return -1;
	if (encrypt)
		return 1;
	/* clients of TLS 1.3 use a ticket once (RFC 8446 C.4): each has the next one */
	return key == &ring->keys[0] && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
}

/* ---- contexts ---- */

static void add_name(void *arg, struct view name)
{
	*(uint64_t *)arg += hash_view(name, 4);
}

/*
 * Sessions know who the client was, and who it took us for: they end with what that was
 * decided by.  Certificates count by their names: a renewed one is the same, also on
 * another node that shares the keys of tickets.
 */
static void set_session_context(SSL_CTX *ctx, const struct tls_server *server,
				const struct set *set, const struct tls_server_options *o)
{
	uint64_t id[3] = {hash_view(o->name, 1), (uint64_t)o->client_auth, 0};
	id[1] += hash_view(o->client_ca, 2) ^ hash_view(o->client_crl, 3);
	for (unsigned s = 0; s < N_SLOTS; s++)
		if (set->pairs[s] >= 0)
			tls_cert_names(server->pairs[set->pairs[s]].cert, add_name, &id[2]);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)id, sizeof(id));
}

static bool set_client_auth(SSL_CTX *ctx, const struct tls_server *server,
			    const struct tls_server_options *o, struct str *why)
{
	int mode = SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
	if (o->client_auth == TLS_CLIENT_NONE)
		return true;
	if (o->client_auth == TLS_CLIENT_REQUIRED)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(ctx, mode, NULL);
	/* a resumed session would pass by a revocation list that has changed since */
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 0);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	if (!tls_store_load(server->local->lib, store, o->client_ca, o->client_crl, why))
		return false;
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);
	for (int i = 0; i < (int)sk_X509_OBJECT_num(all); i++) {
		X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
		if (cert)
			SSL_CTX_add_client_CA(ctx, cert);
	}
	return true;
}

static bool make_ctx(struct tls_server *server, struct set *set, const struct tls_server_options *o,
		     struct str *why)
{
	SSL_CTX *ctx = tls_ctx_new(server->local->lib, TLS_server_method(), o->only_13);
	set->ctx = ctx;
	if (!ctx) {
		str_text(why, "the TLS library has no context for us");
		return false;
	}
	for (unsigned s = 0; s < N_SLOTS; s++) {
		if (set->pairs[s] >= 0 && !tls_ctx_use(ctx, &server->pairs[set->pairs[s]])) {
			str_printf(why, "certificate '" VIEW_FMT "' cannot be used: %s",
				   VIEW_ARG(o->files[set->pairs[s]].cert), tls_why("unknown"));
			return false;
		}
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	tls_set_session_life(ctx, TICKET_LIFE_S);
	SSL_CTX_set_num_tickets(ctx, 1);
	tls_set_ticket_callback(ctx, on_ticket);
	tls_set_hello_callback(ctx, on_hello);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
	SSL_CTX_set_tlsext_status_cb(ctx, on_status_request);
	if (server->alpn.len)
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	if (!o->library_records)
		tls_own_prepare(ctx);
	set_session_context(ctx, server, set, o);
	return set_client_auth(ctx, server, o, why);
}

/* ---- challenges ---- */

static int on_challenge_name(SSL *ssl, int *alert, void *arg)
{
	(void)ssl;
	(void)alert;
	(void)arg;
	return SSL_TLSEXT_ERR_OK;
}

static int on_challenge_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
			     const unsigned char *in, unsigned in_len, void *arg)
{
	static const struct view only = {"acme-tls/1", 10};
	(void)ssl;
	(void)in;
	(void)in_len;
	(void)arg;
	*out = (const unsigned char *)only.ptr;
	*out_len = (unsigned char)only.len;
	return SSL_TLSEXT_ERR_OK;
}

static bool make_challenge(struct tls_server *server, const struct tls_challenge *from,
			   struct str *why)
{
	struct challenge *c = &server->challenges[server->n_challenges++];
	struct tls_files files = {.cert = from->name, .pem = from->pem};
	c->name = arena_view(server->arena, from->name);
	if (tls_pair_read(server->local->lib, &files, &c->pair, why) != TLS_GOOD)
		return false;
	c->ctx = tls_ctx_new(server->local->lib, TLS_server_method(), false);
	if (!c->ctx || !tls_ctx_use(c->ctx, &c->pair)) {
		str_text(why, "the TLS library has no context for a challenge");
		return false;
	}
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(c->ctx, 0);
	SSL_CTX_set_tlsext_servername_callback(c->ctx, on_challenge_name);
	SSL_CTX_set_alpn_select_cb(c->ctx, on_challenge_alpn, NULL);
	return true;
}

static bool make_challenges(struct tls_server *server, const struct tls_server_options *o,
			    struct str *why)
{
	bool ok = true;
	server->challenges =
	    arena_array(server->arena, o->n_challenges, sizeof(*server->challenges));
	for (size_t i = 0; ok && i < o->n_challenges; i++)
		ok = make_challenge(server, &o->challenges[i], why);
	return ok;
}

bool tls_answers_challenges(void)
{
	return TLS_HELLO_HAS_ALPN;
}

/* ---- life ---- */

struct tls_server *tls_server_new(struct tls_local *local, const struct tls_server_options *o,
				  struct str *why)
{
	struct arena *arena = arena_new();
	struct tls_server *server = arena_zalloc(arena, sizeof(*server));
	server->refs = 1;
	server->arena = arena;
	server->local = local;
	server->client_auth = o->client_auth;
	server->alpn = arena_view(arena, o->alpn);
	server->tickets = o->tickets;
	if (o->tickets)
		tls_tickets_get(o->tickets, 1);
	server->pairs = arena_array(arena, o->n_files, sizeof(*server->pairs));
	bool ok = o->n_files > 0;
	for (size_t i = 0; ok && i < o->n_files; i++) {
		ok = tls_pair_read(local->lib, &o->files[i], &server->pairs[i], why) == TLS_GOOD;
		server->n_pairs++;
	}
	if (ok)
		tls_server_choose_sets(server);
	for (size_t i = 0; ok && i < server->n_sets; i++)
		ok = make_ctx(server, &server->sets[i], o, why);
	if (ok && make_challenges(server, o, why))
		return server;
	tls_server_put(server);
	return NULL;
}

static void put_owner(struct tls_conn *c)
{
	tls_server_put(c->server);
}

void *tls_accept(struct tls_server *server)
{
	struct tls_conn *c = tls_conn_new(server->local, server->sets[0].ctx);
	if (!c)
		return NULL;
	c->server = server;
	c->put_owner = put_owner;
	tls_server_get(server);
	SSL_set_accept_state(c->ssl);
	return c;
}
