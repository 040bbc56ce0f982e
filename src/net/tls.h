/* SPDX-License-Identifier: MIT */
/* What the files of TLS share. */
#ifndef WEIR_SRC_NET_TLS_H
#define WEIR_SRC_NET_TLS_H

#include <openssl/ssl.h>

#include "tls_compat.h"
#include "tls_record.h"

#include "weir/net/tls.h"

#define TLS_IN_MAX (64 * 1024)
#define TLS_OUT_MAX (64 * 1024)

/*
 * Our direction of a connection.
 *
 *              the handshake's last bytes wait
 *            +----------------------------------> HELD
 *            |<---------- a write, an end ----------+
 *          CLEAR ------------------------------> OWING
 *            |<---- what was kept is out -----------+
 *            +---------> LEFT --+
 *            |                  v        (from any state)
 *            +--------------> BROKEN
 *
 *   CLEAR   a write is sealed and sent
 *   HELD    `out` is a ticket that leaves with the first response
 *   OWING   `out` is what the kernel did not take, and the first byte of the next write is
 *           in it already
 *   LEFT    close_notify or a fatal alert has been said
 *   BROKEN  nothing more can be sent
 */
enum tls_sending { TLS_CLEAR, TLS_HELD, TLS_OWING, TLS_LEFT, TLS_BROKEN };

/*
 * The peer's direction.
 *
 *            this call's recv
 *   READING ------------------> SPENT        (OpenSSL asks more than once)
 *      ^  |                       |
 *      +--|--- the next call -----+
 *         +--- TCP has ended --> CUT
 *         |                       |
 *         v  (from all of them)   v
 *      ENDING ---------> ENDED
 *      FAILING --------> FAILED
 *         a read has said so
 *
 *   READING  the socket may have more
 *   SPENT    nothing more in this call: a short recv means that the socket is empty
 *   CUT      OpenSSL is about to say what that means for what it has read
 *   ENDING   close_notify has come, and with it bytes that come first
 *   ENDED    each read says so
 *   FAILING, FAILED  the same for what broke the connection: `error`
 */
enum tls_receiving {
	TLS_READING,
	TLS_SPENT,
	TLS_CUT,
	TLS_ENDING,
	TLS_FAILING,
	TLS_ENDED,
	TLS_FAILED,
};

struct tls_conn {
	void *slab_link; /* only while free */
	uint32_t magic;
	int fd;
	SSL *ssl;                  /* owns; NULL: `own` */
	struct tls_record *record; /* owns; its secrets, if they will be needed */
	struct list warm;          /* in local->warm while `ssl` has buffers */
	struct tls_local *local;
	struct tls_server *server;             /* counted; or */
	struct tls_client *client;             /* counted */
	void (*put_owner)(struct tls_conn *c); /* NULL: nobody has it (tests) */
	struct tls_slot *slot;                 /* where its session goes; borrowed, or NULL */
	struct buf *in;                        /* received, not decrypted yet; owns */
	struct buf *out;                       /* encrypted, not sent yet; owns */
	struct buf *plain;                     /* decrypted, not taken yet; owns; of `own` only */
	bool own;                              /* records are sealed and opened by us: tls_own.c */
	uint8_t sending;                       /* enum tls_sending */
	uint8_t receiving;                     /* enum tls_receiving */
	int error;                             /* errno of FAILING and FAILED */
	uint32_t n_sealed;                     /* records since our Finished */
	struct view alpn;                      /* static; of `own` only */
	size_t recv_max;                       /* of this call */
	const char *why;                       /* static */
	struct tls_info info;
	char *peer; /* texts of `info`; owns */
};

#define TLS_MAGIC 0x544c5331

/* The state for a connection of one of the two; NULL: out of memory. */
struct tls_conn *tls_conn_new(struct tls_local *local, SSL_CTX *ctx);
void tls_server_get(struct tls_server *server);

/* ---- the two directions, and the bytes that wait (tls_wire.c) ---- */

/* The only ways to change `sending` and `receiving`. */
void tls_set_sending(struct tls_conn *c, enum tls_sending sending);
void tls_set_receiving(struct tls_conn *c, enum tls_receiving receiving);
/* Reads say no more than this, once what came before has been taken. */
void tls_fail_receiving(struct tls_conn *c, int error);
/* OpenSSL's object is not needed any more. */
void tls_conn_drop_ssl(struct tls_conn *c);
/* Keeps bytes for later. */
bool tls_keep(struct tls_conn *c, struct buf **buf, const char *ptr, size_t len);
/* Some of them, of which there are; NULL when these were the last. */
size_t tls_take_kept(struct tls_conn *c, struct buf **buf, char *to, size_t cap);
/* A ticket that is held goes ahead of the records of this call, of which there are none yet. */
void tls_release_held(struct tls_conn *c);
/* Sends what an earlier call had to keep. */
enum io tls_flush_kept(struct tls_conn *c);
/* Sends local->out, or keeps it behind what is kept already. */
enum io tls_flush(struct tls_conn *c);

/* ---- connections that have done without OpenSSL's object since the handshake (tls_own.c) ---- */

/* Learns the secrets of connections while they are made. */
void tls_own_prepare(SSL_CTX *ctx);
/* Before each step of the handshake. */
void tls_own_listen(const struct tls_conn *c);
/* The handshake is over: takes the connection over if it can. */
void tls_own_begin(struct tls_conn *c);
/* Bytes read; none: there are none now, or `receiving` says why. */
size_t tls_own_read(struct tls_conn *c, char *ptr, size_t cap);
/* Into local->out. */
bool tls_own_seal(struct tls_conn *c, enum tls_content type, const char *ptr, size_t len);
/* A read would give something without a recv. */
bool tls_own_buffered(const struct tls_conn *c);
/* close_notify into local->out. */
void tls_own_goodbye(struct tls_conn *c);

/* ---- for all ---- */

/* Why OpenSSL's last call failed; static text.  Clears its queue. */
const char *tls_why(const char *otherwise);

/* Certificate, key, chain and staple of one entry. */
struct tls_pair {
	X509 *cert;
	EVP_PKEY *key;
	STACK_OF(X509) * chain;
	unsigned char *ocsp; /* of OPENSSL_malloc */
	long ocsp_len;
};
enum tls_bad tls_pair_read(OSSL_LIB_CTX *lib, const struct tls_files *files, struct tls_pair *pair,
			   struct str *why);
void tls_pair_fini(struct tls_pair *pair);
/* "good" and so on, or NULL when the response is about something else. */
const char *tls_ocsp_state(const struct tls_pair *pair, int64_t *until);
/* 0: there is none. */
int64_t tls_unix_time(const ASN1_TIME *when);
/* Calls fn for every DNS name it is for, in lower case. */
void tls_cert_names(X509 *cert, void (*fn)(void *arg, struct view name), void *arg);
/* Protocols, ciphers, modes: what servers and clients have in common. */
SSL_CTX *tls_ctx_new(OSSL_LIB_CTX *lib, const SSL_METHOD *method, bool only_13);
bool tls_ctx_use(SSL_CTX *ctx, const struct tls_pair *pair);
/* Into the store; checks of revocation when `crl` is given. */
bool tls_store_load(OSSL_LIB_CTX *lib, X509_STORE *store, struct view ca, struct view crl,
		    struct str *why);
/* Verified peer, version, cipher, name: once the handshake is done. */
bool tls_conn_note(struct tls_conn *conn);

#endif
