/* SPDX-License-Identifier: MIT */
/*
 * What the levels of the codings cost and save: CPU time per KiB and the share of bytes
 * that is left, for JSON such as APIs send and for HTML.  src/filter/coders.c takes the
 * levels from this table, the guide shows it.
 *
 *   build/release/bin/weir-levels
 */
#include <brotli/encode.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>

#define BODY (64 * 1024)
#define ROUNDS 60
#define WINDOW_BITS 17

static char body[BODY + 512], out[2 * BODY];

static double cpu_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Rows as an API lists them: names repeat, numbers and ids do not. */
static void make(const char *row)
{
	static const char *const names[] = {"pencil", "notebook", "lamp", "chair", "kettle"};
	size_t n = 0;
	srand(7);
	for (int i = 0; n < BODY; i++)
		n += (size_t)snprintf(body + n, 512, row, i, names[rand() % 5], rand() % 10000,
				      (unsigned)rand() * 2654435761u);
}

static size_t by_gzip(int level)
{
	z_stream z = {0};
	if (deflateInit2(&z, level, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	z.next_in = (Bytef *)body;
	z.avail_in = BODY;
	z.next_out = (Bytef *)out;
	z.avail_out = sizeof(out);
	deflate(&z, Z_FINISH);
	size_t n = z.total_out;
	deflateEnd(&z);
	return n;
}

static size_t by_zstd(int level)
{
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, WINDOW_BITS);
	ZSTD_inBuffer in = {body, BODY, 0};
	ZSTD_outBuffer to = {out, sizeof(out), 0};
	ZSTD_compressStream2(ctx, &to, &in, ZSTD_e_end);
	ZSTD_freeCCtx(ctx);
	return to.pos;
}

static size_t by_br(int level)
{
	BrotliEncoderState *state = BrotliEncoderCreateInstance(NULL, NULL, NULL);
	BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, (uint32_t)level);
	BrotliEncoderSetParameter(state, BROTLI_PARAM_LGWIN, WINDOW_BITS);
	const uint8_t *in = (const uint8_t *)body;
	uint8_t *to = (uint8_t *)out;
	size_t left = BODY, room = sizeof(out);
	BrotliEncoderCompressStream(state, BROTLI_OPERATION_FINISH, &left, &in, &room, &to, NULL);
	BrotliEncoderDestroyInstance(state);
	return sizeof(out) - room;
}

static void measure(const char *name, size_t (*by)(int level), int first, int last)
{
	for (int level = first; level <= last; level++) {
		double least = 1e12;
		size_t n = 0;
		for (int i = 0; i < ROUNDS; i++) {
			double from = cpu_us();
			n = by(level);
			double took = cpu_us() - from;
			least = took < least ? took : least;
		}
		printf("| %s %d | %.2f | %.1f %% |\n", name, level, least / (BODY / 1024.0),
		       100.0 * (double)n / BODY);
	}
}

static void table(const char *title, const char *row)
{
	make(row);
	printf("\n| %s, 64 KiB | us per KiB | left |\n|---|---|---|\n", title);
	measure("gzip", by_gzip, 1, 9);
	measure("br", by_br, 0, 7);
	measure("zstd", by_zstd, 1, 9);
}

int main(void)
{
	/* memory is taken once, as weir does */
	mallopt(M_MMAP_THRESHOLD, 1 << 28);
	mallopt(M_TRIM_THRESHOLD, 1 << 28);
	table("JSON", "{\"id\": %d, \"name\": \"%s\", \"price\": %d, \"sku\": \"%08x\", "
		      "\"currency\": \"EUR\", \"available\": true},\n");
	table("HTML", "<li class=\"item\" data-id=\"%d\"><a href=\"/shop/%s/%d\"><img "
		      "src=\"/img/%08x.webp\" loading=\"lazy\" alt=\"\"></a></li>\n");
	return 0;
}
