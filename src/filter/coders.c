/* SPDX-License-Identifier: MIT */
/*
 * The codings, and what their streams hold.  Levels are where one step more costs more
 * time than it saves bytes; tests/levels measures them, the guide has the table.
 */
#include "coder.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/filter/compress.h"

#ifdef WEIR_ZSTD
#define ZSTD_STATIC_LINKING_ONLY /* for an allocator of our own */
#include <zstd.h>
#endif
#ifdef WEIR_BROTLI
#include <brotli/encode.h>
#endif
#ifdef WEIR_ZLIB
#include <zlib.h>
#endif

#define ZSTD_LEVEL 1
#define BROTLI_LEVEL 1
#define GZIP_LEVEL 5
/* Of 128 KiB: an answer is rarely longer, and each stream has one. */
#define WINDOW_BITS 17

/* ---- memory ---- */

static _Atomic size_t held;
static _Atomic size_t limit = SIZE_MAX;

union block {
	size_t size;
	max_align_t align;
};

/*
 * The next stream needs what the last one gave back.  Through the heap that would be pages
 * which the kernel takes and clears each time: ten times what encoding a short answer
 * costs (measured with tests/levels).  Each worker keeps this much.
 */
#define KEPT_BLOCKS 64
#define KEPT_BYTES ((size_t)2 * 1024 * 1024)
#define KEPT_MIN 4096

static _Thread_local struct kept {
	struct kept *next; /* of all workers, so that they can be found */
	union block *rows[KEPT_BLOCKS];
	unsigned n;
	size_t bytes;
} *kept;
static struct kept *_Atomic all_kept;

static struct kept *kept_of_worker(void)
{
	if (kept)
		return kept;
	struct kept *k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->next = atomic_load(&all_kept);
	while (!atomic_compare_exchange_weak(&all_kept, &k->next, k))
		;
	return kept = k;
}

static union block *take_kept(size_t size)
{
	struct kept *k = size >= KEPT_MIN ? kept_of_worker() : NULL;
	for (unsigned i = k ? k->n : 0; i-- > 0;) { /* the last is still in caches */
		union block *block = k->rows[i];
		if (block->size != size)
			continue;
		k->rows[i] = k->rows[--k->n];
		k->bytes -= size;
		return block;
	}
	return NULL;
}

static bool keep(union block *block)
{
	struct kept *k = block->size >= KEPT_MIN ? kept_of_worker() : NULL;
	if (!k || k->n == KEPT_BLOCKS || k->bytes + block->size > KEPT_BYTES)
		return false;
	k->rows[k->n++] = block;
	k->bytes += block->size;
	return true;
}

void coder_limit(size_t bytes)
{
	atomic_store_explicit(&limit, bytes, memory_order_relaxed);
}

size_t coder_bytes(void)
{
	return atomic_load_explicit(&held, memory_order_relaxed);
}

void *coder_alloc(size_t size)
{
	size_t all = size + sizeof(union block);
	if (all < size || coder_bytes() + all > atomic_load_explicit(&limit, memory_order_relaxed))
		return NULL;
	union block *block = take_kept(all);
	if (!block)
		block = malloc(all);
	if (!block)
		return NULL;
	block->size = all;
	atomic_fetch_add_explicit(&held, all, memory_order_relaxed);
	return block + 1;
}

void coder_free(void *ptr)
{
	if (!ptr)
		return;
	union block *block = (union block *)ptr - 1;
	atomic_fetch_sub_explicit(&held, block->size, memory_order_relaxed);
	if (!keep(block))
		free(block);
}

/* ---- zstd (RFC 8878) ---- */

#ifdef WEIR_ZSTD
static void *zstd_alloc(void *opaque, size_t size)
{
	(void)opaque;
	return coder_alloc(size);
}

static void zstd_free(void *opaque, void *ptr)
{
	(void)opaque;
	coder_free(ptr);
}

/* It makes its tables as small as what comes first, where that is all. */
static struct coder *zstd_open(size_t len)
{
	(void)len;
	ZSTD_customMem memory = {zstd_alloc, zstd_free, NULL};
	ZSTD_CCtx *ctx = ZSTD_createCCtx_advanced(memory);
	if (!ctx)
		return NULL;
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, WINDOW_BITS);
	return (struct coder *)ctx;
}

static enum filter_step zstd_run(struct coder *coder, struct filter_piece *piece)
{
	ZSTD_inBuffer in = {piece->in, piece->in_len, 0};
	ZSTD_outBuffer out = {piece->out, piece->cap, 0};
	size_t left = ZSTD_compressStream2((ZSTD_CCtx *)coder, &out, &in,
					   piece->end ? ZSTD_e_end : ZSTD_e_flush);
	piece->in += in.pos;
	piece->in_len -= in.pos;
	piece->len = out.pos;
	if (ZSTD_isError(left))
		return FILTER_BROKEN;
	return left || piece->in_len ? FILTER_MORE : FILTER_DONE;
}

static void zstd_close(struct coder *coder)
{
	ZSTD_freeCCtx((ZSTD_CCtx *)coder);
}
#else
#define zstd_open NULL
#define zstd_run NULL
#define zstd_close NULL
#endif

/* ---- br (RFC 7932) ---- */

#ifdef WEIR_BROTLI
static void *br_alloc(void *opaque, size_t size)
{
	(void)opaque;
	return coder_alloc(size);
}

static void br_free(void *opaque, void *ptr)
{
	(void)opaque;
	coder_free(ptr);
}

static struct coder *br_open(size_t len)
{
	(void)len;
	BrotliEncoderState *state = BrotliEncoderCreateInstance(br_alloc, br_free, NULL);
	if (!state)
		return NULL;
	BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, BROTLI_LEVEL);
	BrotliEncoderSetParameter(state, BROTLI_PARAM_LGWIN, WINDOW_BITS);
	return (struct coder *)state;
}

static enum filter_step br_run(struct coder *coder, struct filter_piece *piece)
{
	BrotliEncoderState *state = (BrotliEncoderState *)coder;
	const uint8_t *in = (const uint8_t *)piece->in;
	uint8_t *out = (uint8_t *)piece->out;
	size_t room = piece->cap;
	bool ok = BrotliEncoderCompressStream(
	    state, piece->end ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH, &piece->in_len,
	    &in, &room, &out, NULL);
	piece->in = (const char *)in;
	piece->len = piece->cap - room;
	if (!ok)
		return FILTER_BROKEN;
	return piece->in_len || BrotliEncoderHasMoreOutput(state) ? FILTER_MORE : FILTER_DONE;
}

static void br_close(struct coder *coder)
{
	BrotliEncoderDestroyInstance((BrotliEncoderState *)coder);
}
#else
#define br_open NULL
#define br_run NULL
#define br_close NULL
#endif

/* ---- gzip (RFC 1952) ---- */

#ifdef WEIR_ZLIB
static void *gzip_alloc(void *opaque, unsigned n, unsigned size)
{
	(void)opaque;
	return coder_alloc((size_t)n * size);
}

static void gzip_free(void *opaque, void *ptr)
{
	(void)opaque;
	coder_free(ptr);
}

/*
 * A window that the body does not fill costs memory, and the time to clear its tables: for
 * 2 KiB a quarter of all instructions of an answer, and no byte of it is saved.
 */
#define GZIP_BITS_MAX 15
#define GZIP_BITS_MIN 9
#define GZIP_AHEAD 262 /* bytes of a window that only matches use */

static int gzip_bits(size_t len)
{
	int bits = GZIP_BITS_MAX;
	while (bits > GZIP_BITS_MIN && len <= ((size_t)1 << (bits - 1)) - GZIP_AHEAD)
		bits--;
	return bits;
}

static struct coder *gzip_open(size_t len)
{
	const int bits = gzip_bits(len);
	z_stream *z = coder_alloc(sizeof(*z));
	if (!z)
		return NULL;
	memset(z, 0, sizeof(*z));
	z->zalloc = gzip_alloc;
	z->zfree = gzip_free;
	/* 16: with the head and end of gzip; tables of as many rows as the window has bytes */
	if (deflateInit2(z, GZIP_LEVEL, Z_DEFLATED, bits + 16, bits - 7, Z_DEFAULT_STRATEGY) ==
	    Z_OK)
		return (struct coder *)z;
	coder_free(z);
	return NULL;
}

static enum filter_step gzip_run(struct coder *coder, struct filter_piece *piece)
{
	z_stream *z = (z_stream *)coder;
	z->next_in = (z_const Bytef *)piece->in;
	z->avail_in = (unsigned)piece->in_len;
	z->next_out = (Bytef *)piece->out;
	z->avail_out = (unsigned)piece->cap;
	int result = deflate(z, piece->end ? Z_FINISH : Z_SYNC_FLUSH);
	piece->in = (const char *)z->next_in;
	piece->in_len = z->avail_in;
	piece->len = piece->cap - z->avail_out;
	if (result == Z_STREAM_ERROR)
		return FILTER_BROKEN;
	if (piece->end)
		return result == Z_STREAM_END ? FILTER_DONE : FILTER_MORE;
	return z->avail_out == 0 ? FILTER_MORE : FILTER_DONE;
}

static void gzip_close(struct coder *coder)
{
	deflateEnd((z_stream *)coder);
	coder_free(coder);
}
#else
#define gzip_open NULL
#define gzip_run NULL
#define gzip_close NULL
#endif

const struct coder_kind coder_kinds[N_CODERS] = {
    {"zstd", zstd_open, zstd_run, zstd_close},
    {"br", br_open, br_run, br_close},
    {"gzip", gzip_open, gzip_run, gzip_close},
};

static void UNUSED put_library(struct str *out, const char *name, const char *version)
{
	str_printf(out, "%s%s %s", out->len ? ", " : "", name, version);
}

void compress_libraries(struct str *out)
{
	(void)out;
#ifdef WEIR_ZSTD
	put_library(out, "libzstd", ZSTD_versionString());
#endif
#ifdef WEIR_BROTLI
	char text[32];
	uint32_t v = BrotliEncoderVersion();
	snprintf(text, sizeof(text), "%u.%u.%u", v >> 24, v >> 12 & 0xfff, v & 0xfff);
	put_library(out, "libbrotlienc", text);
#endif
#ifdef WEIR_ZLIB
	put_library(out, "zlib", zlibVersion());
#endif
}
