/* SPDX-License-Identifier: MIT */
/*
 * Values in a row of bytes, read back with every length checked: what one process hands to the
 * next.
 */
#include "weir/base/pack.h"

#include <math.h>
#include <string.h>

#define LENGTH_BYTES 4

/* Seven bits a byte, the lowest first. */
void pack_u64(struct str *out, uint64_t n)
{
	while (n >= 0x80) {
		str_char(out, (char)(n | 0x80));
		n >>= 7;
	}
	str_char(out, (char)n);
}

void pack_double(struct str *out, double x)
{
	uint64_t bits;
	memcpy(&bits, &x, sizeof(bits));
	str_put(out, &bits, sizeof(bits));
}

void pack_view(struct str *out, struct view v)
{
	pack_u64(out, v.len);
	str_view(out, v);
}

void pack_sparse(struct str *out, const uint64_t *values, size_t n)
{
	size_t last = 0, used = 0;
	for (size_t i = 0; i < n; i++)
		used += values[i] != 0;
	pack_u64(out, used);
	for (size_t i = 0; i < n; i++) {
		if (!values[i])
			continue;
		pack_u64(out, i - last);
		pack_u64(out, values[i]);
		last = i;
	}
}

void pack_sparse_doubles(struct str *out, const double *values, size_t n)
{
	size_t last = 0, used = 0;
	for (size_t i = 0; i < n; i++)
		used += fpclassify(values[i]) != FP_ZERO;
	pack_u64(out, used);
	for (size_t i = 0; i < n; i++) {
		if (fpclassify(values[i]) == FP_ZERO)
			continue;
		pack_u64(out, i - last);
		pack_double(out, values[i]);
		last = i;
	}
}

size_t pack_begin(struct str *out, uint32_t id)
{
	static const char room[LENGTH_BYTES];
	pack_u64(out, id);
	str_put(out, room, sizeof(room));
	return out->len;
}

void pack_end(struct str *out, size_t at)
{
	uint32_t len = (uint32_t)(out->len - at);
	if (!out->overflow)
		memcpy(out->ptr + at - LENGTH_BYTES, &len, sizeof(len));
}

/* ---- reading ---- */

static bool take(struct unpack *in, void *to, size_t n)
{
	if (in->bad || in->left < n) {
		in->bad = true;
		return false;
	}
	memcpy(to, in->ptr, n);
	in->ptr += n;
	in->left -= n;
	return true;
}

uint64_t unpack_u64(struct unpack *in)
{
	uint64_t n = 0;
	unsigned char byte = 0x80;
	for (unsigned shift = 0; byte & 0x80; shift += 7) {
		if (!take(in, &byte, 1))
			return 0;
		if (shift == 63 && byte > 1) {
			in->bad = true;
			return 0;
		}
		n |= (uint64_t)(byte & 0x7f) << shift;
	}
	return n;
}

uint64_t unpack_max(struct unpack *in, uint64_t max)
{
	uint64_t n = unpack_u64(in);
	in->bad |= n > max;
	return in->bad ? 0 : n;
}

bool unpack_bool(struct unpack *in)
{
	return unpack_max(in, 1);
}

double unpack_double(struct unpack *in)
{
	double x = 0;
	if (take(in, &x, sizeof(x)) && !isfinite(x))
		in->bad = true;
	return in->bad ? 0 : x;
}

struct view unpack_view(struct unpack *in)
{
	uint64_t n = unpack_max(in, in->left);
	struct view v = view_of(in->ptr, (size_t)n);
	if (in->bad || n > in->left) {
		in->bad = true;
		return VIEW_NONE;
	}
	in->ptr += n;
	in->left -= (size_t)n;
	return v;
}

size_t unpack_count(struct unpack *in, size_t max)
{
	size_t n = (size_t)unpack_max(in, max);
	in->bad |= n > in->left;
	return in->bad ? 0 : n;
}

/* The index of the next value of a sparse array. */
static size_t next_index(struct unpack *in, size_t last, size_t n)
{
	return last + (size_t)unpack_max(in, n - 1 - last);
}

void unpack_sparse(struct unpack *in, uint64_t *values, size_t n)
{
	size_t at = 0;
	memset(values, 0, n * sizeof(*values));
	for (size_t left = unpack_count(in, n); left && !in->bad; left--) {
		at = next_index(in, at, n);
		values[at] = unpack_u64(in);
	}
}

void unpack_sparse_doubles(struct unpack *in, double *values, size_t n)
{
	size_t at = 0;
	for (size_t i = 0; i < n; i++)
		values[i] = 0;
	for (size_t left = unpack_count(in, n); left && !in->bad; left--) {
		at = next_index(in, at, n);
		values[at] = unpack_double(in);
	}
}

bool unpack_block(struct unpack *in, uint32_t *id, struct unpack *block)
{
	uint32_t len = 0;
	if (in->bad || !in->left)
		return false;
	*id = (uint32_t)unpack_max(in, UINT32_MAX);
	take(in, &len, sizeof(len));
	if (in->bad || len > in->left) {
		in->bad = true;
		return false;
	}
	*block = unpack_of(view_of(in->ptr, len));
	in->ptr += len;
	in->left -= len;
	return true;
}
