/* SPDX-License-Identifier: MIT */
/* The stored history: what goes in comes out, over restarts, damage and want of room. */
#include "weir/state/state.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/base/clock.h"
#include "weir/stats/minute.h"

static char directory[] = "/tmp/weir-state-XXXXXX";

static void begin(void)
{
	cr_assert(mkdtemp(directory));
}

static void end(void)
{
	DIR *dir = opendir(directory);
	char path[600];
	for (struct dirent *e; dir && (e = readdir(dir));) {
		snprintf(path, sizeof(path), "%s/%s", directory, e->d_name);
		unlink(path);
	}
	closedir(dir);
	rmdir(directory);
}

static struct state *open_state(uint64_t bytes_max)
{
	struct str why = STR_INIT;
	struct state_options options = {
	    .directory = view_str(directory), .history_s = 30 * 86400, .bytes_max = bytes_max};
	struct state *s = state_new(&options, &why);
	cr_assert(s, "%s", why.ptr);
	return s;
}

static const char *path_of(const char *name)
{
	static char path[300];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

/* As a minute of 60 seconds with so many requests of 1 ms would be. */
static void put(struct state *s, uint64_t at_s, const char *backend, uint64_t requests)
{
	struct minute_sum sum = {
	    .seconds = 60, .requests = requests, .errors = 1, .in_flight_s = 120};
	struct str packed = STR_INIT;
	sum.latency.count[hist_index(1000)] = requests;
	sum.time_us[2] = 1000;
	minute_sum_pack(&sum, &packed);
	state_minute(s, at_s, VIEW("app"), view_str(backend), str_as_view(&packed));
	str_fini(&packed);
}

struct question {
	struct state_query query;
	sem_t answered;
};

static void on_answer(struct state_query *q)
{
	sem_post(&((struct question *)q)->answered);
}

/* The answer, which the caller frees. */
static char *ask(struct state *s, uint64_t since_s, uint64_t step_s, const char *pool,
		 const char *backend, const char **why)
{
	struct question q = {.query = {.since_s = since_s - since_s % step_s,
				       .until_s = clock_wall_us() / 1000000 + 1,
				       .step_s = step_s,
				       .done = on_answer}};
	sem_init(&q.answered, 0, 0);
	str_text(&q.query.pool, pool);
	str_text(&q.query.backend, backend);
	cr_assert(state_ask(s, &q.query));
	sem_wait(&q.answered);
	char *json = strdup(q.query.json.ptr);
	if (why)
		*why = q.query.why;
	else
		cr_assert_null(q.query.why, "%s", q.query.why);
	state_query_fini(&q.query);
	return json;
}

static void expect(struct state *s, uint64_t since_s, uint64_t step_s, const char *backend,
		   const char *text)
{
	char *json = ask(s, since_s, step_s, "app", backend, NULL);
	cr_expect(strstr(json, text), "%s is not in %s", text, json);
	free(json);
}

/* The same one to the end of a test, whatever the clock says then. */
static uint64_t some_hour(void)
{
	static uint64_t hour;
	uint64_t now = clock_wall_us() / 1000000;
	if (!hour)
		hour = now - now % 3600 - 2 * 3600;
	return hour;
}

TestSuite(state, .init = begin, .fini = end);

Test(state, minutes_add_up_to_hours)
{
	uint64_t at = some_hour();
	struct state *s = open_state(1 << 24);
	for (uint64_t i = 0; i < 60; i++) {
		put(s, at + 60 * i, "", 100);
		put(s, at + 60 * i, "app1", 10);
	}
	state_send(s);
	expect(s, at, 3600, "",
	       "\"seconds\":3600,\"requests\":6000,\"rate\":1.66667,\"errors\":60,"
	       "\"in_flight\":2,");
	expect(s, at, 3600, "app1", "\"requests\":600,");
	expect(s, at, 900, "", "\"seconds\":900,\"requests\":1500,");
	expect(s, at, 60, "", "\"p50_us\":1000");
	cr_assert(state_free(s));
}

Test(state, a_later_process_goes_on)
{
	uint64_t at = some_hour();
	struct state *s = open_state(1 << 24);
	put(s, at, "", 100);
	state_event(s, at * 1000000, "state", VIEW("app"), VIEW("app1"), VIEW("draining"));
	cr_assert(state_free(s));
	s = open_state(1 << 24);
	put(s, at, "", 11); /* the rest of the same minute */
	state_event(s, at * 1000000, "state", VIEW("app"), VIEW("app1"), VIEW("draining"));
	state_send(s);
	expect(s, at, 60, "", "\"requests\":111,");
	expect(s, at, 60, "", "\"markers\":[{\"at\":");
	char *json = ask(s, at, 3600, "", "", NULL);
	cr_expect(strstr(json, "{\"pools\":[{\"pool\":\"app\",\"rows\":[{") == json, "%s", json);
	const char *first = strstr(json, "\"kind\":\"state\"");
	cr_expect(first && !strstr(first + 1, "\"kind\":\"state\""), "an event came twice");
	free(json);
	cr_assert(state_free(s));
}

Test(state, what_is_not_stored_yet_counts)
{
	uint64_t at = some_hour();
	struct state *s = open_state(1 << 24);
	struct minute_sum sum = {.seconds = 30, .requests = 7};
	struct str packed = STR_INIT;
	minute_sum_pack(&sum, &packed);
	put(s, at, "", 100);
	state_send(s);
	struct question q = {
	    .query = {.since_s = at, .until_s = at + 7200, .step_s = 3600, .done = on_answer}};
	sem_init(&q.answered, 0, 0);
	state_put_row(&q.query.rows, at + 60, VIEW("app"), VIEW_NONE, str_as_view(&packed));
	state_put_row(&q.query.rows, at + 60, VIEW("new"), VIEW_NONE, str_as_view(&packed));
	cr_assert(state_ask(s, &q.query));
	sem_wait(&q.answered);
	cr_expect(strstr(q.query.json.ptr, "\"seconds\":90,\"requests\":107,"), "%s",
		  q.query.json.ptr);
	cr_expect(strstr(q.query.json.ptr, "{\"pool\":\"new\",\"rows\":[{\"at_s\":"), "%s",
		  q.query.json.ptr);
	state_query_fini(&q.query);
	str_fini(&packed);
	cr_assert(state_free(s));
}

static void scribble(const char *path)
{
	int fd = open(path, O_WRONLY);
	char junk[8192];
	memset(junk, 'x', sizeof(junk));
	cr_assert(fd >= 0 && pwrite(fd, junk, sizeof(junk), 0) == sizeof(junk));
	close(fd);
}

Test(state, a_damaged_file_is_moved_aside)
{
	struct state_status status;
	uint64_t at = some_hour();
	struct state *s = open_state(1 << 24);
	put(s, at, "", 100);
	cr_assert(state_free(s));
	scribble(path_of("history.db"));
	s = open_state(1 << 24);
	put(s, at, "", 5);
	state_send(s);
	expect(s, at, 60, "", "\"requests\":5,");
	state_status(s, &status);
	cr_expect(strstr(status.harm, "was damaged") && !status.trouble && !status.lost);
	cr_expect_eq(access(path_of("history.db.broken"), F_OK), 0);
	cr_assert(state_free(s));
}

/* What the thread says once it has done all that was put before. */
static struct state_status settled(struct state *s)
{
	struct state_status status;
	free(ask(s, some_hour(), 60, "app", "", &(const char *){NULL}));
	state_status(s, &status);
	return status;
}

static bool befell(struct state *s, const char *text)
{
	const char *harm = settled(s).harm;
	return text ? harm && strstr(harm, text) : !harm;
}

/* One byte of a row: no page is broken by it. */
static void scribble_in_rows(const char *path)
{
	static char bytes[1 << 20];
	int fd = open(path, O_RDWR);
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0), found = 0;
	/* a minute of form 2 with 60 seconds begins so */
	for (ssize_t i = 4096; i + 4 < n; i++)
		if (bytes[i] == 2 && bytes[i + 1] == 60 && bytes[i + 2] == 100 && ++found)
			cr_assert_eq(pwrite(fd, "x", 1, i + 12), 1);
	close(fd);
	cr_assert(found, "no row is there");
}

Test(state, a_damaged_row_is_told)
{
	uint64_t at = some_hour();
	struct state *s = open_state(1 << 24);
	put(s, at, "", 100);
	cr_assert(state_free(s));
	scribble_in_rows(path_of("history.db"));
	s = open_state(1 << 24);
	put(s, at + 7200, "", 5); /* of another minute and hour: nobody reads the old ones for it */
	state_send(s);
	cr_expect(befell(s, "damaged rows"), "%s", settled(s).harm);
	cr_expect(!settled(s).trouble && !settled(s).lost);
	expect(s, at + 7200, 60, "", "\"requests\":5,");
	cr_assert(state_free(s));
}

/* Without a question, which would find it, too. */
static void wait_for_harm(struct state *s, const char *text)
{
	struct state_status status = {0};
	for (unsigned ms = 0; !status.harm || !strstr(status.harm, text); ms++) {
		cr_assert_lt(ms, 20000, "%s", status.harm);
		usleep(1000);
		state_status(s, &status);
	}
}

Test(state, a_damaged_page_is_found_though_nobody_reads_it)
{
	uint64_t at = some_hour();
	struct state *s = open_state(1 << 24);
	char name[24];
	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "backend-%d", i);
		put(s, at, name, 100);
	}
	cr_assert(state_free(s));
	struct stat st;
	cr_assert_eq(stat(path_of("history.db"), &st), 0);
	int fd = open(path_of("history.db"), O_WRONLY);
	for (off_t i = st.st_size / 2; i < st.st_size - 4096; i += 4096)
		cr_assert_eq(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, i / 4096 * 4096), 8);
	close(fd);
	s = open_state(1 << 24);
	state_event(s, at * 1000000, "start", VIEW_NONE, VIEW_NONE, VIEW("again"));
	state_send(s);
	wait_for_harm(s, "was damaged");
	cr_expect(befell(s, "was damaged: it is history.db.broken now"), "%s", settled(s).harm);
	cr_expect_eq(access(path_of("history.db.broken"), F_OK), 0);
	clock_ahead_us += UINT64_C(3601000000);
	cr_expect(befell(s, "was damaged"), "%s", settled(s).harm);
	cr_assert_eq(unlink(path_of("history.db.broken")), 0);
	cr_expect(befell(s, NULL), "%s", settled(s).harm);
	cr_assert(state_free(s));
}

/* The header of SQLite's files has user_version there, big end first. */
Test(state, a_file_of_a_newer_weir_is_kept)
{
	struct state *s = open_state(1 << 24);
	put(s, some_hour(), "", 100);
	cr_assert(state_free(s));
	int fd = open(path_of("history.db"), O_WRONLY);
	cr_assert_eq(pwrite(fd, "\0\0\0\x63", 4, 60), 4);
	close(fd);
	s = open_state(1 << 24);
	put(s, some_hour(), "", 5);
	state_send(s);
	cr_expect(befell(s, "newer weir: it is history.db.newer now"), "%s", settled(s).harm);
	cr_expect_eq(access(path_of("history.db.newer"), F_OK), 0);
	cr_expect_neq(access(path_of("history.db.broken"), F_OK), 0);
	expect(s, some_hour(), 60, "", "\"requests\":5,");
	cr_assert_eq(unlink(path_of("history.db.newer")), 0);
	cr_expect(befell(s, NULL), "%s", settled(s).harm);
	cr_assert(state_free(s));
}

Test(state, a_file_that_is_removed_begins_anew)
{
	struct state *s = open_state(1 << 24);
	put(s, some_hour(), "", 100);
	state_send(s);
	cr_expect(befell(s, NULL), "%s", settled(s).harm);
	cr_assert_eq(unlink(path_of("history.db")), 0);
	put(s, some_hour(), "", 5);
	state_send(s);
	cr_expect(befell(s, "was removed while weir ran"), "%s", settled(s).harm);
	expect(s, some_hour(), 60, "", "\"requests\":5,");
	cr_expect_eq(access(path_of("history.db"), F_OK), 0);
	clock_ahead_us += UINT64_C(3599000000); /* it is told for an hour */
	cr_expect(befell(s, "was removed while weir ran"), "%s", settled(s).harm);
	clock_ahead_us += UINT64_C(2000000);
	cr_expect(befell(s, NULL), "%s", settled(s).harm);
	cr_assert(state_free(s));
}

Test(state, a_directory_that_goes_away_is_told)
{
	char other[80];
	struct state *s = open_state(1 << 24);
	put(s, some_hour(), "", 100);
	state_send(s);
	cr_expect_null(settled(s).trouble);
	snprintf(other, sizeof(other), "%s-moved", directory);
	cr_assert_eq(rename(directory, other), 0);
	put(s, some_hour(), "", 5);
	state_send(s);
	struct state_status status = settled(s);
	cr_expect_str_eq(status.trouble, "No such file or directory");
	cr_expect_eq(status.lost, 1);
	cr_assert_eq(rename(other, directory), 0);
	put(s, some_hour(), "", 7);
	state_send(s);
	cr_expect_null(settled(s).trouble);
	expect(s, some_hour(), 60, "", "\"requests\":107,");
	cr_assert(state_free(s));
}

Test(state, a_directory_has_one_owner, .timeout = 60)
{
	struct str bytes = STR_INIT;
	struct state *first = open_state(1 << 24);
	put(first, some_hour(), "", 100);
	state_send(first);
	cr_expect_null(settled(first).trouble);
	struct state *second = open_state(1 << 24);
	put(second, some_hour(), "", 5);
	str_text(&bytes, "of the second");
	state_file(second, "runtime.state", &bytes);
	state_send(second);
	struct state_status status = settled(second); /* it has waited for the first to leave */
	cr_expect_str_eq(status.trouble, "another weir keeps its own there");
	cr_expect(status.lost == 1 && status.file_failures == 1 && !status.harm);
	cr_expect_neq(access(path_of("runtime.state"), F_OK), 0);
	expect(first, some_hour(), 60, "", "\"requests\":100,");
	cr_assert(state_free(first));
	put(second, some_hour(), "", 7);
	state_send(second);
	cr_expect_null(settled(second).trouble);
	expect(second, some_hour(), 60, "", "\"requests\":107,");
	cr_assert(state_free(second));
}

/* As if rows had last been looked through at that time. */
static void judged_at(uint64_t at_s)
{
	sqlite3 *db;
	char text[80];
	snprintf(text, sizeof(text), "INSERT OR REPLACE INTO judged VALUES (1, %llu)",
		 (unsigned long long)at_s);
	cr_assert_eq(sqlite3_open(path_of("history.db"), &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* A machine whose clock is days ahead, and that starts again and again with it. */
Test(state, a_clock_that_jumps_makes_nothing_old_at_once)
{
	uint64_t at = some_hour() - 40 * 86400;
	struct state *s = open_state(1 << 24);
	state_event(s, at * 1000000, "start", VIEW_NONE, VIEW_NONE, VIEW("for the first time"));
	state_send(s); /* looks for what is old; and the next time in ten minutes */
	put(s, at, "", 100);
	cr_assert(state_free(s));
	judged_at(at);
	for (int i = 0; i < 3; i++) {
		s = open_state(1 << 24);
		put(s, some_hour() + 60 * (uint64_t)i, "", 5); /* looks for what is old, too */
		state_send(s);
		expect(s, at, 3600, "", "\"requests\":100,");
		cr_assert(state_free(s));
	}
}

Test(state, rows_of_a_time_to_come_are_told)
{
	struct state *s = open_state(1 << 24);
	put(s, some_hour() + 86400, "", 100);
	cr_assert(state_free(s));
	s = open_state(1 << 24);
	cr_expect(befell(s, "rows of a time to come"), "%s", settled(s).harm);
	cr_assert(state_free(s));
}

Test(state, a_file_of_others_is_left_as_it_is)
{
	struct state_status status;
	cr_assert_eq(mkdir(path_of("history.db"), 0700), 0);
	struct state *s = open_state(1 << 24);
	put(s, some_hour(), "", 5);
	state_send(s);
	const char *why;
	free(ask(s, some_hour(), 60, "app", "", &why));
	cr_expect(why, "it could be read");
	state_status(s, &status);
	cr_expect(status.trouble && status.lost == 1 && !status.rows, "%s, lost %llu",
		  status.trouble, (unsigned long long)status.lost);
	cr_assert(state_free(s));
	rmdir(path_of("history.db"));
}

Test(state, the_oldest_makes_room, .timeout = 120)
{
	struct state_status status;
	uint64_t at = some_hour() - 40 * 3600, limit = 1 << 20;
	struct state *s = open_state(limit);
	char name[24];
	for (uint64_t i = 0; i < 40 * 60; i++) {
		for (int b = 0; b < 40; b++) {
			snprintf(name, sizeof(name), "backend-%d", b);
			put(s, at + 60 * i, name, i + 1);
		}
		if (i % 10 == 0) {
			state_send(s);
			settled(s); /* a disk that is slow loses what nobody waits for */
		}
	}
	state_send(s);
	char *json = ask(s, at, 60, "app", "backend-1", NULL);
	cr_expect(strstr(json, "\"requests\":2400,"), "the newest is there");
	cr_expect_not(strstr(json, "\"requests\":1,"), "the oldest is there");
	free(json);
	state_status(s, &status);
	cr_expect(status.bytes <= limit && !status.trouble && !status.lost,
		  "%llu bytes, lost %llu, %s", (unsigned long long)status.bytes,
		  (unsigned long long)status.lost, status.trouble);
	cr_assert(state_free(s));
	struct stat st;
	cr_assert_eq(stat(path_of("history.db"), &st), 0);
	cr_expect(st.st_size <= (off_t)limit, "%lld", (long long)st.st_size);
	cr_expect_eq(st.st_mode & 0777, 0600);
}

Test(state, files_are_replaced_as_a_whole)
{
	struct state *s = open_state(1 << 24);
	struct str bytes = STR_INIT;
	char room[16] = "";
	for (int i = 0; i < 3; i++) {
		str_printf(&bytes, "number %d", i);
		state_file(s, "runtime.state", &bytes);
	}
	cr_assert(state_free(s));
	int fd = open(path_of("runtime.state"), O_RDONLY);
	cr_assert_eq(read(fd, room, sizeof(room) - 1), 8);
	cr_expect_str_eq(room, "number 2");
	struct stat st;
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0600);
	close(fd);
}
