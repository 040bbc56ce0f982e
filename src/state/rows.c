/* SPDX-License-Identifier: MIT */
/* Rows of minutes and hours, events, and how old ones make room. */
#ifdef WEIR_SQLITE

#include "db.h"

#include "weir/state/state.h"

#define HOUR_S 3600
/* Bytes of a page, as SQLite has them by default. */
#define PAGE_BYTES 4096

static int find_series(struct db *db, struct view pool, struct view backend, sqlite3_int64 *id)
{
	sqlite3_stmt *s = db_use(db, DB_SERIES_FIND);
	db_bind_view(s, 1, pool);
	db_bind_view(s, 2, backend);
	int rc = sqlite3_step(s);
	*id = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	sqlite3_reset(s);
	if (rc != SQLITE_DONE)
		return rc == SQLITE_ROW ? SQLITE_OK : rc;
	s = db_use(db, DB_SERIES_ADD);
	db_bind_view(s, 1, pool);
	db_bind_view(s, 2, backend);
	rc = db_run(db, DB_SERIES_ADD);
	*id = sqlite3_last_insert_rowid(db->handle);
	return rc;
}

/* What the row holds already; one that cannot be read counts as none. */
static int take_row(struct db *db, enum db_statement get, sqlite3_int64 series, uint64_t at_s,
		    struct minute_sum *sum)
{
	sqlite3_stmt *s = db_use(db, get);
	sqlite3_bind_int64(s, 1, series);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)at_s);
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW && !minute_sum_add(sum, unpack_of(db_column_view(s, 0))))
		db->bad_rows = true;
	sqlite3_reset(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int add_row(struct db *db, enum db_statement get, sqlite3_int64 series, uint64_t at_s,
		   struct view sums)
{
	struct minute_sum sum = {0};
	struct str packed = STR_INIT;
	int rc = take_row(db, get, series, at_s, &sum);
	if (!rc && minute_sum_add(&sum, unpack_of(sums))) {
		minute_sum_pack(&sum, &packed);
		sqlite3_stmt *s = db_use(db, get + 1); /* its PUT */
		sqlite3_bind_int64(s, 1, series);
		sqlite3_bind_int64(s, 2, (sqlite3_int64)at_s);
		sqlite3_bind_blob(s, 3, packed.ptr, (int)packed.len, SQLITE_STATIC);
		rc = db_run(db, get + 1);
		str_fini(&packed);
	}
	return rc;
}
_Static_assert(DB_MINUTE_PUT == DB_MINUTE_GET + 1 && DB_HOUR_PUT == DB_HOUR_GET + 1, "in pairs");

int db_add_minute(struct db *db, uint64_t at_s, struct view pool, struct view backend,
		  struct view sums)
{
	sqlite3_int64 series;
	int rc = find_series(db, pool, backend, &series);
	if (!rc)
		rc = add_row(db, DB_MINUTE_GET, series, at_s, sums);
	return rc ? rc : add_row(db, DB_HOUR_GET, series, at_s - at_s % HOUR_S, sums);
}

int db_add_event(struct db *db, uint64_t at_us, struct view kind, struct view pool,
		 struct view backend, struct view message)
{
	sqlite3_stmt *s = db_use(db, DB_EVENT_ADD);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)at_us);
	db_bind_view(s, 2, kind);
	db_bind_view(s, 3, pool);
	db_bind_view(s, 4, backend);
	db_bind_view(s, 5, message);
	return db_run(db, DB_EVENT_ADD);
}

/* ---- room ---- */

static int prune_before(struct db *db, enum db_statement which, uint64_t at)
{
	sqlite3_stmt *s = db_use(db, which);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)at);
	return db_run(db, which);
}

int db_bytes(struct db *db, uint64_t *bytes)
{
	sqlite3_stmt *s = db_use(db, DB_PAGES);
	int rc = sqlite3_step(s);
	*bytes = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) * PAGE_BYTES : 0;
	sqlite3_reset(s);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* The oldest eighth of a table's rows; *any: there was something. */
static int prune_eighth(struct db *db, enum db_statement eighth, enum db_statement prune, bool *any)
{
	sqlite3_stmt *s = db_use(db, eighth);
	int rc = sqlite3_step(s);
	*any = rc == SQLITE_ROW;
	uint64_t at = *any ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
	sqlite3_reset(s);
	if (!*any)
		return rc == SQLITE_DONE ? SQLITE_OK : rc;
	return prune_before(db, prune, at + 1);
}

static int make_room(struct db *db)
{
	uint64_t bytes;
	bool any = true;
	int rc = db_bytes(db, &bytes);
	/* an eighth is left for what comes until the next time */
	while (!rc && any && bytes > db->bytes_max / 8 * 7) {
		rc = prune_eighth(db, DB_MINUTE_EIGHTH, DB_MINUTE_PRUNE, &any);
		if (!rc && !any)
			rc = prune_eighth(db, DB_HOUR_EIGHTH, DB_HOUR_PRUNE, &any);
		if (!rc)
			rc = db_bytes(db, &bytes);
	}
	return rc;
}

static uint64_t prune_time(struct db *db, uint64_t now_s)
{
	uint64_t before_s = db->prune_s ? db->prune_s : db->newest_s;
	uint64_t next_s = before_s ? before_s + HOUR_S : now_s;
	db->prune_s = next_s < now_s ? next_s : now_s;
	return db->prune_s;
}

int db_prune(struct db *db, uint64_t wall_s)
{
	uint64_t now_s = prune_time(db, wall_s);
	uint64_t hours_from = now_s > db->history_s ? now_s - db->history_s : 0;
	uint64_t minutes_s = db->history_s < STATE_MINUTES_S ? db->history_s : STATE_MINUTES_S;
	int rc = prune_before(db, DB_MINUTE_PRUNE, now_s > minutes_s ? now_s - minutes_s : 0);
	if (!rc)
		rc = prune_before(db, DB_HOUR_PRUNE, hours_from);
	if (!rc)
		rc = prune_before(db, DB_EVENT_PRUNE, hours_from * 1000000);
	if (!rc)
		rc = prune_before(db, DB_JUDGED_PUT, now_s);
	if (!rc)
		rc = make_room(db);
	db_use(db, DB_SERIES_PRUNE);
	return rc ? rc : db_run(db, DB_SERIES_PRUNE);
}

#endif
