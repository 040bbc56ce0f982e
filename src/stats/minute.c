/* SPDX-License-Identifier: MIT */
/* Minutes: gathered in the few buckets that are in use, added up in full. */
#include "weir/stats/minute.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/hash.h"
#include "weir/stats/sparse.h"

/* The form of the bytes: 2 ends with four of a hash of those before it, 1 did not. */
#define FORM 2
#define FORM_UNSEALED 1
#define SEAL_BYTES 4

struct minute {
	uint32_t seconds;
	uint64_t requests, errors;
	double in_flight_s, queued_s;
	struct str levels_before; /* owns; what the bins held when it began, packed */
	struct sparse latency;    /* owns */
};

struct minute *minute_new(void)
{
	return calloc(1, sizeof(struct minute));
}

void minute_free(struct minute *m)
{
	if (!m)
		return;
	str_fini(&m->levels_before);
	sparse_reset(&m->latency);
	free(m);
}

bool minute_has_traffic(const struct minute *m)
{
	return m->requests || m->errors || m->latency.groups || m->in_flight_s > 0 ||
	       m->queued_s > 0;
}

/* ---- once a second ---- */

/* Without memory these samples are not in the history. */
static void add_samples(void *arg, uint32_t bucket, uint32_t n)
{
	struct minute *m = arg;
	(void)sparse_add(&m->latency, bucket, n);
}

void minute_second(struct minute *m, const struct history_row *row, const struct windows *windows)
{
	m->seconds++;
	m->requests += row->requests;
	m->errors += row->errors;
	m->in_flight_s += (double)row->in_flight;
	m->queued_s += row->queue;
	if (windows)
		windows_newest_each(windows, PHASE_total, add_samples, m);
}

/* ---- bytes ---- */

static uint32_t hash_of(const char *bytes, size_t n)
{
	return (uint32_t)hash_bytes(bytes, n, FORM);
}

static void put_seal(struct str *out, size_t from)
{
	uint32_t hash = hash_of(out->ptr + from, out->len - from);
	str_view(out, view_of((const char *)&hash, SEAL_BYTES));
}

bool minute_is_whole(struct view bytes)
{
	uint32_t hash;
	if (bytes.len && bytes.ptr[0] == FORM_UNSEALED)
		return true;
	if (bytes.len <= SEAL_BYTES || bytes.ptr[0] != FORM)
		return false;
	memcpy(&hash, bytes.ptr + bytes.len - SEAL_BYTES, SEAL_BYTES);
	return hash == hash_of(bytes.ptr, bytes.len - SEAL_BYTES);
}

struct level_sums {
	uint64_t time_us[LEVEL_BINS], done[LEVEL_BINS];
};

static void sum_levels(const struct levels *const *levels, size_t n, struct level_sums *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < n; i++) {
		if (!levels[i])
			continue;
		uint32_t top = levels_top(levels[i]);
		for (uint32_t bin = 0; bin <= top; bin++) {
			const struct level_bin *of = levels_bin(levels[i], bin);
			out->time_us[bin] += of ? counter_get(&of->us) : 0;
			out->done[bin] += of ? counter_get(&of->n) : 0;
		}
	}
}

static void put_levels(const struct level_sums *sums, struct str *out)
{
	pack_sparse(out, sums->time_us, LEVEL_BINS);
	pack_sparse(out, sums->done, LEVEL_BINS);
}

/* What came since it began; times may run back by a little. */
static void take_before(const struct str *before, struct level_sums *sums)
{
	struct level_sums old = {{0}, {0}};
	struct unpack in = unpack_of(str_as_view(before));
	if (before->len) {
		unpack_sparse(&in, old.time_us, LEVEL_BINS);
		unpack_sparse(&in, old.done, LEVEL_BINS);
	}
	for (uint32_t bin = 0; bin < LEVEL_BINS; bin++) {
		int64_t grown = (int64_t)(sums->time_us[bin] - old.time_us[bin]);
		sums->time_us[bin] = grown > 0 ? (uint64_t)grown : 0;
		sums->done[bin] -= old.done[bin];
	}
}

void minute_pack(const struct minute *m, const struct levels *const *levels, size_t n,
		 struct str *out)
{
	struct level_sums sums;
	uint64_t latency[HIST_BUCKETS];
	size_t from = out->len;
	pack_u64(out, FORM);
	pack_u64(out, m->seconds);
	pack_u64(out, m->requests);
	pack_u64(out, m->errors);
	pack_double(out, m->in_flight_s);
	pack_double(out, m->queued_s);
	sparse_spread(&m->latency, latency);
	pack_sparse(out, latency, HIST_BUCKETS);
	sum_levels(levels, n, &sums);
	take_before(&m->levels_before, &sums);
	put_levels(&sums, out);
	put_seal(out, from);
}

void minute_reset(struct minute *m, const struct levels *const *levels, size_t n)
{
	struct level_sums sums;
	m->seconds = 0;
	m->requests = m->errors = 0;
	m->in_flight_s = m->queued_s = 0;
	sparse_reset(&m->latency);
	str_reset(&m->levels_before);
	if (!n)
		return;
	sum_levels(levels, n, &sums);
	put_levels(&sums, &m->levels_before);
}

/* ---- sums ---- */

static void add_all(uint64_t *to, const uint64_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += from[i];
}

bool minute_sum_add(struct minute_sum *sum, struct unpack in)
{
	struct minute_sum more = {0};
	in.bad |= !minute_is_whole(view_of(in.ptr, in.left));
	unpack_u64(&in); /* the form */
	more.seconds = unpack_u64(&in);
	more.requests = unpack_u64(&in);
	more.errors = unpack_u64(&in);
	more.in_flight_s = unpack_double(&in);
	more.queued_s = unpack_double(&in);
	unpack_sparse(&in, more.latency.count, HIST_BUCKETS);
	unpack_sparse(&in, more.time_us, LEVEL_BINS);
	unpack_sparse(&in, more.done, LEVEL_BINS);
	if (in.bad)
		return false;
	sum->seconds += more.seconds;
	sum->requests += more.requests;
	sum->errors += more.errors;
	sum->in_flight_s += more.in_flight_s;
	sum->queued_s += more.queued_s;
	for (size_t i = 0; i < HIST_BUCKETS; i++)
		more.latency.n += more.latency.count[i];
	more.latency.max_us = UINT64_MAX; /* not known: nothing is cut */
	hist_total_add(&sum->latency, &more.latency);
	add_all(sum->time_us, more.time_us, LEVEL_BINS);
	add_all(sum->done, more.done, LEVEL_BINS);
	return true;
}

void minute_sum_pack(const struct minute_sum *sum, struct str *out)
{
	size_t from = out->len;
	pack_u64(out, FORM);
	pack_u64(out, sum->seconds);
	pack_u64(out, sum->requests);
	pack_u64(out, sum->errors);
	pack_double(out, sum->in_flight_s);
	pack_double(out, sum->queued_s);
	pack_sparse(out, sum->latency.count, HIST_BUCKETS);
	pack_sparse(out, sum->time_us, LEVEL_BINS);
	pack_sparse(out, sum->done, LEVEL_BINS);
	put_seal(out, from);
}
