/* SPDX-License-Identifier: MIT */
/*
 * Values one behind another as bytes, for another process of weir that may be of
 * another version: numbers of variable length, texts, and blocks that say what
 * they are and how long, so that a reader passes over what it does not know.
 *
 *   size_t at = pack_begin(&out, BLOCK_THING);
 *   pack_u64(&out, n);
 *   pack_end(&out, at);
 *
 *   struct unpack in = unpack_of(bytes), block;
 *   uint32_t id;
 *   while (unpack_block(&in, &id, &block))
 *           if (id == BLOCK_THING) n = unpack_u64(&block);
 *
 * Reading never passes the end: whatever is cut or out of range reads as 0 or
 * empty and sets `bad`, which stays.
 */
#ifndef WEIR_BASE_PACK_H
#define WEIR_BASE_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/str.h"
#include "weir/base/view.h"

void pack_u64(struct str *out, uint64_t n);
void pack_double(struct str *out, double x);
void pack_view(struct str *out, struct view v);
/* Arrays of which most are 0. */
void pack_sparse(struct str *out, const uint64_t *values, size_t n);
void pack_sparse_doubles(struct str *out, const double *values, size_t n);
size_t pack_begin(struct str *out, uint32_t id);
void pack_end(struct str *out, size_t at);

struct unpack {
	const char *ptr;
	size_t left;
	bool bad;
};

static inline struct unpack unpack_of(struct view v)
{
	return (struct unpack){v.ptr, v.len, false};
}

uint64_t unpack_u64(struct unpack *in);
/* 0 to max. */
uint64_t unpack_max(struct unpack *in, uint64_t max);
bool unpack_bool(struct unpack *in);
/* Finite. */
double unpack_double(struct unpack *in);
/* Of the bytes that are read. */
struct view unpack_view(struct unpack *in);
/* How many things follow: at most `max`, and each has a byte at least. */
size_t unpack_count(struct unpack *in, size_t max);
void unpack_sparse(struct unpack *in, uint64_t *values, size_t n);
void unpack_sparse_doubles(struct unpack *in, double *values, size_t n);
/* The next block; false at the end. */
bool unpack_block(struct unpack *in, uint32_t *id, struct unpack *block);

#endif
