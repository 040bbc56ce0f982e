/* SPDX-License-Identifier: MIT */
/*
 * TLS as a transport (OpenSSL or AWS-LC), towards clients and towards backends.
 *
 *   tls_local_prepare(&local)                      control thread, before first use
 *   server = tls_server_new(&local, &options, &why)
 *   state = tls_accept(server);                    the owning thread
 *   stream_secure(&stream, &transport_tls_server, state);
 *   ... on->connected: stream_alpn(), tls_info() ...
 *
 * One struct tls_local per thread that has TLS connections: with OpenSSL its own
 * OSSL_LIB_CTX, because that takes a dozen shared locks per handshake otherwise, and
 * the scratch areas that records pass through, so that one recv and one send carry
 * many records and an idle connection holds none.
 *
 * Threads: contexts (server, client) are made and dropped by the control thread and
 * counted, since connections hold them; everything else belongs to the thread of
 * the tls_local.
 */
#ifndef WEIR_NET_TLS_H
#define WEIR_NET_TLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/arena.h"
#include "weir/base/buf.h"
#include "weir/base/list.h"
#include "weir/base/str.h"
#include "weir/loop/loop.h"
#include "weir/net/transport.h"

struct ossl_lib_ctx_st;
struct evp_cipher_st;
struct ssl_session_st;
struct tls_records;
struct tls_server;
struct tls_client;

/* ---- ticket keys ---- */

#define TLS_TICKET_KEYS_MAX 4
#define TLS_TICKET_KEY_LEN 80

struct tls_ticket_key {
	unsigned char name[16], aes[32], mac[32];
};

/* Immutable; counted.  The first key encrypts, all decrypt. */
struct tls_ticket_ring {
	atomic_uint refs;
	unsigned n;
	struct tls_ticket_key keys[TLS_TICKET_KEYS_MAX];
};

/* A fresh key in front of the two newest of `old` (NULL: none). */
struct tls_ticket_ring *tls_tickets_rotate(const struct tls_ticket_ring *old);
/* One key a line in hexadecimal; NULL with `why`. */
struct tls_ticket_ring *tls_tickets_read(struct view text, struct str *why);
void tls_tickets_get(struct tls_ticket_ring *ring, unsigned n);
void tls_tickets_put(struct tls_ticket_ring *ring); /* NULL is fine */

/* Name and version of the library, as it was loaded; static. */
const char *tls_library(void);

/* ---- per thread ---- */

struct tls_local {
	struct loop *loop;
	struct buf_pool *bufs;
	struct slab conns;                      /* struct tls_conn */
	struct ossl_lib_ctx_st *lib;            /* owns; NULL: the library has none */
	const struct evp_cipher_st *ticket_aes; /* owns */
	struct tls_ticket_ring *tickets;        /* counted */
	struct tls_records *records;            /* keys of TLS 1.3; owns; NULL: not prepared */
	struct list warm; /* connections whose SSL has buffers, used last first */
	unsigned n_warm;
	char *in, *out;                /* scratch; owns */
	size_t in_at, in_len, out_len; /* of the call under way */
	size_t given;                  /* bytes in `in`, of the last step of a handshake */
	uint64_t turn_us;              /* the turn `n_shakes` counts */
	unsigned n_shakes;
};

void tls_local_init(struct tls_local *local, struct loop *loop, struct buf_pool *bufs,
		    uint32_t max_conns);
/* Gets memory and the library's context; any number of times.  Before the thread that
 * owns it knows of any connection. */
enum err tls_local_prepare(struct tls_local *local);
void tls_local_fini(struct tls_local *local);
/* Once it is prepared; the owning thread, and no more than once counts. */
void tls_local_watch(struct tls_local *local, struct slab_watch *watch, unsigned kind);
/* Takes over one count of `ring`.  The owning thread. */
void tls_local_set_tickets(struct tls_local *local, struct tls_ticket_ring *ring);

/* ---- certificates ---- */

/* What operators want to know of one certificate. */
struct tls_cert_info {
	struct view file, subject, issuer, names, key_type, fingerprint;
	int64_t not_before_s, not_after_s;
	/* "complete": it ends at a root that the system trusts, or at its own; "incomplete":
	 * the certificate is alone and who issued it is no such root; "private": it ends at
	 * an issuer nobody here knows; "self-signed" */
	struct view chain;
	struct view ocsp; /* "none", "good", "revoked", "unknown" or "expired" */
	int64_t ocsp_until_s;
};

/* A certificate in use, for operators. */
struct tls_used {
	struct view listener;
	struct tls_cert_info info;
};

struct tls_inventory {
	struct tls_used *rows;
	size_t n;
};

/* The files of one entry; `key` empty: in the same file; `ocsp` empty: none. */
struct tls_files {
	struct view cert, key, ocsp;
	struct view pem; /* certificates and key in place of what is in `cert`; empty: read it */
};

/*
 * Every pair in a directory: NAME.pem, NAME.crt or NAME.cer with its key in NAME.key or
 * in the file itself, and NAME.ocsp; of certbot's live/NAME fullchain.pem with privkey.pem alone,
 * and of lego's no NAME.issuer.crt.  In order of names.  ERR_IO with `why`.
 */
enum err tls_directory(struct view path, struct arena *arena, struct tls_files **out, size_t *n,
		       struct str *why);

enum tls_bad { TLS_GOOD, TLS_BAD_CERT, TLS_BAD_KEY, TLS_BAD_OCSP };
/*
 * Reads a pair and looks whether it can be served.  TLS_GOOD with text in `why` is a
 * warning (expired, not yet valid, names missing, OCSP out of date).  Texts of `info`
 * live in the arena.
 */
enum tls_bad tls_cert_check(const struct tls_files *files, struct arena *arena,
			    struct tls_cert_info *info, struct str *why);
/* Whether a file holds certificates, or revocation lists; n of them. */
bool tls_ca_check(struct view path, struct str *why);
bool tls_crl_check(struct view path, struct str *why);

/* ---- towards clients ---- */

/* A proof for an authority that asks by TLS-ALPN-01 (RFC 8737): shown to nobody else. */
struct tls_challenge {
	struct view name; /* in lower case */
	struct view pem;  /* certificate and key */
};
/* What such a connection agrees to; nothing is said on it. */
#define TLS_CHALLENGE_ALPN VIEW("acme-tls/1")
/* Whether the library lets us see what a client offers soon enough. */
bool tls_answers_challenges(void);

enum tls_client_auth { TLS_CLIENT_NONE, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED };

struct tls_server_options {
	struct view name; /* of the listener: sessions of one are not resumed at another */
	const struct tls_files *files;
	size_t n_files;
	bool only_13;
	bool library_records; /* records of TLS 1.3 stay with the TLS library */
	enum tls_client_auth client_auth;
	struct view client_ca, client_crl; /* files; empty: none */
	struct view alpn;                  /* as on the wire: lengths and names; may be empty */
	struct tls_ticket_ring *tickets;   /* counted by the server; NULL: those of the local */
	const struct tls_challenge *challenges;
	size_t n_challenges;
};

/* NULL with `why`. */
struct tls_server *tls_server_new(struct tls_local *local, const struct tls_server_options *options,
				  struct str *why);
void tls_server_put(struct tls_server *server); /* NULL is fine */

/* State for transport_tls_server; NULL: out of memory. */
void *tls_accept(struct tls_server *server);

/* ---- towards backends ---- */

struct tls_client_options {
	bool verify;
	struct view ca;        /* file; empty: those of the system */
	struct view sni;       /* name to send and to verify */
	struct view cert, key; /* files; empty: none */
	struct view alpn;
};

/* The last session with one peer; one thread. */
struct tls_slot {
	struct ssl_session_st *session; /* owns */
	uint64_t id;                    /* of the tls_client it was made with */
};

struct tls_client *tls_client_new(struct tls_local *local, const struct tls_client_options *options,
				  struct str *why);
void tls_client_get(struct tls_client *client);
void tls_client_put(struct tls_client *client); /* NULL is fine */
/* Equal for clients that trust and show the same; never 0. */
uint64_t tls_client_id(const struct tls_client *client);

/*
 * State for transport_tls_client.  `host` is sent and verified when the options name
 * none; an address is verified only.  `slot` may be NULL; it is borrowed.
 */
void *tls_connect(struct tls_client *client, struct view host, struct tls_slot *slot);
void tls_slot_fini(struct tls_slot *slot);
/* Before the handshake: whatever the client's ALPN offers, this connection offers http/1.1. */
void tls_offer_only_http1(void *state);

/* ---- a connection whose handshake is done ---- */

struct tls_info {
	const char *version, *cipher; /* static */
	struct view sni;              /* as the client sent it, in lower case */
	struct view subject;          /* of the verified peer; ptr NULL: it showed none */
	struct view fingerprint;      /* SHA-256 of its certificate, in hexadecimal */
	bool resumed;
};

/* Of a handshake that has just failed: what came last, as it came; until the next call for any
 * connection of the worker. */
struct view tls_given(const void *state);

/* NULL for states of other transports. */
const struct tls_info *tls_info(const struct transport *transport, const void *state);

extern const struct transport transport_tls_server, transport_tls_client;

#endif
