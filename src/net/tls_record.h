/* SPDX-License-Identifier: MIT */
/*
 * Records of TLS 1.3 once the handshake is over (RFC 8446, 5.2 to 5.5 and 7.2 to 7.3):
 * sealed and opened with the primitives of OpenSSL, without its connection object,
 * which takes 14 KB for as long as it lives and a heap block of 17 KB for each read
 * and write.
 *
 *   r = tls_record_new(all);  r->in.secret, r->out.secret, out.seq are known
 *   tls_record_start(all, r, cipher_id)
 *   len = tls_record_seal(all, r, TLS_DATA, ptr, n, out)
 *   type = tls_record_open(all, r, record, len, to, &n)
 *
 * What takes memory is the expanded keys, 1.2 KB for each direction.  They are kept
 * for the connections that were active last; an idle one has its secrets only.
 *
 * Thread: the owner of the struct tls_records.
 */
#ifndef WEIR_SRC_NET_TLS_RECORD_H
#define WEIR_SRC_NET_TLS_RECORD_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/list.h"
#include "weir/base/slab.h"

#define TLS_RECORD_HEAD 5
#define TLS_RECORD_TAG 16
/* Plain bytes of one, and what sealing adds: head, content type, tag. */
#define TLS_RECORD_MAX 16384
#define TLS_RECORD_MORE (TLS_RECORD_HEAD + 1 + TLS_RECORD_TAG)
/* Bytes behind the head at most (5.2). */
#define TLS_RECORD_BODY_MAX (TLS_RECORD_MAX + 256)
/* A key seals this many: a third of what AES-GCM stands (5.5). */
#define TLS_RECORD_REKEY (UINT64_C(1) << 23)
#define TLS_SECRET_MAX 48
#define TLS_N_SUITES 3
/* Connections with expanded keys, per thread. */
#define TLS_WARM_MAX 1024

enum tls_content {
	TLS_BAD = 0, /* not for us, or not from our peer */
	TLS_ALERT = 21,
	TLS_HANDSHAKE = 22,
	TLS_DATA = 23,
	TLS_TOO_LONG = 256,
	TLS_NO_TYPE, /* nothing but padding */
};

struct tls_suite {
	uint32_t id;              /* as SSL_CIPHER_get_id gives it */
	const EVP_CIPHER *cipher; /* owns */
	const EVP_MD *md;         /* owns */
	size_t key_len, secret_len;
};

/* One direction. */
struct tls_half {
	unsigned char secret[TLS_SECRET_MAX], key[32], iv[12];
	uint64_t seq; /* of the next record */
};

struct tls_record {
	void *slab_link;         /* only while free */
	struct tls_warm *warm;   /* NULL: the keys are not expanded */
	struct tls_suite *suite; /* borrowed from the tls_records */
	struct tls_half in, out;
	uint8_t n_known;  /* secrets that are known: 2 */
	uint8_t n_barren; /* records in a row without data */
	bool update_due;  /* the peer asked for another key of ours */
};

struct tls_records {
	struct tls_suite suites[TLS_N_SUITES];
	EVP_MD_CTX *hash; /* owns */
	struct slab slab; /* struct tls_record */
	struct list warm; /* used last first */
	unsigned n_warm;
	uint64_t rekey_after;
};

/* False: the library lacks something; then fini is due too. */
bool tls_records_init(struct tls_records *all, void *lib, uint32_t max_conns);
void tls_records_fini(struct tls_records *all);

/* Zeroed; NULL: none is left. */
struct tls_record *tls_record_new(struct tls_records *all);
void tls_record_free(struct tls_records *all, struct tls_record *r); /* NULL is fine */
/* From the secrets to the keys.  False: not a cipher of TLS 1.3, or out of memory. */
bool tls_record_start(struct tls_records *all, struct tls_record *r, uint32_t cipher_id);

/* Bytes written to `out`, which has room for len + TLS_RECORD_MORE; 0: failed. */
size_t tls_record_seal(struct tls_records *all, struct tls_record *r, enum tls_content type,
		       const char *ptr, size_t len, char *out);
/*
 * Opens one whole record of `len` bytes, head included.  `to` has room for len -
 * TLS_RECORD_HEAD - TLS_RECORD_TAG bytes; it may be the body's own place.  The
 * type of what is in it, and *n; or TLS_BAD, TLS_TOO_LONG or TLS_NO_TYPE.
 */
enum tls_content tls_record_open(struct tls_records *all, struct tls_record *r, char *record,
				 size_t len, char *to, size_t *n);
/* On to the next key of one direction (7.2). */
bool tls_record_update(struct tls_records *all, struct tls_record *r, struct tls_half *half);
/* Whether a KeyUpdate has to go before the next data. */
static inline bool tls_record_is_due(const struct tls_records *all, const struct tls_record *r)
{
	return r->update_due || r->out.seq >= all->rekey_after;
}

#endif
