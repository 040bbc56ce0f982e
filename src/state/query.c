/* SPDX-License-Identifier: MIT */
/* From rows of minutes or hours, and those that are not stored yet, to rows of a step. */
#ifdef WEIR_SQLITE

#include "db.h"

#include "weir/base/clock.h"
#include "weir/base/json.h"
#include "weir/state/state.h"

#define HOUR_S 3600

/* One answer being written: rows come in the order of pools, then of time. */
struct writer {
	struct json json;
	const struct state_query *query;
	bool single;        /* one pool or backend was asked for: rows without a list */
	bool open;          /* rows of `pool` are being written */
	struct str pool;    /* owns */
	struct str written; /* owns; pools whose rows were begun, packed */
	uint64_t at_s;      /* of the step that `sum` is of; 0: none yet */
	struct minute_sum sum;
};

static void put_step(struct writer *w)
{
	struct json *j = &w->json;
	const struct minute_sum *s = &w->sum;
	double seconds = s->seconds ? (double)s->seconds : 1;
	static const struct {
		const char *key;
		double q;
	} quantiles[] = {{"p50_us", 0.5},
			 {"p90_us", 0.9},
			 {"p95_us", 0.95},
			 {"p99_us", 0.99},
			 {"p999_us", 0.999}};
	if (!w->at_s)
		return;
	json_object_begin(j);
	json_member_u64(j, "at_s", w->at_s);
	json_member_u64(j, "seconds", s->seconds);
	json_member_u64(j, "requests", s->requests);
	json_member_double(j, "rate", (double)s->requests / seconds);
	json_member_u64(j, "errors", s->errors);
	json_member_double(j, "in_flight", s->in_flight_s / seconds);
	json_member_double(j, "queued", s->queued_s / seconds);
	for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
		json_key(j, quantiles[i].key);
		if (s->latency.n)
			json_u64(j, hist_total_quantile(&s->latency, quantiles[i].q));
		else
			json_null(j);
	}
	json_object_end(j);
	w->at_s = 0;
	w->sum = (struct minute_sum){0};
}

static void open_pool(struct writer *w, struct view pool)
{
	if (!w->single) {
		json_object_begin(&w->json);
		json_member_view(&w->json, "pool", pool);
	}
	json_key(&w->json, "rows");
	json_array_begin(&w->json);
	str_reset(&w->pool);
	str_view(&w->pool, pool);
	pack_view(&w->written, pool);
	w->open = true;
}

/* False when it is damaged. */
static bool add_row(struct writer *w, uint64_t at_s, struct view sums)
{
	uint64_t step_at = at_s - at_s % w->query->step_s;
	if (step_at != w->at_s)
		put_step(w);
	w->at_s = step_at;
	return minute_sum_add(&w->sum, unpack_of(sums));
}

/* ---- rows that are not stored ---- */

struct row {
	uint64_t at_s;
	struct view pool, backend, sums;
};

static bool next_row(struct unpack *in, struct row *row)
{
	if (!in->left)
		return false;
	row->at_s = unpack_u64(in);
	row->pool = unpack_view(in);
	row->backend = unpack_view(in);
	row->sums = unpack_view(in);
	return !in->bad;
}

static bool is_asked_for(const struct state_query *q, const struct row *row)
{
	return row->at_s >= q->since_s && row->at_s < q->until_s &&
	       (!q->pool.len || view_eq(str_as_view(&q->pool), row->pool)) &&
	       view_eq(str_as_view(&q->backend), row->backend);
}

/* They are later than those stored; their order is that of time. */
static void add_unstored(struct writer *w, struct view pool)
{
	struct unpack in = unpack_of(str_as_view(&w->query->rows));
	struct row row;
	while (next_row(&in, &row))
		if (is_asked_for(w->query, &row) && view_eq(row.pool, pool))
			add_row(w, row.at_s, row.sums);
}

static void close_pool(struct writer *w)
{
	if (!w->open)
		return;
	add_unstored(w, str_as_view(&w->pool));
	put_step(w);
	json_array_end(&w->json);
	if (!w->single)
		json_object_end(&w->json);
	w->open = false;
}

static bool is_written(const struct writer *w, struct view pool)
{
	struct unpack in = unpack_of(str_as_view(&w->written));
	while (in.left)
		if (view_eq(unpack_view(&in), pool))
			return true;
	return false;
}

/* Pools that nothing is stored of yet. */
static void put_unstored(struct writer *w)
{
	struct unpack in = unpack_of(str_as_view(&w->query->rows));
	struct row row;
	while (next_row(&in, &row)) {
		if (!is_asked_for(w->query, &row) || is_written(w, row.pool))
			continue;
		open_pool(w, row.pool);
		close_pool(w);
	}
}

/* ---- stored rows ---- */

static void bind_query(sqlite3_stmt *s, const struct state_query *q, uint64_t unit)
{
	sqlite3_bind_int64(s, 1, (sqlite3_int64)(q->since_s * unit));
	sqlite3_bind_int64(s, 2, (sqlite3_int64)(q->until_s * unit));
	db_bind_view(s, 3, str_as_view(&q->pool));
	db_bind_view(s, 4, str_as_view(&q->backend));
}

static int put_rows(struct db *db, struct writer *w)
{
	sqlite3_stmt *s =
	    db_use(db, w->query->step_s % HOUR_S == 0 ? DB_HOURS_READ : DB_MINUTES_READ);
	int rc = SQLITE_DONE;
	if (s)
		bind_query(s, w->query, 1);
	while (s && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		struct view pool = db_column_view(s, 0);
		if (w->open && !view_eq(str_as_view(&w->pool), pool))
			close_pool(w);
		if (!w->open)
			open_pool(w, pool);
		if (!add_row(w, (uint64_t)sqlite3_column_int64(s, 2), db_column_view(s, 3)))
			db->bad_rows = true;
	}
	close_pool(w);
	if (s)
		sqlite3_reset(s);
	put_unstored(w);
	if (w->single && !w->written.len) {
		open_pool(w, str_as_view(&w->query->pool));
		close_pool(w);
	}
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void put_marker(struct json *j, sqlite3_stmt *s)
{
	static const char *const keys[] = {"kind", "pool", "backend", "message"};
	char at[CLOCK_RFC3339_LEN + 1];
	clock_rfc3339(at, (uint64_t)sqlite3_column_int64(s, 0));
	json_object_begin(j);
	json_member_text(j, "at", at);
	for (int i = 0; i < (int)ARRAY_LEN(keys); i++) {
		struct view v = db_column_view(s, i + 1);
		json_key(j, keys[i]);
		if (v.len)
			json_view(j, v);
		else
			json_null(j);
	}
	json_object_end(j);
}

static int put_markers(struct db *db, struct writer *w)
{
	sqlite3_stmt *s = db_use(db, DB_EVENTS_READ);
	int rc = SQLITE_DONE;
	json_key(&w->json, "markers");
	json_array_begin(&w->json);
	if (s)
		bind_query(s, w->query, 1000000);
	while (s && (rc = sqlite3_step(s)) == SQLITE_ROW)
		put_marker(&w->json, s);
	json_array_end(&w->json);
	if (s)
		sqlite3_reset(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int db_answer(struct db *db, struct state_query *query)
{
	struct writer w = {
	    .query = query, .single = query->pool.len > 0, .pool = STR_INIT, .written = STR_INIT};
	json_init(&w.json, &query->json, false);
	json_object_begin(&w.json);
	if (!w.single) {
		json_key(&w.json, "pools");
		json_array_begin(&w.json);
	}
	int rc = put_rows(db, &w);
	if (!w.single)
		json_array_end(&w.json);
	int markers = put_markers(db, &w);
	json_object_end(&w.json);
	str_fini(&w.pool);
	str_fini(&w.written);
	return rc ? rc : markers;
}

#endif
