/* SPDX-License-Identifier: MIT */
/* Histograms, curves and rings in a row of bytes. */
#include "weir/stats/pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/defs.h"

/* ---- counters ---- */

static uint64_t field_get(const struct counter_field *field, const void *base)
{
	const void *counter = (const char *)base + field->offset;
	return counter_get((const struct counter *)counter);
}

void counters_pack(struct str *out, const struct counter_field *fields, size_t n_fields,
		   const void *const *bases, size_t n_bases)
{
	for (size_t i = 0; i < n_fields; i++) {
		uint64_t sum = 0;
		for (size_t k = 0; k < n_bases; k++)
			sum += field_get(&fields[i], bases[k]);
		if (!sum)
			continue;
		pack_view(out, view_str(fields[i].name));
		pack_u64(out, sum);
	}
}

void counters_unpack(struct unpack *in, const struct counter_field *fields, size_t n_fields,
		     void *base)
{
	for (struct unpack ahead = *in; ahead.left && !ahead.bad; in->bad = ahead.bad) {
		unpack_view(&ahead);
		unpack_u64(&ahead);
	}
	while (in->left && !in->bad) {
		struct view name = unpack_view(in);
		uint64_t n = unpack_u64(in);
		for (size_t i = 0; i < n_fields; i++)
			if (view_eq(name, view_str(fields[i].name)))
				counter_add(
				    (struct counter *)(void *)((char *)base + fields[i].offset), n);
	}
}

void counter_rows_pack(struct str *out, const struct counter_rows *rows)
{
	const void *bases[WORKERS_MAX];
	check(rows->n <= WORKERS_MAX);
	for (size_t i = 0; i < rows->n; i++)
		bases[i] = (const char *)rows->first + i * rows->stride;
	counters_pack(out, rows->fields, rows->n_fields, bases, rows->n);
}

enum { BLOCK_ROWS = 1 };

void counter_rows_pack_block(struct str *out, uint64_t id, const struct counter_rows *rows)
{
	size_t at = pack_begin(out, BLOCK_ROWS);
	pack_u64(out, id);
	counter_rows_pack(out, rows);
	pack_end(out, at);
}

void counter_rows_unpack_blocks(struct unpack *in, struct counter_rows (*find)(uint64_t id))
{
	struct unpack block;
	uint32_t kind;
	while (unpack_block(in, &kind, &block)) {
		struct counter_rows rows = find(unpack_u64(&block));
		if (kind == BLOCK_ROWS && rows.first && !block.bad)
			counters_unpack(&block, rows.fields, rows.n_fields, rows.first);
		in->bad |= block.bad;
	}
}

/* ---- history ---- */

void history_pack(const struct history *history, struct str *out)
{
	struct history_row row;
	uint32_t n = 0;
	while (history_at(history, n, &row))
		n++;
	pack_u64(out, n);
	for (uint32_t age = n; age-- > 0;) {
		history_at(history, age, &row);
		pack_u64(out, row.at_us);
		pack_u64(out, row.requests);
		pack_u64(out, row.errors);
		pack_double(out, (double)row.in_flight);
		pack_u64(out, row.queue);
		pack_u64(out, row.state);
		pack_u64(out, row.p50_us);
		pack_u64(out, row.p99_us);
	}
}

struct history *history_unpack(struct unpack *in, uint64_t now_us)
{
	struct history *history = history_new();
	in->bad |= !history;
	uint64_t last = 0;
	for (size_t n = unpack_count(in, HISTORY_ROWS); n && !in->bad; n--) {
		struct history_row row = {.at_us = unpack_max(in, now_us)};
		row.requests = (uint32_t)unpack_max(in, UINT32_MAX);
		row.errors = (uint32_t)unpack_max(in, UINT32_MAX);
		row.in_flight = (float)unpack_double(in);
		row.queue = (uint16_t)unpack_max(in, UINT16_MAX);
		row.state = (uint8_t)unpack_max(in, UINT8_MAX);
		row.p50_us = (uint32_t)unpack_max(in, UINT32_MAX);
		row.p99_us = (uint32_t)unpack_max(in, UINT32_MAX);
		in->bad |= row.at_us < last || !(row.in_flight >= 0);
		last = row.at_us;
		if (!in->bad)
			history_push(history, &row);
	}
	if (!in->bad)
		return history;
	history_free(history);
	return NULL;
}

/* ---- rate ---- */

void rate_pack(const struct rate *rate, struct str *out)
{
	pack_u64(out, rate->n);
	for (uint32_t i = 0; i < rate->n; i++) {
		uint32_t at = (rate->next + RATE_PUSHES - rate->n + i) % RATE_PUSHES;
		pack_u64(out, rate->at_us[at]);
		pack_u64(out, rate->total[at]);
	}
}

bool rate_unpack(struct unpack *in, struct rate *rate, uint64_t now_us)
{
	struct rate next = {.n = 0};
	uint64_t at = 0, total = 0;
	for (size_t n = unpack_count(in, RATE_PUSHES); n && !in->bad; n--) {
		uint64_t then = unpack_max(in, now_us), sum = unpack_u64(in);
		in->bad |= then < at || sum < total;
		at = then;
		total = sum;
		rate_push(&next, total, at);
	}
	if (!in->bad)
		*rate = next;
	return !in->bad;
}

/* ---- levels ---- */

/* Only the integral: what the control thread has read of the rest it hands over itself. */
void levels_pack(const struct levels *const *levels, size_t n, struct str *out)
{
	uint64_t area_us = 0;
	for (size_t i = 0; i < n; i++)
		area_us += levels[i] ? counter_get(&levels[i]->area_us) : 0;
	pack_u64(out, area_us);
}

struct levels *levels_unpack(struct unpack *in)
{
	uint64_t area_us = unpack_u64(in);
	struct levels *levels = in->bad ? NULL : levels_new();
	in->bad |= !levels;
	if (levels)
		counter_add(&levels->area_us, area_us);
	return levels;
}

/* ---- the slowest ---- */

/* Added to the number of phases: each record tells its moment, which earlier versions did not. */
#define WITH_MOMENTS 256

static void pack_record(const struct slow_record *r, struct str *out)
{
	pack_u64(out, r->ended_us);
	pack_u64(out, r->at_us);
	for (int p = 0; p < N_PHASES; p++)
		pack_u64(out, r->phase_us[p]);
	pack_view(out, view_str(r->outcome));
	pack_u64(out, r->in_flight);
	pack_u64(out, r->queue_length);
	pack_u64(out, r->status);
	pack_u64(out, r->retries);
	pack_u64(out, r->has_trace);
	pack_view(out, view_of((const char *)r->trace_id, sizeof(r->trace_id)));
	pack_view(out, view_of(r->request_id, r->request_id_len));
	pack_view(out, view_of(r->method, r->method_len));
	pack_view(out, view_of(r->path, r->path_len));
}

void slow_pack(const struct slow_ring *ring, uint64_t now_us, struct str *out)
{
	struct slow_record records[SLOW_SLOTS];
	size_t n = slow_read(ring, now_us, records, SLOW_SLOTS);
	pack_u64(out, N_PHASES + WITH_MOMENTS);
	pack_u64(out, n);
	for (size_t i = 0; i < n; i++)
		pack_record(&records[i], out);
}

static uint8_t take_text(struct unpack *in, char *to, size_t size)
{
	struct view v = unpack_view(in);
	in->bad |= v.len > size;
	if (in->bad || !v.len)
		return 0;
	memcpy(to, v.ptr, v.len);
	return (uint8_t)v.len;
}

static void take_record(struct unpack *in, struct slow_record *r, uint64_t now_us, bool moments,
			const char *(*outcome)(struct view name))
{
	*r = (struct slow_record){.ended_us = unpack_max(in, now_us)};
	r->at_us = moments ? unpack_u64(in) : clock_wall_us() - (now_us - r->ended_us);
	for (int p = 0; p < N_PHASES; p++)
		r->phase_us[p] = unpack_u64(in);
	r->outcome = outcome(unpack_view(in));
	r->in_flight = (uint32_t)unpack_max(in, UINT32_MAX);
	r->queue_length = (uint32_t)unpack_max(in, UINT32_MAX);
	r->status = (uint16_t)unpack_max(in, UINT16_MAX);
	r->retries = (uint16_t)unpack_max(in, UINT16_MAX);
	r->has_trace = unpack_bool(in);
	in->bad |= take_text(in, (char *)r->trace_id, sizeof(r->trace_id)) != sizeof(r->trace_id);
	r->request_id_len = take_text(in, r->request_id, sizeof(r->request_id));
	r->method_len = take_text(in, r->method, sizeof(r->method));
	r->path_len = take_text(in, r->path, sizeof(r->path));
}

bool slow_unpack(struct unpack *in, struct slow_ring *ring, uint64_t now_us,
		 const char *(*outcome)(struct view name))
{
	struct slow_record record;
	uint64_t phases = unpack_u64(in);
	bool moments = phases == N_PHASES + WITH_MOMENTS;
	in->bad |= !moments && phases != N_PHASES;
	for (size_t n = unpack_count(in, SLOW_SLOTS); n && !in->bad; n--) {
		take_record(in, &record, now_us, moments, outcome);
		if (!in->bad && record.outcome && now_us - record.ended_us <= SLOW_KEEP_US)
			slow_put(ring, &record);
	}
	return !in->bad;
}
