/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/pools/P/slow: the slowest exchanges of the last five minutes, slowest
 * first, at most `limit` (50), of one backend with ?backend=.
 *
 *   {"pool": "app", "span_s": 300, "slow": [
 *     {"backend": "app1", "at": "2026-11-24T01:02:03.456Z", "method": "GET",
 *      "path": "/report", "status": 200, "outcome": "ok", "request_id": "...",
 *      "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "retries": 0, "in_flight": 7,
 * "queue_length": 0, "phases": {"queue_us": 0, "connect_us": 0, "wait_us": 81234, ... "total_us":
 * 81301}}]}
 *
 * method, path (as sent to the backend, cut after 88 bytes; its query only for those who
 * may change things), request_id and
 * trace_id are null when they are not known.  in_flight: others at the backend when the
 * request got there.  queue_length: waiters in the pool's queue when it joined
 * them, itself included; 0: it did not wait.
 */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/base/hex.h"
#include "weir/base/parse.h"
#include "weir/http/trace_context.h"

enum { Q_BACKEND, Q_LIMIT, N_Q };
static const char *const names[] = {"backend", "limit", NULL};

struct row {
	struct slow_record record;
	const struct backend *backend;
};

static int by_total(const void *a, const void *b)
{
	uint64_t ta = ((const struct row *)a)->record.phase_us[PHASE_total];
	uint64_t tb = ((const struct row *)b)->record.phase_us[PHASE_total];
	return ta < tb ? 1 : ta > tb ? -1 : 0;
}

/* At most SLOW_SLOTS. */
static size_t gather(const struct backend *b, uint64_t now_us, struct row *out)
{
	struct slow_record found[SLOW_SLOTS];
	const struct slow_ring *ring = atomic_load_explicit(&b->slow, memory_order_acquire);
	size_t n = ring ? slow_read(ring, now_us, found, SLOW_SLOTS) : 0;
	for (size_t i = 0; i < n; i++)
		out[i] = (struct row){found[i], b};
	return n;
}

static void put_row(const struct call *call, struct json *j, const struct row *row)
{
	const struct slow_record *r = &row->record;
	json_object_begin(j);
	json_member_view(j, "backend", row->backend->name);
	json_member_time(j, "at", r->at_us);
	json_member_optional(j, "method", view_of(r->method, r->method_len));
	json_member_optional(j, "path", call_target(call, view_of(r->path, r->path_len)));
	json_member_u64(j, "status", r->status);
	json_member_text(j, "outcome", r->outcome);
	json_member_optional(j, "request_id", view_of(r->request_id, r->request_id_len));
	char id[32];
	hex_write(r->trace_id, sizeof(r->trace_id), id);
	json_member_optional(j, "trace_id", r->has_trace ? view_of(id, sizeof(id)) : VIEW_NONE);
	json_member_u64(j, "retries", r->retries);
	json_member_u64(j, "in_flight", r->in_flight);
	json_member_u64(j, "queue_length", r->queue_length);
	json_key(j, "phases");
	json_object_begin(j);
	for (int p = 0; p < N_PHASES; p++) {
		char key[32];
		snprintf(key, sizeof(key), "%s_us", phase_name((enum phase)p));
		json_member_u64(j, key, r->phase_us[p]);
	}
	json_object_end(j);
	json_object_end(j);
}

void api_slow(struct call *call)
{
	struct view q[N_Q];
	struct json j;
	uint64_t limit = 50, now = clock_us();
	const struct pool *pool = call_pool(call);
	int32_t only = -1;
	if (!pool || !call_query(call, names, q))
		return;
	if (q[Q_BACKEND].ptr && (only = call_backend(call, pool, q[Q_BACKEND])) < 0)
		return;
	if (q[Q_LIMIT].ptr && !parse_u64(q[Q_LIMIT], &limit)) {
		call_error(call, 400, "limit must be a number");
		return;
	}
	struct row *rows =
	    arena_array(call->arena, (size_t)pool->n * SLOW_SLOTS + 1, sizeof(*rows));
	size_t n = 0;
	for (uint32_t i = 0; i < pool->n; i++)
		if (only < 0 || (uint32_t)only == i)
			n += gather(pool->backends[i], now, rows + n);
	qsort(rows, n, sizeof(*rows), by_total);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_view(&j, "pool", pool->conf->name);
	json_member_u64(&j, "span_s", SLOW_KEEP_US / 1000000);
	json_key(&j, "slow");
	json_array_begin(&j);
	for (size_t i = 0; i < n && i < limit; i++)
		put_row(call, &j, &rows[i]);
	json_array_end(&j);
	json_object_end(&j);
}
