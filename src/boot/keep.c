/* SPDX-License-Identifier: MIT */
/*
 * What is kept in the directory of `state`, for a start that comes after the end of this
 * process:
 *
 *   history.db      each minute of each pool and backend, events            (state/)
 *   runtime.state   changes made at run time, keys of pins: when they change
 *   learned.state   curves, limits, pins, recorder: now and then, and at the end
 *
 * The control thread gathers and packs; all that waits for a disk is on the thread of state/.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handover_state.h"
#include "sandbox.h"

#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/base/hash.h"
#include "weir/net/socket.h"
#include "weir/state/state.h"

#define RUNTIME_FILE "runtime.state"
#define LEARNED_FILE "learned.state"
/* What was learned is written once a minute, unless packing it takes longer than a thousandth
 * of that. */
#define LEARNED_US UINT64_C(60000000)
#define LEARNED_SHARE 1000
/* A clock that was set by more than this jumps; that is said for an hour. */
#define JUMP_US 30000000
#define JUMP_TOLD_US UINT64_C(3600000000)

struct keep {
	char *directory; /* owns */
	uint64_t history_s, bytes_max;
	struct state *state; /* owns; NULL: the thread does not run */
	uint64_t minute;     /* wall clock, the one that is being gathered; 0: none yet */
	uint64_t last_event;
	uint64_t runtime_hash;
	uint64_t learned_us, learned_gap_us;
	int64_t apart_us; /* what the wall clock is ahead of the monotonic one */
	int64_t jump_s;   /* the last jump of it */
	uint64_t jump_until_us;
	/* what an earlier process left; own, until it is read */
	struct str runtime, learned;
	struct str said; /* owns; what was wrong with it, for when messages can be written */
};

/* ---- what an earlier process left ---- */

/* Nothing is said of a file that is not there. */
static void load(struct keep *k, const char *name, struct str *out)
{
	struct str path = STR_INIT, why = STR_INIT;
	struct stat st;
	str_printf(&path, "%s/%s", k->directory, name);
	int fd = open(path.ptr, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno != ENOENT)
		str_text(&why, strerror(errno));
	else if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode)))
		str_text(&why, "it is no file");
	else if (fd >= 0)
		state_load(fd, out, &why);
	if (why.len)
		str_printf(&k->said, "%s%s is left out: %s", k->said.len ? "; " : "", path.ptr,
			   why.ptr);
	socket_close(fd);
	str_fini(&path);
	str_fini(&why);
}

struct keep *keep_new(const struct conf *conf)
{
	struct view directory = conf_state_directory(conf);
	handover_take_clock();
	if (!directory.len)
		return NULL;
	struct keep *k = calloc(1, sizeof(*k));
	check(k != NULL);
	k->directory = strndup(directory.ptr, directory.len);
	check(k->directory != NULL);
	k->history_s = conf->state.history_us / 1000000;
	k->bytes_max = conf->state.bytes;
	k->learned_gap_us = LEARNED_US;
	if (handover_is_coming()) /* the process before knows better */
		return k;
	load(k, RUNTIME_FILE, &k->runtime);
	load(k, LEARNED_FILE, &k->learned);
	state_take_clock(str_as_view(&k->learned));
	return k;
}

static void forget_keys(struct str *s)
{
	if (s->len)
		explicit_bzero(s->ptr, s->len);
	str_fini(s);
}

/* As root while this process is root: /var/lib is nobody else's. */
static void make_directory(const struct keep *k)
{
	struct str why = STR_INIT, inside = STR_INIT;
	str_printf(&inside, "%s/history.db", k->directory);
	if (file_make_directory(inside.ptr, &why))
		log_warn("state.directory: %s", why.ptr);
	str_fini(&inside);
	str_fini(&why);
}

void keep_inherit_early(struct control *control)
{
	struct keep *k = control->keep;
	if (k)
		make_directory(k);
	if (!k || !k->runtime.len)
		return;
	state_unpack_early(str_as_view(&k->runtime), control);
	forget_keys(&k->runtime);
	size_t n = runtime_count(control);
	if (n)
		log_info("%zu change%s made at run time before the start %s in force again: "
			 "weirctl runtime lists them",
			 n, n == 1 ? "" : "s", n == 1 ? "is" : "are");
}

void keep_inherit(struct control *control)
{
	struct keep *k = control->keep;
	struct str said = STR_INIT;
	if (!k)
		return;
	if (k->said.len)
		log_warn("%s", k->said.ptr);
	if (k->learned.len) {
		state_unpack_learned(str_as_view(&k->learned), control, &said);
		log_info("known from before the start: %s", said.ptr);
	}
	forget_keys(&k->learned);
	str_fini(&k->said);
	str_fini(&said);
}

/* ---- gathering ---- */

static size_t levels_of(const struct backend *b, const struct levels *out[WORKERS_MAX])
{
	for (unsigned i = 0; i < b->n_workers; i++)
		out[i] = atomic_load_explicit(&b->local[i]->levels, memory_order_acquire);
	return b->n_workers;
}

static void begin_minute(struct minute **m, const struct levels *const *levels, size_t n)
{
	if (!*m)
		*m = minute_new();
	if (*m)
		minute_reset(*m, levels, n);
}

/* Every backend and pool has one from its first second on. */
static void begin_minutes(struct control *control, bool all)
{
	const struct levels *levels[WORKERS_MAX];
	list_each (it, &control->registry.backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		if (all || !b->minute)
			begin_minute(&b->minute, levels, levels_of(b, levels));
	}
	list_each (it, &control->registry.states) {
		struct pool_state *s = list_entry(it, struct pool_state, registry_link);
		if (all || !s->minute)
			begin_minute(&s->minute, NULL, 0);
	}
}

typedef void row_fn(void *to, uint64_t at_s, struct view pool, struct view backend,
		    struct view sums);

/* Backends without traffic leave no row; a pool's row says that weir was there. */
static void each_minute(struct control *control, row_fn *fn, void *to)
{
	const struct levels *levels[WORKERS_MAX];
	struct str sums = STR_INIT;
	uint64_t at_s = control->keep->minute * 60;
	list_each (it, &control->registry.states) {
		struct pool_state *s = list_entry(it, struct pool_state, registry_link);
		if (!s->minute)
			continue;
		str_reset(&sums);
		minute_pack(s->minute, NULL, 0, &sums);
		fn(to, at_s, s->name, VIEW_NONE, str_as_view(&sums));
	}
	list_each (it, &control->registry.backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		if (!b->minute || !minute_has_traffic(b->minute))
			continue;
		str_reset(&sums);
		minute_pack(b->minute, levels, levels_of(b, levels), &sums);
		fn(to, at_s, b->pool_name, b->name, str_as_view(&sums));
	}
	str_fini(&sums);
}

static void put_minute(void *to, uint64_t at_s, struct view pool, struct view backend,
		       struct view sums)
{
	state_minute(to, at_s, pool, backend, sums);
}

static void put_unstored(void *to, uint64_t at_s, struct view pool, struct view backend,
			 struct view sums)
{
	state_put_row(to, at_s, pool, backend, sums);
}

static void put_event(void *arg, const struct event_row *row)
{
	state_event(arg, row->at_wall_us, row->kind, row->pool, row->backend, row->message);
}

/* ---- writing ---- */

static void write_runtime(struct control *control)
{
	struct keep *k = control->keep;
	struct str bytes = STR_INIT;
	state_seal_runtime(control, &bytes);
	uint64_t hash = hash_bytes(bytes.ptr, bytes.len, 0);
	struct state_status status;
	state_status(k->state, &status);
	if (hash != k->runtime_hash || status.file_failures) /* it may be what has failed */
		state_file(k->state, RUNTIME_FILE, &bytes);
	k->runtime_hash = hash;
	forget_keys(&bytes);
}

static void write_learned(struct control *control)
{
	struct keep *k = control->keep;
	struct str bytes = STR_INIT;
	uint64_t began_us = clock_us();
	state_seal_learned(control, &bytes);
	state_file(k->state, LEARNED_FILE, &bytes);
	k->learned_us = clock_us();
	uint64_t gap_us = (k->learned_us - began_us) * LEARNED_SHARE;
	k->learned_gap_us = gap_us > LEARNED_US ? gap_us : LEARNED_US;
}

static void write_rows(struct control *control)
{
	struct keep *k = control->keep;
	each_minute(control, put_minute, k->state);
	begin_minutes(control, true);
}

static int64_t apart_us(void)
{
	return (int64_t)(clock_wall_us() - clock_us());
}

/* Rows have the time of the wall clock: whoever reads them should know when it was set. */
static void notice_jump(struct keep *k)
{
	int64_t apart = apart_us(), by = apart - k->apart_us;
	k->apart_us = apart;
	if (by < JUMP_US && by > -JUMP_US)
		return;
	k->jump_s = by / 1000000;
	k->jump_until_us = clock_us() + JUMP_TOLD_US;
	log_warn("the clock has jumped %s by %lld s: so does the history",
		 by > 0 ? "forward" : "back", (long long)(by > 0 ? k->jump_s : -k->jump_s));
}

void keep_tick(struct control *control)
{
	struct keep *k = control->keep;
	if (!k || !k->state)
		return;
	uint64_t minute = clock_wall_us() / 60000000;
	notice_jump(k);
	if (k->minute != minute) {
		write_rows(control);
		k->minute = minute;
	} else {
		begin_minutes(control, false);
	}
	k->last_event = events_since(k->last_event, put_event, k->state);
	state_send(k->state);
	if (control->handover.state == HANDOVER_WAITING)
		return; /* the other one is told, and writes from then on */
	write_runtime(control);
	if (clock_us() >= k->learned_us + k->learned_gap_us)
		write_learned(control);
}

/* ---- life ---- */

/* State thread. */
static void enter(void *arg)
{
	const struct control *control = arg;
	if (control->sandbox)
		sandbox_keep_to(control->keep->directory);
}

void keep_run(struct control *control)
{
	struct keep *k = control->keep;
	struct str why = STR_INIT;
	if (!k)
		return;
	struct state_options options = {.directory = view_str(k->directory),
					.history_s = k->history_s,
					.bytes_max = k->bytes_max,
					.enter = enter,
					.arg = control};
	k->state = state_new(&options, &why);
	if (!k->state)
		log_warn("nothing is kept: %s", why.ptr);
	k->minute = clock_wall_us() / 60000000;
	k->apart_us = apart_us();
	k->learned_us = clock_us();
	begin_minutes(control, true);
	str_fini(&why);
}

void keep_leave(struct control *control)
{
	struct keep *k = control->keep;
	if (!k || !k->state)
		return;
	write_rows(control);
	k->last_event = events_since(k->last_event, put_event, k->state);
	if (state_free(k->state))
		k->state = NULL;
}

bool keep_stop(struct control *control)
{
	struct keep *k = control->keep;
	if (!k || !k->state)
		return true;
	if (control->handover.state != HANDOVER_DONE) {
		pool_registry_tick(&control->registry, clock_us()); /* all that there is */
		write_rows(control);
		k->last_event = events_since(k->last_event, put_event, k->state);
		write_runtime(control);
		write_learned(control);
	}
	bool ended = state_free(k->state);
	k->state = NULL;
	return ended;
}

void keep_free(struct keep *k)
{
	if (!k)
		return;
	forget_keys(&k->runtime);
	forget_keys(&k->learned);
	str_fini(&k->said);
	free(k->directory);
	free(k);
}

void keep_status(const struct control *control, struct arena *arena, struct admin_status *out)
{
	const struct keep *k = control->keep;
	struct state_status s = {0};
	(void)arena;
	if (!k || !k->state)
		return;
	state_status(k->state, &s);
	out->keeping = (struct admin_keeping){
	    .on = true,
	    .directory = view_str(k->directory),
	    .trouble = view_str(s.trouble),
	    .harm = view_str(s.harm),
	    .jump_s = k->jump_until_us > clock_us() ? k->jump_s : 0,
	    .files_fail = s.file_failures > 0,
	    .rows = s.rows,
	    .lost = s.lost,
	    .bytes = s.bytes,
	};
}

/* ---- asking ---- */

struct question {
	struct mail mail;
	struct state_query query;
	struct control *control;
	void (*done)(void *arg, struct view json, const char *why);
	void *arg;
};

static void on_answer(struct loop *loop, struct mail *mail)
{
	struct question *q = container_of(mail, struct question, mail);
	(void)loop;
	q->done(q->arg, str_as_view(&q->query.json), q->query.why);
	state_query_fini(&q->query);
	free(q);
}

/* State thread. */
static void send_answer(struct state_query *query)
{
	struct question *q = container_of(query, struct question, query);
	loop_post(&q->control->loop, &q->mail);
}

bool keep_ask(void *ctx, const struct admin_past *past, struct str *why)
{
	struct control *control = ctx;
	struct keep *k = control->keep;
	if (!k || !k->state) {
		str_text(why,
			 "nothing is stored: 'state' is not in the configuration, so there are "
			 "the last 16 minutes only, by ?pool=NAME&seconds=N");
		return false;
	}
	struct question *q = calloc(1, sizeof(*q));
	check(q != NULL);
	q->mail.fn = on_answer;
	q->control = control;
	q->done = past->done;
	q->arg = past->arg;
	q->query = (struct state_query){.since_s = past->since_s,
					.until_s = past->until_s,
					.step_s = past->step_s,
					.done = send_answer};
	str_view(&q->query.pool, past->pool);
	str_view(&q->query.backend, past->backend);
	each_minute(control, put_unstored, &q->query.rows);
	if (state_ask(k->state, &q->query))
		return true;
	str_text(why, "too many questions about the history wait for the disk");
	state_query_fini(&q->query);
	free(q);
	return false;
}
