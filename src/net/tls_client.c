/* SPDX-License-Identifier: MIT */
/*
 * Towards backends: who is trusted, what is shown, and sessions to resume.  A session
 * is only offered by a client that trusts and shows the same as the one it was made
 * with: resuming skips the verification.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tls.h"

#include "weir/base/addr.h"
#include "weir/base/hash.h"

struct tls_client {
	atomic_uint refs;
	struct tls_local *local;
	struct arena *arena;
	SSL_CTX *ctx; /* owns */
	uint64_t id;
	bool verify;
	struct view sni;
};

void tls_client_get(struct tls_client *client)
{
	atomic_fetch_add(&client->refs, 1);
}

void tls_client_put(struct tls_client *client)
{
	if (!client || atomic_fetch_sub(&client->refs, 1) > 1)
		return;
	SSL_CTX_free(client->ctx);
	arena_free(client->arena);
}

uint64_t tls_client_id(const struct tls_client *client)
{
	return client->id;
}

void tls_slot_fini(struct tls_slot *slot)
{
	SSL_SESSION_free(slot->session);
	*slot = (struct tls_slot){0};
}

/* A session to resume has come; 1: taken over. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_conn *c = SSL_get_app_data(ssl);
	if (!c->slot || !SSL_SESSION_is_resumable(session))
		return 0;
	SSL_SESSION_free(c->slot->session);
	c->slot->session = session;
	c->slot->id = c->client->id;
	return 1;
}

/* A file's identity: who replaces it makes another client. */
static uint64_t file_id(struct view path, uint64_t seed)
{
	struct stat st;
	seed = hash_view(path, seed);
	if (!path.len || stat(path.ptr, &st))
		return seed;
	uint64_t facts[] = {(uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
			    (uint64_t)st.st_mtim.tv_nsec};
	return hash_bytes(facts, sizeof(facts), seed);
}

static uint64_t id_of(const struct tls_client_options *o)
{
	uint64_t id = o->verify ? 3 : 5;
	id = file_id(o->ca, id);
	id = hash_view(o->sni, id);
	id = file_id(o->cert, id);
	id = file_id(o->key, id);
	id = hash_view(o->alpn, id);
	return id ? id : 1;
}

static bool set_trust(struct tls_client *client, const struct tls_client_options *o,
		      struct str *why)
{
	OSSL_LIB_CTX *lib = client->local->lib;
	X509_STORE *store = SSL_CTX_get_cert_store(client->ctx);
	if (!o->verify)
		return true;
	SSL_CTX_set_verify(client->ctx, SSL_VERIFY_PEER, NULL);
	if (o->ca.len)
		return tls_store_load(lib, store, o->ca, VIEW_NONE, why);
	if (tls_trust_system(lib, store))
		return true;
	str_text(why, "the system's certificate authorities cannot be read");
	return false;
}

static bool set_own(struct tls_client *client, const struct tls_client_options *o, struct str *why)
{
	struct tls_pair pair;
	struct tls_files files = {.cert = o->cert, .key = o->key};
	if (!o->cert.len)
		return true;
	bool ok = tls_pair_read(client->local->lib, &files, &pair, why) == TLS_GOOD;
	if (ok && !tls_ctx_use(client->ctx, &pair)) {
		str_printf(why, "certificate '" VIEW_FMT "' cannot be used: %s", VIEW_ARG(o->cert),
			   tls_why("unknown"));
		ok = false;
	}
	tls_pair_fini(&pair);
	return ok;
}

struct tls_client *tls_client_new(struct tls_local *local, const struct tls_client_options *o,
				  struct str *why)
{
	if (tls_local_prepare(local)) {
		str_text(why, "no memory for TLS");
		return NULL;
	}
	struct arena *arena = arena_new();
	struct tls_client *client = arena_zalloc(arena, sizeof(*client));
	client->refs = 1;
	client->arena = arena;
	client->local = local;
	client->verify = o->verify;
	client->sni = arena_view(arena, o->sni);
	client->id = id_of(o);
	client->ctx = tls_ctx_new(local->lib, TLS_client_method(), false);
	if (!client->ctx) {
		str_text(why, "the TLS library has no context for us");
	} else if (set_trust(client, o, why) && set_own(client, o, why)) {
		SSL_CTX_set_session_cache_mode(client->ctx,
					       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(client->ctx, on_session);
		if (o->alpn.len) /* 0 is success here */
			SSL_CTX_set_alpn_protos(client->ctx, (const unsigned char *)o->alpn.ptr,
						(unsigned)o->alpn.len);
		return client;
	}
	tls_client_put(client);
	return NULL;
}

/* What the peer's certificate must be for. */
static bool set_name(const struct tls_client *client, SSL *ssl, struct view host)
{
	char text[256];
	struct addr addr;
	if (client->sni.len)
		host = client->sni;
	if (host.len == 0)
		return true;
	if (host.len >= sizeof(text))
		return false;
	memcpy(text, host.ptr, host.len);
	text[host.len] = '\0';
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	if (addr_parse_ip(host, &addr)) /* an address is not sent (RFC 6066 3) */
		return !client->verify || X509_VERIFY_PARAM_set1_ip_asc(param, text) == 1;
	if (SSL_set_tlsext_host_name(ssl, text) != 1)
		return false;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return !client->verify || X509_VERIFY_PARAM_set1_host(param, text, host.len) == 1;
}

void tls_offer_only_http1(void *state)
{
	static const unsigned char http1[] = "\x08http/1.1";
	struct tls_conn *c = state;
	/* fails without memory; whoever asked then looks at what was chosen */
	SSL_set_alpn_protos(c->ssl, http1, sizeof(http1) - 1);
}

static void put_owner(struct tls_conn *c)
{
	tls_client_put(c->client);
}

void *tls_connect(struct tls_client *client, struct view host, struct tls_slot *slot)
{
	struct tls_conn *c = tls_conn_new(client->local, client->ctx);
	if (!c)
		return NULL;
	c->client = client;
	c->put_owner = put_owner;
	tls_client_get(client);
	c->slot = slot;
	SSL_set_connect_state(c->ssl);
	if (!set_name(client, c->ssl, host)) {
		transport_tls_client.fini(c);
		return NULL;
	}
	if (slot && slot->session && slot->id == client->id)
		SSL_set_session(c->ssl, slot->session);
	return c;
}
