/* SPDX-License-Identifier: MIT */
/* The stored history: what goes in comes out, over restarts, damage and want of room. */
#include "weir/state/state.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
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

static uint64_t some_hour(void)
{
	uint64_t now = clock_wall_us() / 1000000;
	return now - now % 3600 - 2 * 3600;
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
	cr_expect(status.moved_aside && !status.trouble && !status.lost);
	cr_expect_eq(access(path_of("history.db.broken"), F_OK), 0);
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
		if (i % 10 == 0)
			state_send(s);
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
