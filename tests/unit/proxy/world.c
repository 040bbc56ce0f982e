/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "kernel.h"
#include "memory.h"

#include "boot/members.h"

#include "weir/base/check.h"
#include "weir/filter/mirror.h"

#define TURNS_MAX 100000
/* As fine as the timers are. */
#define TICK_US 4096

static char *with_folder(const char *yaml, const char *dir)
{
	static const char name[] = "$DIR";
	size_t n = 0;
	for (const char *at = yaml; (at = strstr(at, name)); at++)
		n++;
	char *out = malloc(strlen(yaml) + n * strlen(dir) + 1), *to = out;
	check(out != NULL);
	const char *from = yaml;
	for (const char *at; (at = strstr(from, name)); from = at + strlen(name))
		to += sprintf(to, "%.*s%s", (int)(at - from), from, dir);
	strcpy(to, from);
	return out;
}

static struct conf *load(const char *yaml, const char *dir)
{
	struct conf_diags diags;
	struct str why = STR_INIT;
	char *text = with_folder(yaml, dir);
	conf_diags_init(&diags);
	struct conf *conf = conf_load_text(view_str(text), "script", &diags);
	if (!conf) {
		conf_diags_format(&diags, &why, false);
		fprintf(stderr, VIEW_FMT "\n%s", VIEW_ARG(str_as_view(&why)), text);
	}
	str_fini(&why);
	conf_diags_fini(&diags);
	free(text);
	return conf;
}

/* What control.c does, but for signals, the status socket, the log and threads. */
static bool start(struct control *control, struct conf *conf)
{
	struct str why = STR_INIT;
	struct shared_conf *shared = shared_conf_new(conf, &why);
	if (!shared || workers_start(control, conf, generation_released, &why))
		goto out;
	tls_tick(control);
	pool_registry_init(&control->registry, control->n_workers, control->pool_workers);
	control->members = members_new(control, runtime_rebuild);
	members_prepare(control->members, conf);
	members_begin(control->members);
	struct generation *gen = generation_new(control, shared, &why);
	if (!gen)
		goto out;
	control->probing = probing_new(control, NULL);
	generation_publish(control, gen);
out:
	fwrite(str_as_view(&why).ptr, 1, str_as_view(&why).len, stderr);
	str_fini(&why);
	if (shared)
		shared_conf_put(shared);
	return control->current != NULL;
}

/* Sockets and folders come and go thousands of times: in memory that takes a third of the time. */
static const char *folders(void)
{
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

#define NAME "weir-flow-"

void world_folder(pid_t pid, char *dir, size_t cap)
{
	snprintf(dir, cap, "%s/" NAME "%d", folders(), (int)pid);
}

/* errno of what is in the way; 0: it is gone, or another run of the tests was faster. */
static int sweep(pid_t pid)
{
	static const char *const names[] = {"web", "b1", "b2", "b3", "b4"};
	char dir[64], path[sizeof(dir) + 8];
	world_folder(pid, dir, sizeof(dir));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir) == 0 || errno == ENOENT ? 0 : errno;
}

void world_sweep(pid_t pid)
{
	check(sweep(pid) == 0);
}

void world_sweep_dead(void)
{
	DIR *dir = opendir(folders());
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		if (strncmp(entry->d_name, NAME, sizeof(NAME) - 1) != 0)
			continue;
		pid_t pid = (pid_t)atoi(entry->d_name + sizeof(NAME) - 1);
		if (pid > 0 && kill(pid, 0) && errno == ESRCH)
			(void)sweep(pid); /* another user's stays */
	}
	if (dir)
		closedir(dir);
}

struct world *world_new(const char *yaml)
{
	struct world *w = calloc(1, sizeof(*w));
	check(w != NULL);
	world_folder(getpid(), w->dir, sizeof(w->dir));
	if (mkdir(w->dir, 0700)) {
		world_sweep(getpid()); /* of one that was killed */
		check(mkdir(w->dir, 0700) == 0);
	}
	signal(SIGPIPE, SIG_IGN);
	clock_stop();
	struct conf *conf = load(yaml, w->dir);
	if (!conf)
		return NULL;
	struct control *control = &w->control;
	log_set_level(LOG_LEVEL_ERROR);
	control_init(control, &w->options);
	check(loop_init(&control->loop, "control") == ERR_OK);
	control->loop.owner = control;
	if (!start(control, conf))
		return NULL;
	w->worker = control->workers[0];
	world_settle(w);
	return w;
}

enum err world_reload(struct world *w, const char *yaml, struct str *why)
{
	struct control *control = &w->control;
	struct conf *conf = load(yaml, w->dir);
	struct shared_conf *shared = conf ? shared_conf_new(conf, why) : NULL;
	if (!shared)
		return ERR_SYNTAX;
	members_prepare(control->members, conf);
	struct generation *gen = generation_new(control, shared, why);
	if (gen) {
		generation_publish(control, gen);
		runtime_tell(control);
		runtime_settle(control);
		members_commit(control->members);
	} else {
		members_cancel(control->members);
	}
	shared_conf_put(shared);
	return gen ? ERR_OK : ERR_IO;
}

/* ---- turns ---- */

static bool had_events;

/* libev calls this before it blocks and after: one watcher of the loop's own runs each time. */
static void on_pending(struct ev_loop *ev)
{
	had_events |= ev_pending_count(ev) > 1;
	ev_invoke_pending(ev);
}

static bool turn(struct loop *loop)
{
	had_events = ev_pending_count(loop->ev) > 0;
	ev_set_invoke_pending_cb(loop->ev, on_pending);
	memory_watch(true);
	ev_run(loop->ev, EVRUN_NOWAIT);
	memory_watch(false);
	return had_events;
}

static bool is_put_off(const struct loop *loop)
{
	return !list_is_empty(&loop->put_off) || !list_is_empty(&loop->due) ||
	       atomic_load(&loop->mailbox) != NULL;
}

bool world_turn(struct world *w)
{
	struct loop *const loops[] = {&w->worker->loop, probing_loop(w->control.probing),
				      &w->control.loop};
	uint64_t moves = kernel_moves();
	bool any = false;
	for (size_t i = 0; i < ARRAY_LEN(loops); i++)
		any |= turn(loops[i]);
	for (size_t i = 0; i < ARRAY_LEN(loops); i++)
		any |= is_put_off(loops[i]);
	return any || kernel_moves() != moves;
}

void world_settle(struct world *w)
{
	unsigned turns = 0;
	while (world_turn(w))
		check(++turns < TURNS_MAX); /* it spins */
}

static void second(struct control *control)
{
	pool_registry_tick(&control->registry, clock_us());
	for (uint32_t i = 0; i < control->current->n_pools; i++)
		pool_typical(&control->current->pools[i]);
}

/* To the next moment at which a timer may have something to do, or to the end. */
static uint64_t next_step(const struct world *w, uint64_t now, uint64_t end)
{
	const uint64_t at[] = {w->worker->loop.wake_us, w->control.loop.wake_us,
			       probing_loop(w->control.probing)->wake_us,
			       (now / 1000000 + 1) * 1000000};
	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		if (at[i] < end)
			end = at[i];
	return end > now ? end - now : TICK_US;
}

void world_pass(struct world *w, uint64_t us)
{
	uint64_t end = clock_us() + us;
	for (uint64_t now; (now = clock_us()) < end;) {
		clock_advance(next_step(w, now, end));
		if (clock_us() / 1000000 != now / 1000000)
			second(&w->control);
		world_settle(w);
	}
}

/* ---- the end ---- */

static bool is_leased(const struct world *w)
{
	const struct generation *gen = w->control.current;
	for (uint32_t p = 0; p < gen->n_pools; p++)
		for (uint32_t i = 0; i < gen->pools[p].n; i++)
			if (atomic_load(&gen->pools[p].backends[i]->in_flight))
				return true;
	return false;
}

const char *world_leftover(struct world *w)
{
	struct worker *worker = w->worker;
	return worker->exchanges.n_live            ? "an exchange"
	       : worker->attempts.n_live           ? "a second attempt"
	       : worker->conns.n_live              ? "a client connection"
	       : is_leased(w)                      ? "a lease"
	       : buf_pool_live(&worker->pool.bufs) ? "a buffer"
						   : NULL;
}

void world_free(struct world *w)
{
	struct control *control = &w->control;
	control->current->n_live++; /* health names its backends until probing_free */
	members_free(control->members);
	workers_stop(control);
	probing_free(control->probing);
	while (!list_is_empty(&control->generations))
		generation_free(list_first(&control->generations, struct generation, link));
	listeners_free(control);
	pool_registry_fini(&control->registry);
	workers_free(control);
	tls_tickets_put(control->tickets);
	loop_fini(&control->loop);
	world_sweep(getpid());
	free(w);
}

/* ---- counters ---- */

struct named_counter {
	const char *name;
	const struct counter *counter;
};

static int64_t find(const struct named_counter *rows, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].name, name) == 0)
			return (int64_t)counter_get(rows[i].counter);
	return -1;
}

static int64_t of_worker(const struct worker_counters *c, const char *name)
{
	const struct named_counter rows[] = {
#define COUNTER(name, sentence) {#name, &c->name},
#include "weir/tbl/worker_counters.def"
#undef COUNTER
#define OUTCOME(name, ...) {"outcome." #name, &c->outcomes[OUTCOME_##name]},
#include "weir/tbl/outcomes.def"
#undef OUTCOME
	};
	return find(rows, ARRAY_LEN(rows), name);
}

static int64_t of_pool(const struct pool_counters *c, const char *name)
{
	const struct named_counter rows[] = {
#define COUNTER(name, sentence) {#name, &c->name},
#include "weir/tbl/pool_counters.def"
#undef COUNTER
	};
	return find(rows, ARRAY_LEN(rows), name);
}

/* What its histogram of successes holds. */
static int64_t measured(const struct backend *b)
{
	struct hist_total total = {0};
	hist_total_add_set(&total, &b->local[0]->ok, PHASE_total);
	return (int64_t)total.n;
}

static int64_t of_backend(const struct backend *b, const char *name)
{
	const struct backend_counters *c = &b->local[0]->counters;
	if (strcmp(name, "streams") == 0)
		return backend_streams(b);
	if (strcmp(name, "measured") == 0)
		return measured(b);
	if (strcmp(name, "failed_calls") == 0) /* of gRPC: whether there are any */
		return atomic_load(&b->odd.grpc);
	const struct named_counter rows[] = {
#define COUNTER(name, sentence) {#name, &c->name},
#include "weir/tbl/backend_counters.def"
#undef COUNTER
	};
	return find(rows, ARRAY_LEN(rows), name);
}

static int64_t of_mirror(const struct generation *gen, const char *name)
{
	static const char *const names[] = {
#define COUNTER(name, sentence) #name,
#include "weir/tbl/mirror_counters.def"
#undef COUNTER
	};
	struct mirror_view view;
	if (!mirror_read(&gen->filters, &gen->conf->routes[0], &view))
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0)
			return (int64_t)view.counts.counters[i];
	return strcmp(name, "in_flight") == 0  ? view.counts.in_flight
	       : strcmp(name, "compared") == 0 ? (int64_t)view.status.n
	       : strcmp(name, "status") == 0   ? (int64_t)view.status.differ
	       : strcmp(name, "bodies") == 0   ? (int64_t)view.body.n
	       : strcmp(name, "body") == 0     ? (int64_t)view.body.differ
	       : strcmp(name, "waits") == 0    ? (int64_t)view.latency.pairs
	       : strcmp(name, "equal") == 0    ? (int64_t)view.latency.equal
					       : -1;
}

int64_t world_counter(const struct world *w, const char *name)
{
	const struct generation *gen = w->control.current;
	const char *dot = strchr(name, '.');
	if (dot && strncmp(name, "pool.", 5) == 0)
		return of_pool(&gen->pools[0].state->local[0]->counters, name + 5);
	if (dot && strncmp(name, "mirror.", 7) == 0)
		return of_mirror(gen, name + 7);
	for (uint32_t p = 0; dot && p < gen->n_pools; p++) {
		const struct pool *pool = &gen->pools[p];
		int32_t at = pool_backend_index(pool, view_of(name, (size_t)(dot - name)));
		if (at >= 0)
			return of_backend(pool->backends[at], dot + 1);
	}
	return of_worker(&w->worker->counters, name);
}
