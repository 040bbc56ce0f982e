/* SPDX-License-Identifier: MIT */
/* Keys of TLS 1.3 and what is done with them. */
#include "tls_record.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tls_compat.h"

/* The expanded keys of one connection. */
struct tls_warm {
	struct list link;
	struct tls_record *of;
	EVP_CIPHER_CTX *in, *out; /* owns */
};

/* ---- secrets and keys ---- */

struct bytes {
	const unsigned char *ptr;
	size_t len;
};

/* HMAC over a digest that is at hand: EVP_MAC looks its digest up anew for each key. */
static bool hmac(struct tls_records *all, const struct tls_suite *s, const unsigned char *secret,
		 struct bytes text, unsigned char *out)
{
	unsigned char pad[2][128];
	size_t block = (size_t)EVP_MD_block_size(s->md);
	memset(pad[0], 0x36, sizeof(pad[0]));
	memset(pad[1], 0x5c, sizeof(pad[1]));
	for (size_t i = 0; i < s->secret_len; i++) {
		pad[0][i] ^= secret[i];
		pad[1][i] ^= secret[i];
	}
	bool ok = EVP_DigestInit_ex(all->hash, s->md, NULL) &&
		  EVP_DigestUpdate(all->hash, pad[0], block) &&
		  EVP_DigestUpdate(all->hash, text.ptr, text.len) &&
		  EVP_DigestFinal_ex(all->hash, out, NULL) &&
		  EVP_DigestInit_ex(all->hash, s->md, NULL) &&
		  EVP_DigestUpdate(all->hash, pad[1], block) &&
		  EVP_DigestUpdate(all->hash, out, s->secret_len) &&
		  EVP_DigestFinal_ex(all->hash, out, NULL);
	OPENSSL_cleanse(pad, sizeof(pad));
	return ok;
}

/* HKDF-Expand-Label with no context (7.1), for at most one block of the digest. */
static bool expand(struct tls_records *all, const struct tls_suite *s, const unsigned char *secret,
		   const char *label, unsigned char *out, size_t len)
{
	unsigned char info[40] = {0, (unsigned char)len}, block[EVP_MAX_MD_SIZE];
	size_t label_len = strlen(label), n = 3 + 6 + label_len;
	info[2] = (unsigned char)(6 + label_len);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, label_len);
	info[n++] = 0; /* length of the context */
	info[n++] = 1; /* number of the block */
	bool ok = hmac(all, s, secret, (struct bytes){info, n}, block);
	memcpy(out, block, len);
	OPENSSL_cleanse(block, sizeof(block));
	return ok;
}

static bool make_keys(struct tls_records *all, const struct tls_suite *s, struct tls_half *half)
{
	return expand(all, s, half->secret, "key", half->key, s->key_len) &&
	       expand(all, s, half->secret, "iv", half->iv, sizeof(half->iv));
}

/* ---- expanded keys ---- */

static bool set_key(EVP_CIPHER_CTX *ctx, const struct tls_record *r, const struct tls_half *half)
{
	const EVP_CIPHER *cipher = r->suite->cipher;
	if (EVP_CIPHER_CTX_cipher(ctx) == cipher) /* naming it again would free and get memory */
		cipher = NULL;
	return EVP_CipherInit_ex(ctx, cipher, NULL, half->key, NULL, half == &r->out) == 1;
}

static void warm_free(struct tls_records *all, struct tls_warm *w)
{
	list_del(&w->link);
	all->n_warm--;
	EVP_CIPHER_CTX_free(w->in);
	EVP_CIPHER_CTX_free(w->out);
	free(w);
}

static struct tls_warm *warm_new(struct tls_records *all)
{
	struct tls_warm *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	list_init(&w->link);
	all->n_warm++;
	w->in = EVP_CIPHER_CTX_new();
	w->out = EVP_CIPHER_CTX_new();
	if (w->in && w->out)
		return w;
	warm_free(all, w);
	return NULL;
}

/* From whom they were not used for longest. */
static struct tls_warm *warm_steal(struct tls_records *all)
{
	struct tls_warm *w = list_last(&all->warm, struct tls_warm, link);
	list_del(&w->link);
	w->of->warm = NULL;
	return w;
}

static struct tls_warm *warm_get(struct tls_records *all, struct tls_record *r)
{
	struct tls_warm *w = r->warm;
	if (w) {
		if (all->warm.next != &w->link) {
			list_del(&w->link);
			list_push_front(&all->warm, &w->link);
		}
		return w;
	}
	w = all->n_warm < TLS_WARM_MAX ? warm_new(all) : warm_steal(all);
	if (!w)
		return NULL;
	if (!set_key(w->in, r, &r->in) || !set_key(w->out, r, &r->out)) {
		warm_free(all, w);
		return NULL;
	}
	list_push_front(&all->warm, &w->link);
	w->of = r;
	r->warm = w;
	return w;
}

bool tls_record_update(struct tls_records *all, struct tls_record *r, struct tls_half *half)
{
	unsigned char next[TLS_SECRET_MAX];
	bool ok = expand(all, r->suite, half->secret, "traffic upd", next, r->suite->secret_len);
	memcpy(half->secret, next, sizeof(next));
	OPENSSL_cleanse(next, sizeof(next));
	half->seq = 0;
	if (!ok || !make_keys(all, r->suite, half))
		return false;
	return !r->warm || set_key(half == &r->in ? r->warm->in : r->warm->out, r, half);
}

/* ---- records ---- */

static void nonce_of(const struct tls_half *half, unsigned char nonce[12])
{
	memcpy(nonce, half->iv, 12);
	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] ^= (unsigned char)(half->seq >> (56 - 8 * i));
}

size_t tls_record_seal(struct tls_records *all, struct tls_record *r, enum tls_content type,
		       const char *ptr, size_t len, char *out)
{
	struct tls_warm *w = warm_get(all, r);
	unsigned char *to = (unsigned char *)out, nonce[12], inner = (unsigned char)type;
	size_t body = len + 1 + TLS_RECORD_TAG;
	int n, one, rest;
	if (!w)
		return 0;
	to[0] = TLS_DATA;
	to[1] = to[2] = 3;
	to[3] = (unsigned char)(body >> 8);
	to[4] = (unsigned char)body;
	nonce_of(&r->out, nonce);
	bool ok = EVP_EncryptInit_ex(w->out, NULL, NULL, NULL, nonce) &&
		  EVP_EncryptUpdate(w->out, NULL, &n, to, TLS_RECORD_HEAD) &&
		  EVP_EncryptUpdate(w->out, to + TLS_RECORD_HEAD, &n, (const unsigned char *)ptr,
				    (int)len) &&
		  EVP_EncryptUpdate(w->out, to + TLS_RECORD_HEAD + len, &one, &inner, 1) &&
		  n + one == (int)len + 1 &&
		  EVP_EncryptFinal_ex(w->out, to + TLS_RECORD_HEAD + len + 1, &rest) &&
		  EVP_CIPHER_CTX_ctrl(w->out, EVP_CTRL_AEAD_GET_TAG, TLS_RECORD_TAG,
				      to + TLS_RECORD_HEAD + len + 1);
	r->out.seq++;
	return ok ? TLS_RECORD_HEAD + body : 0;
}

/* Behind the content are its type and any number of zeroes. */
static enum tls_content type_of(const char *to, size_t *n)
{
	if (*n > TLS_RECORD_MAX + 1) /* padding counts (5.4) */
		return TLS_TOO_LONG;
	while (*n && to[*n - 1] == 0)
		--*n;
	if (*n == 0)
		return TLS_NO_TYPE;
	--*n;
	return (enum tls_content)(unsigned char)to[*n];
}

enum tls_content tls_record_open(struct tls_records *all, struct tls_record *r, char *record,
				 size_t len, char *to, size_t *n)
{
	struct tls_warm *w = warm_get(all, r);
	unsigned char *from = (unsigned char *)record, nonce[12];
	int got, rest;
	*n = 0;
	if (!w || len < TLS_RECORD_MORE || from[0] != TLS_DATA)
		return TLS_BAD;
	size_t body = len - TLS_RECORD_HEAD - TLS_RECORD_TAG;
	nonce_of(&r->in, nonce);
	bool ok = EVP_DecryptInit_ex(w->in, NULL, NULL, NULL, nonce) &&
		  EVP_CIPHER_CTX_ctrl(w->in, EVP_CTRL_AEAD_SET_TAG, TLS_RECORD_TAG,
				      from + TLS_RECORD_HEAD + body) &&
		  EVP_DecryptUpdate(w->in, NULL, &got, from, TLS_RECORD_HEAD) &&
		  EVP_DecryptUpdate(w->in, (unsigned char *)to, &got, from + TLS_RECORD_HEAD,
				    (int)body) &&
		  got == (int)body &&
		  EVP_DecryptFinal_ex(w->in, (unsigned char *)to + body, &rest) == 1;
	if (!ok)
		return TLS_BAD;
	r->in.seq++;
	*n = body;
	return type_of(to, n);
}

/* ---- life ---- */

struct tls_record *tls_record_new(struct tls_records *all)
{
	struct tls_record *r = slab_get(&all->slab);
	if (r)
		*r = (struct tls_record){0};
	return r;
}

void tls_record_free(struct tls_records *all, struct tls_record *r)
{
	if (!r)
		return;
	if (r->warm)
		warm_free(all, r->warm);
	OPENSSL_cleanse(r, sizeof(*r));
	slab_put(&all->slab, r);
}

bool tls_record_start(struct tls_records *all, struct tls_record *r, uint32_t cipher_id)
{
	for (unsigned i = 0; i < TLS_N_SUITES; i++)
		if (all->suites[i].id == cipher_id)
			r->suite = &all->suites[i];
	return r->suite && make_keys(all, r->suite, &r->in) && make_keys(all, r->suite, &r->out);
}

bool tls_records_init(struct tls_records *all, void *lib, uint32_t max_conns)
{
	static const struct {
		uint32_t id;
		const char *cipher, *md;
		size_t key_len, secret_len;
	} rows[TLS_N_SUITES] = {
	    {0x03001301, "AES-128-GCM", "SHA256", 16, 32},
	    {0x03001302, "AES-256-GCM", "SHA384", 32, 48},
	    {0x03001303, "ChaCha20-Poly1305", "SHA256", 32, 32},
	};
	*all = (struct tls_records){.rekey_after = TLS_RECORD_REKEY, .hash = EVP_MD_CTX_new()};
	slab_init(&all->slab, sizeof(struct tls_record), max_conns);
	list_init(&all->warm);
	bool ok = all->hash != NULL;
	for (unsigned i = 0; i < TLS_N_SUITES; i++) {
		struct tls_suite *s = &all->suites[i];
		s->id = rows[i].id;
		s->cipher = tls_cipher_get(lib, rows[i].cipher);
		s->md = tls_digest_get(lib, rows[i].md);
		s->key_len = rows[i].key_len;
		s->secret_len = rows[i].secret_len;
		ok &= s->cipher && s->md;
	}
	return ok;
}

void tls_records_fini(struct tls_records *all)
{
	for (unsigned i = 0; i < TLS_N_SUITES; i++) {
		tls_cipher_put(all->suites[i].cipher);
		tls_digest_put(all->suites[i].md);
	}
	EVP_MD_CTX_free(all->hash);
	slab_fini(&all->slab);
}
