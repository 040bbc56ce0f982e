/* SPDX-License-Identifier: MIT */
/* Opening, closing and leaving aside the history's file. */
#ifdef WEIR_SQLITE

#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/base/file.h"

#define VFS "weir"
/* "weir" */
#define APPLICATION 0x77656972
#define FORM "1"
#define MARK "PRAGMA application_id = 2003134834; PRAGMA user_version = " FORM ";"
#define PAGE_BYTES 4096
/* Somebody who looks into the file with a tool of his own may hold it so long. */
#define BUSY_MS 1000

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, pool TEXT NOT NULL, "
    "backend TEXT NOT NULL, UNIQUE (pool, backend));"
    "CREATE TABLE IF NOT EXISTS minute (series INTEGER NOT NULL, at INTEGER NOT NULL, "
    "sums BLOB NOT NULL, PRIMARY KEY (series, at)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS minute_at ON minute (at);"
    "CREATE TABLE IF NOT EXISTS hour (series INTEGER NOT NULL, at INTEGER NOT NULL, "
    "sums BLOB NOT NULL, PRIMARY KEY (series, at)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS hour_at ON hour (at);"
    "CREATE TABLE IF NOT EXISTS event (at INTEGER NOT NULL, kind TEXT NOT NULL, "
    "pool TEXT NOT NULL, backend TEXT NOT NULL, message TEXT NOT NULL, "
    "UNIQUE (at, kind, pool, backend, message));"
    "CREATE TABLE IF NOT EXISTS judged (one INTEGER PRIMARY KEY, at INTEGER NOT NULL);"
    "COMMIT;";

#define READ(table)                                                                           \
	"SELECT s.pool, s.backend, r.at, r.sums FROM " table " r JOIN series s ON s.id = "    \
	"r.series WHERE r.at >= ?1 AND r.at < ?2 AND (?3 = '' OR s.pool = ?3) AND s.backend " \
	"= ?4 ORDER BY s.pool, s.backend, r.at"

/* When the last of the oldest eighth of the rows was. */
#define EIGHTH(table)                                                           \
	"SELECT at FROM " table " ORDER BY at LIMIT 1 OFFSET (SELECT count(*) " \
	"FROM " table ") / 8"

static const char *const texts[N_DB_STATEMENTS] = {
    [DB_BEGIN] = "BEGIN IMMEDIATE",
    [DB_COMMIT] = "COMMIT",
    [DB_ROLLBACK] = "ROLLBACK",
    [DB_SERIES_FIND] = "SELECT id FROM series WHERE pool = ?1 AND backend = ?2",
    [DB_SERIES_ADD] = "INSERT INTO series (pool, backend) VALUES (?1, ?2)",
    [DB_MINUTE_GET] = "SELECT sums FROM minute WHERE series = ?1 AND at = ?2",
    [DB_MINUTE_PUT] = "INSERT OR REPLACE INTO minute VALUES (?1, ?2, ?3)",
    [DB_HOUR_GET] = "SELECT sums FROM hour WHERE series = ?1 AND at = ?2",
    [DB_HOUR_PUT] = "INSERT OR REPLACE INTO hour VALUES (?1, ?2, ?3)",
    [DB_EVENT_ADD] = "INSERT OR IGNORE INTO event VALUES (?1, ?2, ?3, ?4, ?5)",
    [DB_MINUTE_PRUNE] = "DELETE FROM minute WHERE at < ?1",
    [DB_HOUR_PRUNE] = "DELETE FROM hour WHERE at < ?1",
    [DB_EVENT_PRUNE] = "DELETE FROM event WHERE at < ?1",
    [DB_SERIES_PRUNE] = "DELETE FROM series WHERE id NOT IN (SELECT series FROM hour) AND id NOT "
			"IN (SELECT series FROM minute)",
    [DB_MINUTE_EIGHTH] = EIGHTH("minute"),
    [DB_HOUR_EIGHTH] = EIGHTH("hour"),
    /* minutes are gone two days after the last request */
    [DB_NEWEST] = "SELECT coalesce((SELECT max(at) FROM minute), (SELECT max(at) FROM hour))",
    [DB_JUDGED_GET] = "SELECT at FROM judged WHERE one = 1",
    [DB_JUDGED_PUT] = "INSERT OR REPLACE INTO judged VALUES (1, ?1)",
    [DB_PAGES] = "SELECT page_count - freelist_count FROM pragma_page_count, "
		 "pragma_freelist_count",
    [DB_MINUTES_READ] = READ("minute"),
    [DB_HOURS_READ] = READ("hour"),
    [DB_EVENTS_READ] = "SELECT at, kind, pool, backend, message FROM (SELECT * FROM event WHERE at "
		       ">= ?1 AND at < ?2 AND (?3 = '' OR pool IN ('', ?3)) AND (?4 = '' OR "
		       "backend IN ('', ?4)) ORDER BY at DESC LIMIT 1000) ORDER BY at",
};

/* ---- opening ---- */

static int number(struct db *db, const char *pragma, int *out)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(db->handle, pragma, -1, &s, NULL);
	if (rc)
		return rc;
	rc = sqlite3_step(s);
	*out = rc == SQLITE_ROW ? sqlite3_column_int(s, 0) : 0;
	sqlite3_finalize(s);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* A file that SQLite reads and we did not write is not ours to fill. */
static int check_form(struct db *db, bool *fresh)
{
	int application, form, tables;
	int rc = number(db, "PRAGMA application_id", &application);
	if (!rc)
		rc = number(db, "PRAGMA user_version", &form);
	if (!rc)
		rc = number(db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (rc)
		return rc;
	*fresh = tables == 0;
	db->newer = application == APPLICATION && form > FORM[0] - '0';
	return *fresh || (application == APPLICATION && form == FORM[0] - '0') ? SQLITE_OK
									       : SQLITE_NOTADB;
}

/* At once: a disk may be slow; what fails is rolled back when the file is closed. */
static int make_tables(struct db *db, bool fresh)
{
	char text[400];
	snprintf(
	    text, sizeof(text),
	    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit "
	    "= 4194304; PRAGMA cache_size = -2000; PRAGMA max_page_count = %llu;",
	    (unsigned long long)(db->bytes_max / PAGE_BYTES));
	int rc = sqlite3_exec(db->handle, text, NULL, NULL, NULL);
	if (!rc)
		rc = sqlite3_exec(db->handle, fresh ? "BEGIN;" MARK : "BEGIN", NULL, NULL, NULL);
	return rc ? rc : sqlite3_exec(db->handle, schema, NULL, NULL, NULL);
}
_Static_assert(APPLICATION == 2003134834, "the number above");

static int prepare_all(struct db *db)
{
	for (int i = 0; i < N_DB_STATEMENTS; i++) {
		int rc = sqlite3_prepare_v3(db->handle, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
					    &db->statements[i], NULL);
		if (rc)
			return rc;
	}
	return SQLITE_OK;
}

/*
 * SQLite knows files by name only: it gets one that leads through the descriptor of the
 * directory, which it is not to resolve.
 */
static int keep_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	return snprintf(out, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int use_names_as_they_are(void)
{
	static sqlite3_vfs vfs;
	const sqlite3_vfs *usual = sqlite3_vfs_find(NULL);
	if (vfs.zName)
		return SQLITE_OK;
	if (!usual)
		return SQLITE_ERROR;
	vfs = *usual;
	vfs.pNext = NULL;
	vfs.zName = VFS;
	vfs.xFullPathname = keep_name;
	return sqlite3_vfs_register(&vfs, 0);
}

/* What another name leads to, too, is somebody else's. */
static bool is_ours(int fd, struct file_id *id)
{
	struct stat st;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink != 1)
		return false;
	*id = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
	return true;
}

static int cannot_open(struct db *db)
{
	db->why = strerrordesc_np(errno);
	return errno == ENOSPC ? SQLITE_FULL : SQLITE_CANTOPEN;
}

/* The files that SQLite makes beside it get the mode of this one. */
static int make_file(struct db *db, const char **name)
{
	db->directory = file_open_directory(db->path, name);
	if (db->directory < 0)
		return cannot_open(db);
	int fd = openat(db->directory, *name,
			O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return cannot_open(db);
	bool ours = is_ours(fd, &db->id);
	close(fd);
	return ours ? SQLITE_OK : SQLITE_CANTOPEN;
}

/* 0: there is none. */
static int read_time(struct db *db, enum db_statement which, uint64_t *out)
{
	sqlite3_stmt *s = db_use(db, which);
	int rc = sqlite3_step(s);
	*out = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
	sqlite3_reset(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int db_open(struct db *db)
{
	bool fresh;
	char way[64 + NAME_MAX];
	const char *name;
	int rc = make_file(db, &name);
	if (!rc)
		rc = use_names_as_they_are();
	if (!rc) {
		snprintf(way, sizeof(way), "/proc/self/fd/%d/%s", db->directory, name);
		rc = sqlite3_open_v2(way, &db->handle,
				     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
					 SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
				     VFS);
	}
	if (!rc)
		rc = sqlite3_busy_timeout(db->handle, BUSY_MS);
	if (!rc)
		rc = check_form(db, &fresh);
	if (!rc)
		rc = make_tables(db, fresh);
	if (!rc)
		rc = prepare_all(db);
	if (!rc)
		rc = read_time(db, DB_NEWEST, &db->newest_s);
	if (!rc)
		rc = read_time(db, DB_JUDGED_GET, &db->prune_s);
	if (rc)
		db_close(db);
	return rc;
}

void db_close(struct db *db)
{
	for (int i = 0; i < N_DB_STATEMENTS; i++) {
		sqlite3_finalize(db->statements[i]);
		db->statements[i] = NULL;
	}
	sqlite3_close_v2(db->handle);
	db->handle = NULL;
	if (db->directory >= 0)
		close(db->directory);
	db->directory = -1;
}

bool db_is_broken(int rc)
{
	rc &= 0xff;
	/* a table that is missing, or of another shape, is SQLITE_ERROR */
	return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_ERROR;
}

void db_move_aside(struct db *db)
{
	static const char *const beside[] = {"-wal", "-shm"};
	char other[NAME_MAX + 1];
	const char *name;
	db_close(db);
	int dir = file_open_directory(db->path, &name);
	if (dir < 0)
		return;
	snprintf(other, sizeof(other), "%s.%s", name, db->newer ? "newer" : "broken");
	if (renameat(dir, name, dir, other))
		unlinkat(dir, name, 0);
	for (size_t i = 0; i < 2; i++) {
		snprintf(other, sizeof(other), "%s%s", name, beside[i]);
		unlinkat(dir, other, 0);
	}
	close(dir);
}

bool db_is_there(const struct db *db)
{
	struct stat st;
	return !fstatat(db->directory, strrchr(db->path, '/') + 1, &st, AT_SYMLINK_NOFOLLOW) &&
	       st.st_ino == db->id.ino && st.st_dev == db->id.dev;
}

/* ---- looking through all of it ---- */

static int check_rows(struct db *db, const char *text)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(db->handle, text, -1, &s, NULL);
	while (!rc && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		db->bad_rows |= !minute_is_whole(db_column_view(s, 0));
		rc = SQLITE_OK;
	}
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int check_pages(struct db *db)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &s, NULL);
	if (!rc)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		rc = view_eq(db_column_view(s, 0), VIEW("ok")) ? SQLITE_OK : SQLITE_CORRUPT;
	sqlite3_finalize(s);
	return rc;
}

int db_check(struct db *db)
{
	int rc = check_pages(db);
	if (!rc)
		rc = check_rows(db, "SELECT sums FROM minute");
	return rc ? rc : check_rows(db, "SELECT sums FROM hour");
}

/* ---- statements ---- */

sqlite3_stmt *db_use(struct db *db, enum db_statement which)
{
	sqlite3_stmt *s = db->statements[which];
	if (s) {
		sqlite3_reset(s);
		sqlite3_clear_bindings(s);
	}
	return s;
}

int db_run(struct db *db, enum db_statement which)
{
	sqlite3_stmt *s = db->statements[which];
	if (!s)
		return SQLITE_CANTOPEN;
	int rc = sqlite3_step(s);
	sqlite3_reset(s);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

void db_bind_view(sqlite3_stmt *s, int at, struct view v)
{
	sqlite3_bind_text(s, at, v.len ? v.ptr : "", (int)v.len, SQLITE_STATIC);
}

struct view db_column_view(sqlite3_stmt *s, int at)
{
	const char *ptr = sqlite3_column_blob(s, at);
	return view_of(ptr, (size_t)sqlite3_column_bytes(s, at));
}

#endif
